"""What a primary says to a replica. Knows nothing of RDB."""
