"""One verification from the merged file and its origins to checks: the parts of this room in their order.

Keeps the time spent on each. Knows nothing of plans' paths or of how a report is shown.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from rdbmerge.format.digest import Digest, Reading
from rdbmerge.plan.model import Plan, Rules
from rdbmerge.snapshot.index import Progress
from rdbmerge.snapshot.segment import Segment
from rdbmerge.verify import accounts
from rdbmerge.verify.companions import companion_checks
from rdbmerge.verify.expectation import Line, SourceReader, by_target, total
from rdbmerge.verify.origin import Origin
from rdbmerge.verify.pairing import Paired, Pairing
from rdbmerge.verify.report import Check, Level, TargetDbLine
from rdbmerge.verify.rivals import Rivalry, settle
from rdbmerge.verify.soundness import soundness
from rdbmerge.verify.structure import Found, MergedReader


class Clock:
    """Seconds by part of the work."""

    def __init__(self) -> None:
        self.durations_s: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Add the time spent inside to `name`."""
        started = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - started
            self.durations_s[name] = round(self.durations_s.get(name, 0.0) + spent, 3)


@dataclass(slots=True)
class Inquiry:
    """What is asked, and what was found out so far."""

    merged: Segment
    origins: Sequence[Origin]
    rules: Rules
    plan: Plan | None
    level: Level
    jobs: int
    progress: Progress | None
    clock: Clock
    found: Found = field(init=False)
    lines: list[Line] = field(init=False)
    rivalries: dict[int, Rivalry] = field(init=False)
    targets: list[TargetDbLine] = field(init=False)
    paired: Paired | None = None

    @property
    def digests(self) -> bool:
        """Whether contents are compared at all."""
        return self.level is not Level.COUNTS

    def run(self) -> list[Check]:
        """Read everything; the checks. Raises FormatError and its kinds."""
        reading = Reading(dialect=self.merged.dialect, key_prefix=self.rules.key_prefix, as_it_stands=True)
        progress = _one_at_a_time(self.progress) if self.progress else None
        reader = SourceReader(self.jobs, digests=self.digests, progress=progress)
        merged = MergedReader(self.merged, reading, jobs=self.jobs, digests=self.digests, progress=progress)
        with self.clock("merged file"):
            self.found = merged.read()
        # Sorting keeps one processor busy, reading the others.
        with self.clock("sources"), ThreadPoolExecutor(1) as pool:
            repeated_keys = pool.submit(merged.repeated_keys, self.found)
            self.lines = reader.read(self.origins)
            self.found.repeated_keys = repeated_keys.result()
        with self.clock("conflicts"):
            self.rivalries = self._settle(reader)
        expected = {db: total(some) for db, some in by_target(self.lines).items()}
        self.targets = accounts.target_lines(expected, self.found, digests=self.digests)
        self._pair(reading, reader)
        return self._checks()

    def _settle(self, reader: SourceReader) -> dict[int, Rivalry]:
        """Settle the conflicts of each db and take the losers out of the lines."""
        rivalries = {}
        for db, some in by_target(self.lines).items():
            if len(some) < 2 or (self.digests and _free_of_conflicts(db, some, self.found)):
                continue
            rivalry = settle(some, self.rules.on_conflict, reader, self.jobs)
            rivalries[db] = rivalry
            for line in some:
                losers = rivalry.losers_of(line)
                if len(losers):
                    reader.subtract(line, losers)
        return rivalries

    def _pair(self, reading: Reading, reader: SourceReader) -> None:
        """All dbs, be it for one that is wrong: where an entry that is too many here belongs, the others know."""
        dbs = [line.db for line in self.targets]
        if self.level is not Level.FULL and not accounts.unequal_dbs(self.targets):
            return
        with self.clock("pairing"), self.merged.naming_errors():
            pairing = Pairing(
                self.merged, reading, self.found.parts, self.lines, self.rivalries, reader, dbs=dbs, jobs=self.jobs
            )
            self.paired = pairing.run(sum(self.found.dbs[db].keys for db in dbs if db in self.found.dbs))

    def _checks(self) -> list[Check]:
        policy = self.rules.on_conflict
        checks = soundness(self.found, self.merged.size_bytes)
        checks += accounts.balance_checks(self.lines, self.targets)
        checks.append(accounts.conflicts_check(self.rivalries, policy))
        checks += companion_checks(self.found, self.merged.view, self.origins, policy)
        if self.digests:
            checks.append(accounts.contents_check(self.targets))
        if self.level is Level.FULL:
            checks.append(accounts.entry_check(self.paired or Paired()))
        if self.plan is not None:
            size_bytes = self.merged.size_bytes
            checks += accounts.plan_checks(self.plan, self.origins, self.lines, self.found, size_bytes)
        return checks


def _one_at_a_time(progress: Progress) -> Progress:
    """The same, for calls out of several threads."""
    lock = threading.Lock()

    def told(done_bytes: int) -> None:
        with lock:
            progress(done_bytes)

    return told


def _free_of_conflicts(db: int, lines: Sequence[Line], found: Found) -> bool:
    """Nothing has to be searched where all that the sources give is in the merged file, and no key is there twice."""
    there: Mapping[int, Digest] = {number: facts.digest for number, facts in found.dbs.items()}
    return total(lines) == there.get(db) and not found.repeated_keys
