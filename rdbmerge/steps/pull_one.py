"""One source becomes a checked, named snapshot with its manifest: spool, scan, judge, publish.

Knows nothing of the other sources; `pull` runs several of these at once.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Literal

from rdbmerge import __version__
from rdbmerge.errors import FormatError, RdbMergeError, StoppedError
from rdbmerge.reach.address import join_host_port
from rdbmerge.reach.connection import open_socket
from rdbmerge.reach.info import ServerFacts, read_facts
from rdbmerge.reach.tunnels import Tunnels
from rdbmerge.replication.client import pull_snapshot
from rdbmerge.replication.limits import PullLimits, PullProgress
from rdbmerge.replication.pulled import PulledSnapshot
from rdbmerge.replication.source import Source
from rdbmerge.snapshot.following import Follower
from rdbmerge.snapshot.index import IndexFacts
from rdbmerge.snapshot.indexer import read_index
from rdbmerge.snapshot.manifest import AfterPull, FoundNode, Manifest, Pulled, read_manifest
from rdbmerge.snapshot.segment import Segment
from rdbmerge.snapshot.workdir import WorkDir, syncing
from rdbmerge.steps.pull_scan import scan_snapshot
from rdbmerge.steps.resume import Held, compare_counts, judge_held, snapshot_moment

_FACTS_TIMEOUT_S = 5.0
_COMMANDS: dict[str, Literal["PSYNC", "SYNC", "SCAN"]] = {"PSYNC": "PSYNC", "SYNC": "SYNC", "SCAN": "SCAN"}

Via = Literal["replication", "scan"]
_SCANNED = {
    "written": "taken by SCAN, key by key, and no snapshot of one moment: {evidence}",
    "unknown": "taken by SCAN, key by key, and no snapshot of one moment if it was written to meanwhile: {evidence}",
}

PullPhase = Literal["connect", "wait", "transfer", "check", "pulled", "skipped", "failed"]


@dataclass(frozen=True, slots=True)
class PullStatus:
    """Where one source stands; `total_bytes` is None while unknown. `text` is for people, at the end."""

    source: str
    phase: PullPhase
    done_bytes: int = 0
    total_bytes: int | None = None
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PullTools:
    """What every source of one pull shares."""

    folder: WorkDir
    limits: PullLimits
    now_ms: Callable[[], int]
    tell: Callable[[PullStatus], None]
    stop: threading.Event
    tunnels: Tunnels
    via: Via = "replication"


def held_snapshot(source: Source, tools: PullTools) -> tuple[Held, Manifest | None]:
    """Whether the snapshot at hand is whole and still the source's data; its manifest if it may stay."""
    final = tools.folder.final_path(source.name)
    if not final.exists():
        return Held(False, ""), None
    try:
        manifest = read_manifest(final)
        if manifest is None or manifest.pulled is None:
            return Held(False, "the file at hand has no manifest of a pull"), None
        if manifest.pulled.address != source.address:
            return Held(False, f"the file at hand came from {manifest.pulled.address}"), None
        if not _is_the_file(source, tools, manifest):
            return Held(False, "the file at hand is not the one its manifest describes"), None
    except StoppedError:
        raise
    except RdbMergeError as error:
        return Held(False, f"the file at hand is of no use ({error})"), None
    now_ms = tools.now_ms()
    held = judge_held(manifest, server_facts(source, tools), elapsed_s=(now_ms - manifest.pulled.started_at_ms) / 1_000)
    return held, manifest if held.current else None


def _is_the_file(source: Source, tools: PullTools, manifest: Manifest) -> bool:
    with Segment(tools.folder.final_path(source.name)) as segment:
        pulled = manifest.pulled
        if pulled is None or (segment.size_bytes, segment.mtime_ns) != (manifest.size_bytes, pulled.mtime_ns):
            return False
        index = read_index(segment, progress=lambda _: _check_stop(tools, source))
        return f"{index.facts.crc64:016x}" == manifest.crc64


def server_facts(source: Source, tools: PullTools) -> ServerFacts:
    """What the source says of itself now; what it does not say is None, and `problem` why."""
    timeout_s = min(_FACTS_TIMEOUT_S, tools.limits.connect_timeout_s)
    return read_facts(
        source,
        open_socket=lambda: open_socket(source, timeout_s=timeout_s, stop=tools.stop),
        timeout_s=timeout_s,
        now_ms=tools.now_ms,
    )


def pull_one(source: Source, tools: PullTools, *, received: Callable[[], None]) -> Manifest:
    """Pull `source` into the folder; `received` is called when the source is no longer busy with us.

    Raises what `pull_snapshot` and `read_index` raise, and DiskError; nothing of this pull is left then.
    """
    with tools.folder.partial_file(source.name) as fd:
        started_at_ms = tools.now_ms()
        path = tools.folder.partial_path(source.name)
        # What is taken key by key is not only appended to, so it cannot be followed.
        following = Follower(path) if tools.via == "replication" else nullcontext()
        with syncing(fd), following as follower:
            pulled = _spool(source, tools, fd)
            received()
            with Segment(path, name=f"{source.name}.rdb") as segment:
                facts = _check(segment, source, tools, follower)
                manifest = _manifest(segment, facts, pulled, source, started_at_ms)
        tools.folder.publish(source.name, manifest)
    return manifest


