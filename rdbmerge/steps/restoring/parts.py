"""The parts of a restore (chunks of the sources) shared out among threads, each done to its end and noted.

A thread takes the next part when it is done with one, so that all are busy to the end, however unlike the files are.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rdbmerge.errors import DiskError, StoppedError
from rdbmerge.format.columns import Columns
from rdbmerge.format.commands import Restoration
from rdbmerge.format.emit import Emission
from rdbmerge.plan.model import ChunkPlan, Plan
from rdbmerge.plan.selection import KEPT
from rdbmerge.plan.treatment import Treatment, rules_of, treat
from rdbmerge.snapshot.segment import Segment
from rdbmerge.steps.restoring.batch import Connections, Delivery
from rdbmerge.steps.restoring.checkpoint import Keeper, PartDone
from rdbmerge.steps.restoring.work import EXPIRED, PENDING, REJECTED, RESTORED, SKIPPED, Work
from rdbmerge.units import escape_key

_LOOK_S = 0.2
_LARGE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Part:
    """A chunk of a source; its entries go to `target_db`."""

    source: int
    db: int
    target_db: int
    chunk: ChunkPlan


def parts_of(plan: Plan) -> list[Part]:
    """All that give something to the target; those of large values first, for nothing is left to do beside the last."""
    parts = [
        Part(number, run.db, run.target_db, chunk)
        for number, source in enumerate(plan.sources)
        for run in source.runs
        for chunk in run.chunks
        if chunk.written
    ]
    return sorted(parts, key=lambda part: part.chunk.stop - part.chunk.start < _LARGE_BYTES)


class RejectedKeys:
    """The list of keys that the target would not have: one JSON line each, 0600. Thread-safe.

    `size_bytes`: what it holds of an earlier run and stays; what is behind was not noted as done, and comes again.
    """

    def __init__(self, path: Path, size_bytes: int) -> None:
        self.path = path
        self._lock = threading.Lock()
        self.size_bytes = size_bytes
        try:
            if size_bytes:
                os.truncate(path, size_bytes)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise self._failure(error) from error

    def add(self, lines: Sequence[str]) -> int:
        """Write lines; the size of the file then. Raises DiskError."""
        with self._lock:
            if lines:
                data = "".join(f"{line}\n" for line in lines).encode()
                try:
                    fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
                    with os.fdopen(fd, "ab") as file:
                        file.write(data)
                except OSError as error:
                    raise self._failure(error) from error
                self.size_bytes += len(data)
            return self.size_bytes

    def _failure(self, error: OSError) -> DiskError:
        return DiskError(f"cannot write {self.path}: {error.strerror}", remedy="check the folder and its space")


class Parts:
    """All parts of one plan on their way. `doubtful`: some of them may have been sent before."""

    def __init__(
        self,
        work: Work,
        plan: Plan,
        segments: Sequence[Segment],
        keeper: Keeper,
        rejected: RejectedKeys,
        *,
        doubtful: bool,
    ) -> None:
        self._work = work
        self._plan = plan
        self._segments = segments
        self._keeper = keeper
        self._rejected = rejected
        self._doubtful = doubtful
        self._next = iter(parts_of(plan))
        self._lock = threading.Lock()
        self._treatments = [self._treatment(number) for number in range(len(segments))]

    def _treatment(self, number: int) -> Treatment:
        source, segment = self._plan.sources[number], self._segments[number]
        return treat(
            rules_of(self._plan.rules, source.name),
            segment,
            snapshot_at_ms=source.snapshot_at_ms,
            ttl_offset_ms=source.ttl_offset_ms,
            losers=source.losers,
        )

    def run(self, connections: int, stop: threading.Event) -> None:
        """Do all parts over so many connections. Raises what the first thread that failed raised, or StoppedError.

        What was settled is noted in any case.
        """
        with ThreadPoolExecutor(max_workers=connections, thread_name_prefix="restore") as pool:
            futures = {pool.submit(self._run_some, stop) for _ in range(connections)}
            try:
                pending = futures
                while pending:
                    ended, pending = wait(pending, timeout=_LOOK_S, return_when=FIRST_EXCEPTION)
                    if stop.is_set() or any(future.exception() for future in ended):
                        self._work.stop.set()
            finally:
                self._work.stop.set()
        failures = [error for future in futures if (error := future.exception()) is not None]
        real = [error for error in failures if not isinstance(error, StoppedError)]
        if real or failures:
            raise (real or failures)[0]

    def _run_some(self, stop: threading.Event) -> None:
        connections, columns = Connections(self._work), Columns()
        try:
            while (part := self._take()) is not None:
                if stop.is_set():
                    self._work.stop.set()
                self._work.check_stop()
                self._run_one(part, connections, columns)
        finally:
            connections.close()

    def _take(self) -> Part | None:
        with self._lock:
            return next(self._next, None)

    def _run_one(self, part: Part, connections: Connections, columns: Columns) -> None:
        segment, treatment = self._segments[part.source], self._treatments[part.source]
        before = self._keeper.done(part.source, part.chunk.start)
        done = before or PartDone(source=part.source, start=part.chunk.start, position=part.chunk.start)
        self._work.count_bytes(done.position - part.chunk.start)
        if done.position >= part.chunk.stop:
            return
        for batch in segment.walk_part(done.position, part.chunk.stop, part.db, columns=columns):
            with segment.naming_errors():
                reasons = treatment.selection.reasons(segment.view, batch)
                restoration = Restoration(Emission(segment.view, batch, treatment.change), self._work.form)
                delivery = Delivery(
                    self._work, connections, restoration, db=part.target_db, kept=reasons == KEPT,
                    doubtful=self._doubtful,
                )  # fmt: skip
                try:
                    delivery.run()
                finally:
                    done = self._note(part, done, delivery)

    def _note(self, part: Part, done: PartDone, delivery: Delivery) -> PartDone:
        """Note the entries from the first on that have their fate: of a batch that failed, those before the first
        that has none."""
        batch, fates = delivery.columns, delivery.fates
        pending = np.flatnonzero(fates == PENDING)
        settled = int(pending[0]) if len(pending) else batch.rows
        position = int(batch.entry_start[settled]) if settled < batch.rows else batch.stop
        counts = np.bincount(fates[:settled], minlength=6).tolist()
        lines = [self._line(part, delivery, row) for row in sorted(delivery.refused) if row < settled]
        rejected_bytes = self._rejected.add(lines)
        noted = PartDone(
            source=done.source,
            start=done.start,
            position=position,
            restored=done.restored + counts[RESTORED],
            skipped=done.skipped + counts[SKIPPED],
            rejected=done.rejected + counts[REJECTED],
            expired=done.expired + counts[EXPIRED],
        )
        self._keeper.note(noted, dict(self._work.watch.run_ids), rejected_bytes)
        self._work.count_bytes(position - done.position)
        return noted

    def _line(self, part: Part, delivery: Delivery, row: int) -> str:
        source, batch, key = self._plan.sources[part.source], delivery.columns, delivery.key(row)
        return json.dumps(
            {
                "key": escape_key(key, limit=1_000),
                "key_hex": key.hex(),
                "db": part.target_db,
                "source": source.name,
                "source_db": part.db,
                "offset": int(batch.entry_start[row]),
                "type": self._segments[part.source].dialect.types[int(batch.type[row])].name,
                "size_bytes": int(batch.end[row] - batch.entry_start[row]),
                "why": delivery.refused[row],
            }
        )


def byte_counter(total_bytes: int, tell: Callable[[int, int], None] | None) -> Callable[[int], None]:
    """Adds up what several threads have done, and tells it: bytes done, and bytes in all."""
    lock, done = threading.Lock(), 0

    def count(more_bytes: int) -> None:
        nonlocal done
        with lock:
            done += more_bytes
            if tell is not None:
                tell(done, total_bytes)

    return count
