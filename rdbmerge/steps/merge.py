"""The use case of merging: scan the sources, plan, and write; with the files a merge leaves beside its output.

Sees both ends of the pipeline; knows nothing of the command line.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rdbmerge import __version__
from rdbmerge.errors import DiskError
from rdbmerge.merge.writer import Output, output_exists, write_plans
from rdbmerge.plan.model import Model, Plan, Rules
from rdbmerge.plan.planner import Notes, make_plans
from rdbmerge.plan.sharding import Slots, slots_text
from rdbmerge.snapshot.index import Index
from rdbmerge.snapshot.indexer import read_index
from rdbmerge.snapshot.manifest import Manifest, Merged, manifest_path, write_manifest
from rdbmerge.snapshot.segment import Segment, open_segments

CONFLICTS_SUFFIX = ".conflicts.jsonl"
REJECTED_SUFFIX = ".rejected.jsonl"


@dataclass(frozen=True, slots=True)
class MergeProgress:
    """How far a merge is: `done` of `total` bytes of the phase "scan" or "write"."""

    phase: str
    done_bytes: int
    total_bytes: int


Progress = Callable[[MergeProgress], None]


@dataclass(frozen=True, slots=True)
class PlannedMerge:
    """Plans, one a file that will be, together with the open segments they were made of."""

    plans: Sequence[Plan]
    segments: Sequence[Segment]

    @property
    def plan(self) -> Plan:
        """The plan of a merge into one file."""
        (plan,) = self.plans
        return plan


def metered(phase: str, total_bytes: int, progress: Progress | None) -> Callable[[int], None]:
    """What adds up the bytes that several threads report, and tells `progress`."""
    return _Meter(phase, total_bytes, progress)


class _Meter:
    """Adds up what several threads report."""

    def __init__(self, phase: str, total_bytes: int, progress: Progress | None) -> None:
        self._phase, self._total, self._progress = phase, total_bytes, progress
        self._done = 0
        self._lock = threading.Lock()

    def __call__(self, more_bytes: int) -> None:
        if self._progress:
            with self._lock:
                self._done += more_bytes
                self._progress(MergeProgress(self._phase, self._done, self._total))


@contextmanager
def planned_merge(
    sources: Sequence[Path],
    rules: Rules,
    *,
    now_ms: int,
    jobs: int,
    names: Sequence[str] | None = None,
    shards: Sequence[Slots] | None = None,
    conflicts_to: Path | None = None,
    rejected_to: Path | None = None,
    progress: Progress | None = None,
) -> Iterator[PlannedMerge]:
    """Scan `sources` (RDB files, in order of precedence) and decide their merge; the segments stay open inside.

    Args:
        names: of the sources, for plan, ledger and messages; None: of their files.
        shards: the slots of each shard of a cluster: one plan for each; None: one plan for one file.
        conflicts_to: gets one JSON line for every entry in conflict, also when the conflicts make the plan fail.
        rejected_to: the same for everything that the target cannot hold.

    Raises what `read_index` and `make_plans` raise: bad files, conflicts, rules that cannot be.
    """
    with open_segments(sources, names) as segments, ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
        indexes = read_indexes(segments, pool, progress)
        with _notes(conflicts_to) as conflict, _notes(rejected_to) as rejection:
            notes = Notes(conflict, rejection)
            plans = make_plans(segments, indexes, rules, shards, now_ms=now_ms, notes=notes, run=pool.map)
        yield PlannedMerge(plans, segments)


def read_indexes(segments: Sequence[Segment], pool: ThreadPoolExecutor, progress: Progress | None) -> list[Index]:
    """The index of every segment, several at a time, the largest first."""
    meter = _Meter("scan", sum(segment.size_bytes for segment in segments), progress)
    order = sorted(range(len(segments)), key=lambda number: -segments[number].size_bytes)
    futures = {number: pool.submit(read_index, segments[number], progress=meter) for number in order}
    return [futures[number].result() for number in range(len(segments))]


@contextmanager
def _notes(path: Path | None) -> Iterator[Callable[[Model], None] | None]:
    """A file that comes into being with its first line; a stale one of an earlier merge goes."""
    if path is None:
        yield None
        return
    partial = path.with_name(f".{path.name}.partial")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            try:
                yield lambda note: print(note.model_dump_json(), file=file)
            finally:
                file.flush()
                if partial.stat().st_size:
                    partial.replace(path)
                else:
                    partial.unlink()
                    path.unlink(missing_ok=True)
    except OSError as error:
        raise DiskError(f"cannot write {path}: {error.strerror}", remedy="check the folder and its space") from error


def conflicts_path(output: Path) -> Path:
    """Where the conflicts of a merge are listed."""
    return output.with_name(output.name + CONFLICTS_SUFFIX)


def rejected_path(output: Path) -> Path:
    """Where all that the target cannot hold is listed."""
    return output.with_name(output.name + REJECTED_SUFFIX)


def output_paths(output: Path, shards: Sequence[Slots] | None) -> list[Path]:
    """The files of a merge: `output`, or, for `merged.rdb` and each shard, `merged.0-5460.rdb`."""
    if shards is None:
        return [output]
    return [output.with_name(f"{output.stem}.{slots_text(slots)}{output.suffix}") for slots in shards]


def refuse_existing(outputs: Sequence[Path], force: bool) -> None:
    """Raise UsageError before any work if an output is there already."""
    for output in outputs:
        if output.exists() and not force:
            raise output_exists(output)


def write_merge(
    planned: PlannedMerge,
    output: Path,
    *,
    jobs: int,
    force: bool = False,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> list[Manifest]:
    """Write the merged files (`output_paths`) and their manifests.

    Raises what `write_plans` raises; then there is no output.
    """
    plans = planned.plans
    shards = None if plans[0].rules.slots is None else [plan.rules.slots or [] for plan in plans]
    outputs = [Output(plan, path) for plan, path in zip(plans, output_paths(output, shards), strict=True)]
    for segment in planned.segments:
        segment.check_unchanged()
    meter = _Meter("write", sum(plan.output_bytes for plan in plans), progress)
    if force:
        # A file without a manifest is no harm; one beside another file than its own would be, if this is killed.
        for one in outputs:
            with contextlib.suppress(OSError):
                manifest_path(one.path).unlink()
    crcs = write_plans(outputs, planned.segments, jobs=jobs, force=force, progress=meter, stop=stop)
    manifests = [manifest_of(one.plan, one.path.name, crc) for one, crc in zip(outputs, crcs, strict=True)]
    for one, manifest in zip(outputs, manifests, strict=True):
        try:
            write_manifest(one.path, manifest)
        except OSError as error:
            raise DiskError(
                f"{one.path} is whole, but its manifest cannot be written: {error.strerror}",
                remedy="check the disk; the merged file can be used without it",
            ) from error
    return manifests


def manifest_of(plan: Plan, name: str, crc: int) -> Manifest:
    """The facts about the merged file of that name; `crc` is that of its bytes before the footer."""
    return Manifest(
        rdbmerge_version=__version__,
        file=name,
        size_bytes=plan.output_bytes,
        crc64=f"{crc:016x}",
        magic=plan.magic,
        keys_in_file={db.db: db.keys for db in plan.dbs},
        merged=Merged(sources={source.name: source.crc64 for source in plan.sources}, plan_sha256=plan_digest(plan)),
    )


def plan_digest(plan: Plan) -> str:
    """The SHA-256 (hex) by which a manifest names the plan of its file."""
    return hashlib.sha256(plan.model_dump_json().encode()).hexdigest()
