"""The facts about one segment, as JSON beside it: written by the step that made the file, read by those after it.

Knows the name and the shape of the file, not how the facts were found. Secrets never get here.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rdbmerge.errors import UsageError
from rdbmerge.snapshot.index import IndexFacts
from rdbmerge.snapshot.segment import Segment

MANIFEST_SUFFIX = ".manifest.json"
MANIFEST_FORMAT = 1

SnapshotTimeFrom = Literal["--snapshot-time", "manifest", "aux ctime", "file mtime"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class AfterPull(_Model):
    """What INFO said right after a pull; null where it does not say."""

    replication_id: str | None = None
    changes_since_save: int | None = None
    last_save_at_s: int | None = None


class FoundNode(_Model):
    """The server that was taken where the user named a service or a cluster."""

    by: Literal["sentinel", "cluster"]
    group: str = Field(description="The service, or the name of the cluster.")
    address: str = Field(description="host:port, as told by the sentinels or announced in the cluster.")
    role: Literal["primary", "replica"]
    node_id: str | None = Field(None, description="Clusters only.")
    slots: str | None = Field(None, description="Of its shard, such as `0-5460,5500`; clusters only.")


class Pulled(_Model):
    """How a segment came from a server."""

    address: str = Field(description="As the user named it, the SSH server on the way included; never credentials.")
    found: FoundNode | None = Field(None, description="Null for a server that the user named itself.")
    server_version: str | None = Field(None, description="Such as `redis 2.8.24` or `valkey 9.1.2`.")
    role: str | None = None
    replication_id: str | None = None
    replication_offset: int | None = None
    via: Literal["replication", "scan"] = Field(
        "replication", description="scan: key by key, so no snapshot of one moment unless `written` is quiet."
    )
    framing: Literal["length", "eof", "scan"]
    started_at_ms: int = Field(description="Unix ms, by the clock of the machine that pulled.")
    duration_s: float
    command: Literal["PSYNC", "SYNC", "SCAN"] = "PSYNC"
    attempts: int = 1
    clock_skew_ms: int | None = Field(None, description="This machine's clock minus the source's; null: unknown.")
    snapshot_at_from: str = Field("", description="What the snapshot time rests on.")
    keys_in_info: dict[int, int] | None = Field(None, description="Keys per db by INFO, just before the pull.")
    written: Literal["quiet", "written", "unknown"] = Field(description="Was the source written to during the pull?")
    evidence: str = Field(description="What `written` rests on.")
    mtime_ns: int | None = Field(None, description="Of the file when it was made: a later pull knows it again.")
    after: AfterPull | None = Field(None, description="What a later pull compares, to know the source unchanged.")
    notes: list[str] = Field(default_factory=list, description="What the source refused and did not matter.")
    warnings: list[str] = Field(default_factory=list, description="What the user was warned of.")


class Merged(_Model):
    """How a segment was merged from others."""

    sources: dict[str, str] = Field(description="Name of each source -> CRC-64 (hex) of its bytes.")
    plan_sha256: str = Field(description="Of the plan's JSON.")


class Manifest(_Model):
    """The facts about one segment."""

    manifest_format: int = MANIFEST_FORMAT
    rdbmerge_version: str
    file: str
    size_bytes: int
    crc64: str = Field(description="Hex; of all bytes before the footer.")
    sha256: str | None = Field(None, description="Hex; of the whole file. Null where no step had to read it in order.")
    magic: str
    snapshot_at_ms: int | None = Field(None, description="Unix ms by the source's clock; null for a merged file.")
    keys_in_file: dict[int, int] = Field(description="Keys per db.")
    pulled: Pulled | None = None
    merged: Merged | None = None


def manifest_path(segment_path: Path) -> Path:
    """Where the manifest of a segment lies."""
    return segment_path.with_name(segment_path.name + MANIFEST_SUFFIX)


def write_manifest(segment_path: Path, manifest: Manifest) -> None:
    """Write it beside the segment, 0600, atomically and synced. Raises OSError."""
    path = manifest_path(segment_path)
    write_private(path, manifest.model_dump_json(indent=2) + "\n")


def write_private(path: Path, text: str) -> None:
    """Replace `path` by `text`, 0600: first a partial file, synced, then a rename. Raises OSError."""
    partial = path.with_name(f".{path.name}.partial")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)


def read_manifest(segment_path: Path) -> Manifest | None:
    """The manifest beside a segment, None if there is none. Raises UsageError for one that cannot be understood."""
    path = manifest_path(segment_path)
    try:
        return Manifest.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError, ValueError) as error:
        raise UsageError(
            f"the manifest {path} cannot be read: {str(error).splitlines()[0]}",
            remedy="pull the source again, or remove the manifest to go by the file alone",
        ) from error


def checked_manifest(segment: Segment) -> Manifest | None:
    """The manifest of a segment; a file that is not the one it describes raises UsageError."""
    manifest = read_manifest(segment.path)
    if manifest is not None and manifest.size_bytes != segment.size_bytes:
        raise UsageError(
            f"{segment.name} has {segment.size_bytes:,} bytes, its manifest says {manifest.size_bytes:,}",
            remedy="the file was changed after it was made: pull it again, or remove the manifest",
        )
    return manifest


def snapshot_time(segment: Segment, facts: IndexFacts, declared_ms: int | None) -> tuple[int, SnapshotTimeFrom]:
    """When a segment's snapshot was taken (Unix ms), and how that is known.

    Declared by the user, else from its manifest, else the AUX field ctime (whole seconds), else the file's mtime.
    """
    if declared_ms is not None:
        return declared_ms, "--snapshot-time"
    manifest = checked_manifest(segment)
    if manifest is not None and manifest.snapshot_at_ms is not None:
        return manifest.snapshot_at_ms, "manifest"
    ctime = facts.aux_value("ctime")
    if ctime is not None and ctime.isascii() and ctime.isdigit() and len(ctime) < 12:
        return int(ctime) * 1_000, "aux ctime"
    return segment.mtime_ns // 1_000_000, "file mtime"
