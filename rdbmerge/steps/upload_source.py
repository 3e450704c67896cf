"""A local RDB file on its way into a store: what is known of it before, and whether what was sent was that.

Knows the file and its manifest; nothing of stores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rdbmerge import __version__
from rdbmerge.errors import UsageError
from rdbmerge.plan.layout import CHECKSUM_BYTES
from rdbmerge.snapshot.census import contents_of
from rdbmerge.snapshot.contents import METADATA_NAME
from rdbmerge.snapshot.index import cached_index
from rdbmerge.snapshot.indexer import read_index
from rdbmerge.snapshot.manifest import Manifest, checked_manifest, manifest_path
from rdbmerge.snapshot.segment import Segment

METADATA_PREFIX = "rdbmerge-"
MOST_METADATA_BYTES = 2_048  # S3: names and values together


@dataclass(frozen=True, slots=True)
class UploadSource:
    """A file, as it was when the upload began."""

    path: Path
    size_bytes: int
    checksum_at: int  # where its footer begins, or it ends
    footer: bytes  # its checksum, as it stands there; b"" where it has none
    manifest: Manifest | None

    @classmethod
    def of(cls, path: Path) -> UploadSource:
        """Raises UsageError for a file that is not there, or not that of its manifest; FormatError for no RDB."""
        with Segment(path) as segment:
            manifest = checked_manifest(segment)
            index = cached_index(segment)
            end = segment.size_bytes if index is None else index.facts.end
            at = max(0, end - CHECKSUM_BYTES) if segment.dialect.has_checksum else end
            return cls(path, segment.size_bytes, at, bytes(segment.view[at:end]), manifest)

    def check(self, crc64: int) -> None:
        """Whether the bytes with this CRC-64 (up to the footer) are those of the file and its manifest.

        Raises UsageError where they are not the manifest's, and what `read_index` raises for a damaged file.
        """
        if self.manifest is not None and self.manifest.crc64 != f"{crc64:016x}":
            raise UsageError(
                f"{self.path} is not the file that its manifest describes: its bytes have CRC-64 {crc64:016x},"
                f" the manifest says {self.manifest.crc64}; no object was made of it",
                remedy="make the file again, or remove the manifest if the file is right",
            )
        stored = int.from_bytes(self.footer, "little")
        if stored and stored != crc64:
            with Segment(self.path) as segment:
                read_index(segment)  # says what is wrong with it; or that only something behind its end is strange

    def metadata(self, more: Mapping[str, str]) -> dict[str, str]:
        """What travels with the object: the digests of its manifest, and `more`. Raises UsageError above 2 KB."""
        mine = {f"{METADATA_PREFIX}version": __version__}
        if self.manifest is not None:
            mine[f"{METADATA_PREFIX}crc64"] = self.manifest.crc64
            if self.manifest.sha256:
                mine[f"{METADATA_PREFIX}sha256"] = self.manifest.sha256
        return checked_metadata({**mine, **more})

    def manifest_bytes(self) -> bytes | None:
        """The manifest as it lies beside the file."""
        return None if self.manifest is None else manifest_path(self.path).read_bytes()


def description(path: Path, *, jobs: int) -> dict[str, str]:
    """What the file at `path` holds, to travel with its object: who seeds a cache from it sees nothing else of it.

    Raises UsageError and FormatError and its kinds for a file that is not whole.
    """
    return {METADATA_NAME: contents_of(path, jobs=jobs).to_metadata()}


def checked_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """The same. Raises UsageError for more than 2 KB, or for what no header can hold."""
    size_bytes = sum(len(name) + len(value) for name, value in metadata.items())
    if size_bytes > MOST_METADATA_BYTES:
        raise UsageError(
            f"the metadata of the object would be {size_bytes:,} bytes", remedy=f"S3 takes {MOST_METADATA_BYTES:,}"
        )
    for name, value in metadata.items():
        if not (value.isascii() and value.isprintable()):
            raise UsageError(f"the metadata {name} has characters that no header can hold", remedy="use ASCII only")
    return dict(metadata)
