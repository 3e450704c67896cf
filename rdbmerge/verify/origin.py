"""A source as verification sees it: its facts, its times, and what the rules say about each of its entries.

Reads the meaning of the rules from their description alone (`plan.model`), so that a slip of the planner shows.
Reasons in their order: of another shard, else not chosen (or an empty collection), else dead at the snapshot, else more
than the target can hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rdbmerge.errors import UsageError
from rdbmerge.format import codes, fields
from rdbmerge.format.columns import Columns
from rdbmerge.format.decode import Values
from rdbmerge.format.digest import Digester
from rdbmerge.format.values import Logical
from rdbmerge.plan.model import Rules, Unsupported
from rdbmerge.snapshot.index import Index
from rdbmerge.snapshot.manifest import SnapshotTimeFrom
from rdbmerge.snapshot.segment import Segment
from rdbmerge.verify.destination import Destination, Judge
from rdbmerge.verify.globs import key_test

EXPECTED, FILTERED, EXPIRED, REJECTED, ELSEWHERE = 0, 1, 2, 4, 5
VERDICTS = 6  # how many numbers there are
VERDICT_WORDS = {
    FILTERED: "left out by the filters",
    EXPIRED: "dead when its snapshot was taken",
    REJECTED: "more than the target can hold",
    ELSEWHERE: "it belongs in another shard",
}

Verdicts = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Times:
    """When a source's snapshot was taken, how that is known, and the offset its expiries get."""

    snapshot_at_ms: int
    snapshot_at_from: SnapshotTimeFrom
    ttl_offset_ms: int


def offset_of(rules: Rules, snapshot_at_ms: int) -> int:
    """What is added to every expiry of a source with that snapshot time."""
    if rules.ttl_freeze_until_ms is None:
        return rules.ttl_offset_ms
    return rules.ttl_offset_ms + rules.ttl_freeze_until_ms - snapshot_at_ms


def declared_for(rules: Rules, source: str) -> Rules:
    """What was declared for one source: each rule as it is under its name, else as it is for all."""
    if source not in rules.sources:
        return rules
    own = rules.sources[source]

    def either(name: str) -> Any:
        mine = getattr(own, name)
        return getattr(rules, name) if mine is None else mine

    return Rules(
        ttl_offset_ms=either("ttl_offset_ms"),
        ttl_freeze_until_ms=either("ttl_freeze_until_ms"),
        snapshot_at_ms=either("snapshot_at_ms"),
        drop_expired=either("drop_expired"),
        db_map=either("db_map"),
        dbs=either("dbs"),
        types=either("types"),
        include_keys=either("include_keys"),
        exclude_keys=either("exclude_keys"),
        key_prefix=either("key_prefix"),
        on_conflict=rules.on_conflict,
        target=rules.target,
        on_unsupported=rules.on_unsupported,
    )


def refuse_strangers(rules: Rules, sources: Sequence[str]) -> None:
    """Raise UsageError for rules under a name that none of the sources has."""
    strangers = [name for name in rules.sources if name not in sources]
    if strangers:
        raise UsageError(
            f"rules are declared for {', '.join(strangers)}, which is not among the sources",
            remedy=f"give the files that were merged; these are {', '.join(sources)}",
        )


def shared_prefix(rules: Rules, sources: Sequence[str]) -> bytes | None:
    """The prefix that the keys of all these sources get; None where they get different ones."""
    prefixes = {declared_for(rules, source).key_prefix for source in sources}
    return prefixes.pop() if len(prefixes) == 1 else None


