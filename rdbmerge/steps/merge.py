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
from rdbmerge.merge.writer import output_exists, write_plan
from rdbmerge.plan.model import Conflict, Plan, Rules
from rdbmerge.plan.planner import make_plan
from rdbmerge.snapshot.index import Index
from rdbmerge.snapshot.indexer import read_index
from rdbmerge.snapshot.manifest import Manifest, Merged, manifest_path, write_manifest
from rdbmerge.snapshot.segment import Segment, open_segments

CONFLICTS_SUFFIX = ".conflicts.jsonl"


@dataclass(frozen=True, slots=True)
class MergeProgress:
    """How far a merge is: `done` of `total` bytes of the phase "scan" or "write"."""

    phase: str
    done_bytes: int
    total_bytes: int


Progress = Callable[[MergeProgress], None]


@dataclass(frozen=True, slots=True)
class PlannedMerge:
    """A plan together with the open segments it was made of."""

    plan: Plan
    segments: Sequence[Segment]


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
    conflicts_to: Path | None = None,
    progress: Progress | None = None,
) -> Iterator[PlannedMerge]:
    """Scan `sources` (RDB files, in order of precedence) and decide their merge; the segments stay open inside.

    `conflicts_to` gets one JSON line for every entry in conflict, also when the conflicts make the plan fail.

    Raises what `read_index` and `make_plan` raise: bad files, conflicts, rules that cannot be.
    """
    with open_segments(sources) as segments, ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
        indexes = read_indexes(segments, pool, progress)
        with _conflict_notes(conflicts_to) as note:
            plan = make_plan(segments, indexes, rules, now_ms=now_ms, note=note, run=pool.map)
        yield PlannedMerge(plan, segments)


def read_indexes(segments: Sequence[Segment], pool: ThreadPoolExecutor, progress: Progress | None) -> list[Index]:
    """The index of every segment, several at a time, the largest first."""
    meter = _Meter("scan", sum(segment.size_bytes for segment in segments), progress)
    order = sorted(range(len(segments)), key=lambda number: -segments[number].size_bytes)
    futures = {number: pool.submit(read_index, segments[number], progress=meter) for number in order}
    return [futures[number].result() for number in range(len(segments))]


@contextmanager
def _conflict_notes(path: Path | None) -> Iterator[Callable[[Conflict], None] | None]:
    """A file that comes into being with its first line; a stale one of an earlier merge goes."""
    if path is None:
        yield None
        return
    partial = path.with_name(f".{path.name}.partial")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            try:
                yield lambda conflict: print(conflict.model_dump_json(), file=file)
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


def refuse_existing(output: Path, force: bool) -> None:
    """Raise UsageError before any work if the output is there already."""
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
) -> Manifest:
    """Write the merged file and its manifest. Raises what `write_plan` raises; then there is no output."""
    plan = planned.plan
    for segment in planned.segments:
        segment.check_unchanged()
    meter = _Meter("write", plan.output_bytes, progress)
    if force:
        # A file without a manifest is no harm; one beside another file than its own would be, if this is killed.
        with contextlib.suppress(OSError):
            manifest_path(output).unlink()
    crc = write_plan(plan, planned.segments, output, jobs=jobs, force=force, progress=meter, stop=stop)
    manifest = Manifest(
        rdbmerge_version=__version__,
        file=output.name,
        size_bytes=plan.output_bytes,
        crc64=f"{crc:016x}",
        magic=plan.magic,
        keys_in_file={db.db: db.keys for db in plan.dbs},
        merged=Merged(
            sources={source.name: source.crc64 for source in plan.sources},
            plan_sha256=hashlib.sha256(plan.model_dump_json().encode()).hexdigest(),
        ),
    )
    try:
        write_manifest(output, manifest)
    except OSError as error:
        raise DiskError(
            f"{output} is whole, but its manifest cannot be written: {error.strerror}",
            remedy="check the disk; the merged file can be used without it",
        ) from error
    return manifest
