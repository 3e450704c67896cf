"""One verification from the merged files and their origins to checks: the parts of this room in their order.

Several merged files are the shards of a cluster; the sources are read once for all of them. Keeps the time spent on
each part. Knows nothing of plans' paths or of how a report is shown.
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
from rdbmerge.verify.destination import Destination
from rdbmerge.verify.expectation import Line, SourceReader, by_target, total
from rdbmerge.verify.origin import Origin, shared_prefix
from rdbmerge.verify.pairing import Paired, Pairing
from rdbmerge.verify.report import Check, Level, TargetDbLine
from rdbmerge.verify.rivals import Rivalry, settle
from rdbmerge.verify.shards import Runs, Shards
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
class Answer:
    """What was found out about one merged file."""

    merged: Segment
    slots: Runs | None
    plan: Plan | None
    found: Found
    lines: list[Line] = field(default_factory=list)
    rivalries: dict[int, Rivalry] = field(default_factory=dict)
    targets: list[TargetDbLine] = field(default_factory=list)
    paired: Paired | None = None
    checks: list[Check] = field(default_factory=list)


@dataclass(slots=True)
class Inquiry:
    """What is asked. `merged`: one file, or one a shard, with its slots in `slots` and, if there is one, its plan."""

    merged: Sequence[Segment]
    slots: Sequence[Runs] | None
    origins: Sequence[Origin]
    destination: Destination
    rules: Rules
    plans: Sequence[Plan] | None
    level: Level
    jobs: int
    progress: Progress | None
    clock: Clock

    @property
    def digests(self) -> bool:
        """Whether contents are compared at all."""
        return self.level is not Level.COUNTS

    def run(self) -> list[Answer]:
        """Read everything; an answer for each merged file. Raises FormatError and its kinds."""
        progress = _one_at_a_time(self.progress) if self.progress else None
        reader = SourceReader(self.jobs, digests=self.digests, progress=progress)
        readers, answers = [], []
        with self.clock("merged file"):
            for number, segment in enumerate(self.merged):
                one = MergedReader(
                    segment, self._reading(segment), jobs=self.jobs, files=len(self.merged), digests=self.digests,
                    progress=progress,
                )  # fmt: skip
                readers.append(one)
                slots = None if self.slots is None else self.slots[number]
                plan = None if self.plans is None else self.plans[number]
                answers.append(Answer(segment, slots, plan, one.read()))
        # Sorting keeps one processor busy, reading the others.
        with self.clock("sources"), ThreadPoolExecutor(1) as pool:
            repeated_keys = [
                pool.submit(merged.repeated_keys, answer.found) for merged, answer in zip(readers, answers, strict=True)
            ]
            lines = reader.read(self.origins, Shards(self.slots))
            for answer, its_lines, repeated in zip(answers, lines, repeated_keys, strict=True):
                answer.lines, answer.found.repeated_keys = its_lines, repeated.result()
        for answer in answers:
            self._compare(answer, reader)
            answer.checks = self._checks(answer)
        return answers

    def _reading(self, merged: Segment) -> Reading:
        prefix = shared_prefix(self.rules, [origin.name for origin in self.origins])
        return self.destination.reading(merged.dialect, as_it_stands=True, key_prefix=prefix or b"")

    def _compare(self, answer: Answer, reader: SourceReader) -> None:
        with self.clock("conflicts"):
            answer.rivalries = self._settle(answer, reader)
        expected = {db: total(some) for db, some in by_target(answer.lines).items()}
        answer.targets = accounts.target_lines(expected, answer.found, digests=self.digests)
        self._pair(answer, reader)

    def _settle(self, answer: Answer, reader: SourceReader) -> dict[int, Rivalry]:
        """Settle the conflicts of each db and take the losers out of the lines."""
        rivalries = {}
        for db, some in by_target(answer.lines).items():
            if len(some) < 2 or (self.digests and _free_of_conflicts(db, some, answer.found)):
                continue
            rivalry = settle(some, self.rules.on_conflict, reader, self.jobs)
            rivalries[db] = rivalry
            for line in some:
                losers = rivalry.losers_of(line)
                if len(losers):
                    reader.subtract(line, losers)
        return rivalries

    def _pair(self, answer: Answer, reader: SourceReader) -> None:
        """All dbs, be it for one that is wrong: where an entry that is too many here belongs, the others know."""
        dbs = [line.db for line in answer.targets]
        if self.level is not Level.FULL and not accounts.unequal_dbs(answer.targets):
            return
        merged, found = answer.merged, answer.found
        with self.clock("pairing"), merged.naming_errors():
            pairing = Pairing(
                merged, self._reading(merged), found.parts, answer.lines, answer.rivalries, reader, dbs=dbs,
                jobs=self.jobs,
            )  # fmt: skip
            answer.paired = pairing.run(sum(found.dbs[db].keys for db in dbs if db in found.dbs))

    def _checks(self, answer: Answer) -> list[Check]:
        rules, found, size_bytes = self.rules, answer.found, answer.merged.size_bytes
        checks = soundness(found, size_bytes, self.destination.profile, sharded=answer.slots is not None)
        checks += accounts.balance_checks(answer.lines, answer.targets)
        checks.append(accounts.conflicts_check(answer.rivalries, rules.on_conflict))
        if self.destination.profile is not None:
            checks.append(accounts.unsupported_check(answer.lines, rules, self.destination.profile))
        checks += companion_checks(found, answer.merged.view, self.origins, rules, self.destination.profile)
        if self.digests:
            checks.append(accounts.contents_check(answer.targets, self.destination.by_meaning))
        if self.level is Level.FULL:
            checks.append(accounts.entry_check(answer.paired or Paired()))
        if answer.plan is not None:
            checks += accounts.plan_checks(answer.plan, self.origins, answer.lines, found, size_bytes)
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
