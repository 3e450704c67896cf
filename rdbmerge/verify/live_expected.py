"""What a live server should hold: the expected entries of the sources under the rules, and the hashes of their keys.

Conflicts are settled before the first chunk, so that each chunk can be looked at by itself, in any order and again.
Knows nothing of servers.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rdbmerge.format.columns import Columns
from rdbmerge.format.replies import Keys
from rdbmerge.plan.model import Policy, Rules
from rdbmerge.snapshot.hashes import HashCollector
from rdbmerge.snapshot.index import Chunk
from rdbmerge.verify.expectation import Line, SourceReader
from rdbmerge.verify.live_tally import LiveTally
from rdbmerge.verify.origin import EXPECTED, EXPIRED, FILTERED, REJECTED, VERDICTS, Origin
from rdbmerge.verify.rivals import Rivalry, settle

Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Task:
    """One chunk of one line. `first_row`: how many entries of all tasks stand before it."""

    number: int
    place: int  # of the line
    chunk: Chunk
    first_row: int


class Expected:
    """The expected side. `sample`: about how many entries are to be asked for; None: all."""

    def __init__(
        self, origins: Sequence[Origin], rules: Rules, *, jobs: int, sample: int | None, seed: int, spill_dir: Path
    ) -> None:
        self.lines = [
            Line(origin, db.db, origin.target_of(db.db))
            for origin in origins
            for db in origin.index.facts.dbs
            if db.keys
        ]
        self.rules = rules
        self.rivalries = self._settle(jobs)
        self._losers = [
            self.rivalries[line.target_db].losers_of(line)
            if line.target_db in self.rivalries
            else np.empty(0, np.int64)
            for line in self.lines
        ]
        self.tasks: list[Task] = []
        rows = 0
        for place, line in enumerate(self.lines):
            for chunk in line.origin.index.facts.chunks:
                if chunk.db == line.db:
                    self.tasks.append(Task(len(self.tasks), place, chunk, rows))
                    rows += chunk.rows
        self.rows = rows
        self._picked: NDArray[np.int64] | None = None
        if sample is not None and sample < rows:
            self._picked = np.unique(np.random.default_rng(seed).integers(0, rows, sample))
        self._hashes = HashCollector(spill_dir)
        self._lock = threading.Lock()

    def _settle(self, jobs: int) -> dict[int, Rivalry]:
        by_db: dict[int, list[Line]] = {}
        for line in self.lines:
            if line.origin.takes_db(line.db):
                by_db.setdefault(line.target_db, []).append(line)
        reader = SourceReader(jobs, digests=False)
        return {
            db: settle(some, self.rules.on_conflict, reader, jobs)
            for db, some in sorted(by_db.items())
            if len(some) > 1
        }

    @property
    def conflicts(self) -> int:
        """Keys that more than one source holds."""
        return sum(rivalry.conflicts for rivalry in self.rivalries.values())

    @property
    def conflicts_are_settled(self) -> bool:
        """Whether the policy says who wins."""
        return self.rules.on_conflict is not Policy.FAIL or not self.conflicts

    def rows_of(self, task: Task, batch: Columns, before: int, tally: LiveTally) -> tuple[Rows, Rows]:
        """The expected rows of a batch of a task, `before` of whose rows stood in earlier ones; and those to ask for.

        Books what became of all rows. Raises FormatError for a damaged key or field.
        """
        line, losers = self.lines[task.place], self._losers[task.place]
        verdicts = line.verdicts(batch)
        lost = (verdicts == EXPECTED) & np.isin(batch.entry_start[: batch.rows], losers)
        counts, booked = np.bincount(verdicts, minlength=VERDICTS), tally.line(task.place)
        conflict_dropped = int(np.count_nonzero(lost))
        booked.read += batch.rows
        booked.expired += int(counts[EXPIRED])
        booked.filtered += int(counts[FILTERED])
        booked.rejected += int(counts[REJECTED])
        booked.conflict_dropped += conflict_dropped
        booked.expected += int(counts[EXPECTED]) - conflict_dropped
        rows = np.flatnonzero((verdicts == EXPECTED) & ~lost)
        if self._picked is None:
            return rows, rows
        first = task.first_row + before
        low, high = np.searchsorted(self._picked, (first, first + batch.rows))
        return rows, rows[np.isin(rows, self._picked[low:high] - first)]

    def remember(self, place: int, keys: Keys) -> None:
        """Take the hashes of expected keys of a line; from several threads."""
        hashes = keys.hashes()
        with self._lock:
            self._hashes.add(self.lines[place].target_db, hashes)

    def hashes(self) -> dict[int, NDArray[np.uint64]]:
        """The hashes of all keys that were remembered, by db, ascending."""
        return {db: _joined(list(self._hashes.sorted_hashes(db))) for db in self._hashes.dbs()}

    def close(self) -> None:
        """Give memory and disk back."""
        self._hashes.close()


def _joined(pieces: Sequence[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
