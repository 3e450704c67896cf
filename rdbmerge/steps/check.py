"""The use case of looking before the work: sources, disks, bucket and target, each by itself, and nothing changed.

A part that cannot be asked is a line that says so, and the others go on. Knows nothing of the command line.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from rdbmerge import __version__
from rdbmerge.errors import DiskError, FormatError, RdbMergeError, SourceError, StoppedError, StoreError, TargetError
from rdbmerge.plan.model import Rules
from rdbmerge.plan.profile import TargetProfile
from rdbmerge.plan.treatment import rules_of
from rdbmerge.preflight import Outcome, PreflightCheck, failed, ok, warning, worst
from rdbmerge.reach.condition import Condition, read_condition
from rdbmerge.reach.sentinel import find_primary
from rdbmerge.reach.server import Server
from rdbmerge.reach.tunnels import Tunnels
from rdbmerge.replication.readiness import readiness, wanted_commands
from rdbmerge.replication.source import Source
from rdbmerge.snapshot.manifest import read_manifest
from rdbmerge.snapshot.segment import Segment
from rdbmerge.snapshot.workdir import WorkDir
from rdbmerge.steps.discover import discover
from rdbmerge.steps.room import need_of, room_checks
from rdbmerge.targets.readiness import RESTORE_COMMANDS, profile_readiness, server_readiness
from rdbmerge.units import format_bytes

REPORT_FORMAT = 1
_AT_ONCE = 16

# In the order of the line; the first part with a FAILED line gives the exit code.
EXIT_CODES = {
    "sources": SourceError.exit_code, "disk": DiskError.exit_code, "bucket": StoreError.exit_code,
    "target": TargetError.exit_code,
}  # fmt: skip


class CheckReport(BaseModel):
    """Every line, by part."""

    model_config = ConfigDict(extra="forbid")

    report_format: int = REPORT_FORMAT
    rdbmerge_version: str = __version__
    started_at_ms: int
    parts: dict[str, list[PreflightCheck]] = Field(description="sources, disk, bucket, target: as far as asked for.")

    @property
    def exit_code(self) -> int:
        """0 without a FAILED line; else of the first part that has one: 30 sources, 2 disk, 40 bucket, 50 target."""
        wrong = (EXIT_CODES[part] for part in EXIT_CODES if worst(self.parts.get(part, [])) is Outcome.FAILED)
        return next(wrong, 0)


@dataclass(frozen=True, slots=True)
class Asked:
    """A source to look at: a server and how it is to be pulled, or a file."""

    name: str
    server: Source | None = None
    file: Path | None = None
    via: str = "replication"
    cluster: str = ""  # of a node: the source that it belongs to, whose rules it has


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """All that is to be looked at; None or empty: not asked for."""

    sources: Sequence[Asked] = ()
    rules: Rules = field(default_factory=Rules)
    snapshots: Path | None = None  # where they are pulled to
    output: Path | None = None  # where they are merged to
    bucket: Callable[[], Sequence[PreflightCheck]] | None = None
    profile: TargetProfile | None = None
    target: Server | None = None


def check(
    look: Look, *, tunnels: Tunnels, timeout_s: float, now_ms: Callable[[], int], stop: threading.Event | None = None
) -> CheckReport:
    """Look at all of it. Raises StoppedError when `stop` was set, and nothing else that a server or store can cause.

    Args:
        timeout_s: for each connection and reply.
    """
    report = CheckReport(started_at_ms=now_ms(), parts={})
    asking = _Asking(tunnels, timeout_s, now_ms, stop or threading.Event())
    found = list(_found(look, asking))
    if look.sources:
        report.parts["sources"] = [*(line for one in found for line in one.lines), *_same_data(found)]
    if look.snapshots is not None:
        report.parts["disk"] = _disk(look, found)
    if look.bucket is not None:
        report.parts["bucket"] = _bucket(look.bucket)
    if look.profile is not None or look.target is not None:
        report.parts["target"] = list(_target(look, found, asking))
    return report


@dataclass(frozen=True, slots=True)
class _Asking:
    tunnels: Tunnels
    timeout_s: float
    now_ms: Callable[[], int]
    stop: threading.Event

    def condition(self, server: Server, commands: Sequence[str]) -> Condition:
        """Raises SourceError, TargetError, StoppedError."""
        found = find_primary(server, tunnels=self.tunnels, timeout_s=self.timeout_s, wait_s=0, stop=self.stop)
        there = self.tunnels.through(found)
        return read_condition(there, *commands, timeout_s=self.timeout_s, now_ms=self.now_ms, stop=self.stop)


@dataclass(slots=True)
class _Found:
    """A source as it was found."""

    asked: Asked
    lines: list[PreflightCheck]
    condition: Condition | None = None
    file_bytes: int = 0


def _found(look: Look, asking: _Asking) -> Iterator[_Found]:
    """In the order of the sources, the nodes of a cluster each; several at once."""
    tasks: list[tuple[Asked, SourceError | None]] = []
    for asked in look.sources:
        if asked.server is None or not asked.server.cluster:
            tasks.append((asked, None))
            continue
        nodes = discover([asked.server], tunnels=asking.tunnels, timeout_s=asking.timeout_s, stop=asking.stop)
        tasks += [(asked, error) for _, error in nodes.failed]
        tasks += [(Asked(node.name, node, via=asked.via, cluster=asked.name), None) for node in nodes.sources]
    with ThreadPoolExecutor(min(_AT_ONCE, max(1, len(tasks)))) as pool:
        yield from pool.map(lambda task: _one(task[0], task[1], asking), tasks)


def _one(asked: Asked, error: SourceError | None, asking: _Asking) -> _Found:
    if asked.server is None:
        return _of_file(asked)
    try:
        if error is not None:
            raise error
        condition = asking.condition(asked.server, wanted_commands(asked.server, asked.via))
    except StoppedError:
        raise
    except RdbMergeError as refusal:
        return _Found(asked, [failed(f"{asked.name}: server", str(refusal), refusal.remedy)])
    return _Found(asked, readiness(asked.server, condition, asked.via), condition)


def _of_file(asked: Asked) -> _Found:
    name, path = f"{asked.name}: file", asked.file or Path()
    try:
        with Segment(path) as segment:
            return _Found(
                asked, [ok(name, f"{path}, {segment.dialect}, {format_bytes(segment.size_bytes)}")],
                file_bytes=segment.size_bytes,
            )  # fmt: skip
    except (RdbMergeError, FormatError) as error:
        return _Found(asked, [failed(name, str(error), error.remedy)])


def _same_data(found: Sequence[_Found]) -> Iterator[PreflightCheck]:
    """Sources that share a replication id hold one data set: merging them would be all conflicts."""
    by_id: dict[str, list[str]] = {}
    for one in found:
        if one.condition is not None and one.condition.facts.replid:
            by_id.setdefault(one.condition.facts.replid, []).append(one.asked.name)
    for names in by_id.values():
        if len(names) > 1:
            finding = f"{', '.join(names)} share a replication id: a primary and its replicas, or one server twice"
            yield warning("same data", finding, "name each data set once")


def _disk(look: Look, found: Sequence[_Found]) -> list[PreflightCheck]:
    """What pulls and the merge write: of snapshots at hand the size is known, of servers only the memory."""
    folder = look.snapshots or Path()
    to_pull = merged_files = merged_memory = 0
    for one in found:
        held = _held_bytes(one.asked, folder)
        memory = one.condition.facts.used_memory_bytes or 0 if one.condition else 0
        if one.asked.server is not None and not held:
            to_pull += memory
        merged_files += one.file_bytes or held
        merged_memory += 0 if one.file_bytes or held else memory
    needs = [need_of("pull", folder, files_bytes=0, memory_bytes=to_pull)]
    output = folder if look.output is None else look.output.parent
    needs.append(need_of("merge", output, files_bytes=merged_files, memory_bytes=merged_memory))
    return room_checks(needs)


def _held_bytes(asked: Asked, folder: Path) -> int:
    """Of a snapshot at hand; it is replaced by one of about its size."""
    path = WorkDir(folder).final_path(asked.name)
    try:
        manifest = read_manifest(path) if asked.server is not None and path.exists() else None
    except RdbMergeError:
        return 0
    return manifest.size_bytes if manifest else 0


def _bucket(ask: Callable[[], Sequence[PreflightCheck]]) -> list[PreflightCheck]:
    try:
        return list(ask())
    except StoppedError:
        raise
    except RdbMergeError as error:
        return [failed("bucket", str(error), error.remedy)]


def _target(look: Look, found: Sequence[_Found], asking: _Asking) -> Iterator[PreflightCheck]:
    conditions = {one.asked.name: one.condition for one in found if one.condition is not None}
    dbs = _written_dbs(look.rules, found)
    if look.profile is not None:
        yield from profile_readiness(look.profile, conditions, dbs=dbs)
    if look.target is None:
        return
    try:
        condition = asking.condition(look.target, RESTORE_COMMANDS)
    except StoppedError:
        raise
    except RdbMergeError as error:
        yield failed(f"{look.target.name}: server", str(error), error.remedy)
        return
    needed = sum(one.facts.used_memory_bytes or 0 for one in conditions.values())
    yield from server_readiness(look.target, condition, needed_bytes=needed, dbs=dbs)


def _written_dbs(rules: Rules, found: Sequence[_Found]) -> set[int]:
    """The dbs that the servers' keys go to, by what INFO says of them."""
    written: set[int] = set()
    for one in found:
        own = rules_of(rules, one.asked.cluster or one.asked.name)
        keyspace = one.condition.facts.keyspace if one.condition else None
        for db, counts in (keyspace or {}).items():
            if counts.keys and (own.dbs is None or db in own.dbs):
                written.add(own.db_map.get(db, db))
    return written