def _spool(source: Source, tools: PullTools, fd: int) -> PulledSnapshot:
    def tell(progress: PullProgress) -> None:
        if progress.phase != "done":
            tools.tell(PullStatus(source.name, progress.phase, progress.received_bytes, progress.total_bytes))

    limits = replace(tools.limits, max_bytes=tools.folder.free_bytes())
    if tools.via == "scan":
        path = tools.folder.partial_path(source.name)
        return scan_snapshot(source, fd, path, limits=limits, now_ms=tools.now_ms, progress=tell, stop=tools.stop)
    with io.FileIO(fd, "w", closefd=False) as raw, io.BufferedWriter(raw, 1 << 20) as sink:
        return pull_snapshot(source, sink, limits=limits, now_ms=tools.now_ms, progress=tell, stop=tools.stop)


def _check(segment: Segment, source: Source, tools: PullTools, follower: Follower | None) -> IndexFacts:
    """Structure, CRC-64, uniqueness and the exact end; leaves the index beside the partial file."""
    done = 0

    def tell(more_bytes: int) -> None:
        nonlocal done
        _check_stop(tools, source)
        done += more_bytes
        tools.tell(PullStatus(source.name, "check", done, segment.size_bytes))

    followed = follower.finish(segment) if follower else None
    facts = (followed or read_index(segment, progress=tell)).facts
    if facts.trailing_bytes:
        raise FormatError(
            f"the RDB ends here, but {facts.trailing_bytes:,} more bytes came",
            offset=facts.end,
            file=segment.name,
            remedy="something between changed the stream, or the source is no Redis or Valkey: connect to it directly",
        )
    return facts


def _check_stop(tools: PullTools, source: Source) -> None:
    if tools.stop.is_set():
        raise StoppedError(f"{source.place}: stopped")


def _manifest(
    segment: Segment, facts: IndexFacts, pulled: PulledSnapshot, source: Source, started_at_ms: int
) -> Manifest:
    ctime = facts.aux_value("ctime") or ""
    at_ms, at_from = snapshot_moment(pulled, int(ctime) if ctime.isascii() and ctime.isdigit() else None)
    in_file = {db.db: db.keys for db in facts.dbs if db.keys}
    before, after = pulled.before, pulled.after
    return Manifest(
        rdbmerge_version=__version__,
        file=segment.name,
        size_bytes=segment.size_bytes,
        crc64=f"{facts.crc64:016x}",
        sha256=pulled.sha256,
        magic=facts.magic,
        snapshot_at_ms=at_ms,
        keys_in_file=in_file,
        pulled=Pulled(
            address=pulled.address,
            found=_found(source),
            server_version=f"{before.flavour} {before.version}" if before.version else None,
            role=before.role,
            replication_id=pulled.replid or facts.aux_value("repl-id"),
            replication_offset=pulled.offset if pulled.offset is not None else _aux_number(facts, "repl-offset"),
            via="scan" if pulled.command == "SCAN" else "replication",
            framing=pulled.framing,
            started_at_ms=started_at_ms,
            duration_s=round(pulled.duration_s, 3),
            command=_COMMANDS[pulled.command],
            attempts=pulled.attempts,
            clock_skew_ms=pulled.clock_skew_ms,
            snapshot_at_from=at_from,
            keys_in_info=None if before.keyspace is None else {db: row.keys for db, row in before.keyspace.items()},
            written=pulled.written,
            evidence=pulled.evidence,
            mtime_ns=segment.mtime_ns,
            after=AfterPull(
                replication_id=after.replid,
                changes_since_save=after.changes_since_save,
                last_save_at_s=after.last_save_at_s,
            ),
            notes=list(pulled.notes),
            warnings=_warnings(facts, pulled, source, in_file),
        ),
    )


def _aux_number(facts: IndexFacts, name: str) -> int | None:
    value = facts.aux_value(name) or ""
    return int(value) if value.isascii() and value.isdigit() else None


def _found(source: Source) -> FoundNode | None:
    found = source.found
    if found is None:
        return None
    return FoundNode(
        by=found.by,
        group=found.group,
        address=join_host_port(source.host, source.port),
        role=found.role,
        node_id=found.node_id or None,
        slots=found.slots or None,
    )


def _warnings(facts: IndexFacts, pulled: PulledSnapshot, source: Source, in_file: dict[int, int]) -> list[str]:
    warnings = []
    if pulled.command == "SCAN":
        warnings += [
            text.format(evidence=pulled.evidence) for written, text in _SCANNED.items() if written == pulled.written
        ]
    elif pulled.written == "written":
        warnings.append(f"written to after its snapshot: {pulled.evidence}")
    elif pulled.written == "unknown":
        warnings.append(f"not known whether it was written to after its snapshot: {pulled.evidence}")
    if pulled.before.role == "slave":
        warnings.append("this is a replica: it may lag behind its primary")
    if source.service and source.prefer_replica and source.found and source.found.role == "primary":
        warnings.append("the sentinels know no sound replica, so the primary was taken")
    if facts.stored_crc64 == 0:
        warnings.append("the source writes no checksum (rdbchecksum no): damage inside values cannot be seen")
    before = pulled.before
    warnings += compare_counts(before.keyspace, in_file, written=pulled.written, info_problem=before.problem)
    return warnings
