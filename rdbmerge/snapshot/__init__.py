"""RDB files on disk: segments, their indexes and manifests."""