class Origin:
    """One source under the rules. `number` is its place in the order of precedence.

    `prefix` (what its keys get) counts in hashes only where the sources get different ones (`prefix_counts`): else the
    merged file's keys are read without it, which costs less.
    """

    def __init__(
        self,
        number: int,
        segment: Segment,
        index: Index,
        rules: Rules,
        times: Times,
        destination: Destination,
        *,
        prefix_counts: bool = False,
    ) -> None:
        self.number = number
        self.segment = segment
        self.index = index
        self.rules = rules = declared_for(rules, segment.name)
        self.times = times
        self.prefix = rules.key_prefix
        self.hashed_prefix = self.prefix if prefix_counts else b""
        self.dead_before_ms = times.snapshot_at_ms if rules.drop_expired else None
        self.reading = destination.reading(
            segment.dialect,
            ttl_offset_ms=times.ttl_offset_ms,
            dead_before_ms=self.dead_before_ms,
            added_prefix=self.hashed_prefix,
        )
        self.meanings = self.reading.meaning_table()
        self._judge = Judge(destination, segment.dialect, self.dead_before_ms)
        types = segment.dialect.types
        self._expiring = np.array([number in types and types[number].holds_expiry for number in range(256)])
        self._include = [key_test(pattern) for pattern in rules.include_keys]
        self._exclude = [key_test(pattern) for pattern in rules.exclude_keys]
        self._wrong_type = self._types_not_chosen()

    @property
    def name(self) -> str:
        """What people call it."""
        return self.segment.name

    def hash_keys(self, columns: Columns) -> NDArray[np.uint64]:
        """The hash of each key of a batch in the mapped file, as digests have it."""
        return columns.hash_keys(self.segment.view, self.hashed_prefix)

    def sorted_hashes(self, db: int) -> NDArray[np.uint64]:
        """The hashes of the keys of a db, ascending; in memory where the prefix counts, else mapped."""
        if not self.hashed_prefix:
            return self.index.hashes[db]
        chunks = [chunk for chunk in self.index.facts.chunks if chunk.db == db]
        found = [
            self.hash_keys(batch).copy()
            for chunk in chunks
            for batch in self.segment.walk_part(chunk.start, chunk.stop, db)
        ]
        return np.sort(np.concatenate(found)) if found else np.empty(0, np.uint64)

    def takes_db(self, db: int) -> bool:
        """Whether entries of a source db are chosen at all."""
        return self.rules.dbs is None or db in self.rules.dbs

    def target_of(self, db: int) -> int:
        """The db of the merged file that a source db goes to."""
        return self.rules.db_map.get(db, db)

    def _types_not_chosen(self) -> Verdicts:
        cells = np.zeros(256, np.uint8)
        if self.rules.types is not None:
            wanted = {name.lower() for name in self.rules.types}
            for number, row in self.segment.dialect.types.items():
                cells[number] = Logical(row.logical).name.lower() not in wanted
        return cells

    def verdicts(self, columns: Columns, view: memoryview | None = None) -> Verdicts:
        """EXPECTED, FILTERED or EXPIRED for each row of a batch in `view` (None: in the mapped file).

        Raises FormatError for a damaged key or field.
        """
        rows, view = columns.rows, self.segment.view if view is None else view
        if not self.takes_db(columns.db):
            return np.full(rows, FILTERED, np.uint8)
        out = np.zeros(rows, np.uint8)
        if self.dead_before_ms is not None:
            at_ms = columns.expire_at_ms[:rows]
            out[(at_ms < self.dead_before_ms) & (at_ms != codes.NO_EXPIRY)] = EXPIRED
            self._dead_by_fields(view, columns, out, self.dead_before_ms)
        out[(columns.flags[:rows] & codes.EMPTY) != 0] = FILTERED
        if self.rules.types is not None:
            out[self._wrong_type[columns.type[:rows]] != 0] = FILTERED
        if self._include or self._exclude:
            for row in np.flatnonzero(out != FILTERED).tolist():
                if not self._chosen(columns.key(view, row)):
                    out[row] = FILTERED
        unfit, lossy = self.unheld(columns, view, out == EXPECTED)
        if self.rules.on_unsupported is not Unsupported.STRIP:
            unfit = unfit | lossy
        out[unfit] = REJECTED
        return out

    def unheld(self, columns: Columns, view: memoryview, wanted: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], ...]:
        """Which of the wanted rows the target cannot hold at all, and which not whole."""

        def values() -> Values:
            return Values(view, self.segment.dialect, self.segment.templates)

        return self._judge.judge(values, columns, wanted)

    def digester(self, view: memoryview) -> Digester:
        """What digests batches of this source in `view`."""
        return Digester(view, self.reading, self.meanings, self.segment.templates)

    def _dead_by_fields(self, view: memoryview, columns: Columns, out: Verdicts, dead_before_ms: int) -> None:
        """A hash none of whose fields was alive is as dead as a key."""
        for row in np.flatnonzero(self._expiring[columns.type[: columns.rows]] & (out == EXPECTED)).tolist():
            shape = self.segment.dialect.types[int(columns.type[row])].shape
            start, end = int(columns.value_start[row]), int(columns.end[row])
            for field in fields.read_fields(view, shape, start, end):
                if field.expire_at_ms is None or field.expire_at_ms >= dead_before_ms:
                    break
            else:
                out[row] = EXPIRED

    def _chosen(self, key: bytes) -> bool:
        if any(test(key) for test in self._exclude):
            return False
        return not self._include or any(test(key) for test in self._include)
