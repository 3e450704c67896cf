"""What differs between entries of a source and what a live server gave for their keys.

Values are compared by bytes where those are the same, else as what they mean: the server may keep them in another form.
What expires meanwhile is no difference: keys and fields whose time has come by the server's clock are left out on both
sides. Knows nothing of how the server was asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rdbmerge.errors import FormatError
from rdbmerge.format import codes
from rdbmerge.format.columns import Columns
from rdbmerge.format.decode import Values
from rdbmerge.format.dialects import Dialect
from rdbmerge.format.digest import Digester, Reading
from rdbmerge.format.fields import read_fields
from rdbmerge.format.logical import Hash
from rdbmerge.format.replies import Dumps
from rdbmerge.format.values import Logical, Shape
from rdbmerge.units import escape_key, format_instant
from rdbmerge.verify.destination import Destination
from rdbmerge.verify.entries import shifted_all, spans_equal
from rdbmerge.verify.expectation import Line
from rdbmerge.verify.live_tally import LiveCounts, LiveTally, Suspect
from rdbmerge.verify.meaning import difference_of, expected_value
from rdbmerge.verify.report import Difference

if TYPE_CHECKING:
    from rdbmerge.verify.report import DifferenceKind

_BY_MEANING = frozenset(logical for logical in Logical if logical <= Logical.STREAM)
_HINTS = codes.HAS_IDLE | codes.HAS_FREQ  # no dump holds them
_STREAM_FORMS = (Shape.STREAM, Shape.STREAM_2, Shape.STREAM_3, Shape.STREAM_4, Shape.STREAM_5)
_DECODED_BYTES = 64 << 20  # larger values are not decoded to say how they differ

Rows = NDArray[np.intp]
Mask = NDArray[np.bool_]


class LivePairs:
    """Compares entries of one line, which is at `place` of the tally's lines; one thread at a time."""

    def __init__(self, line: Line, place: int, destination: Destination, *, tolerance_ms: int) -> None:
        self.line = line
        self.place = place
        self.destination = destination
        self.tolerance_ms = tolerance_ms
        self._found = Columns()
        self._ours = Columns()
        self._theirs = Columns()
        self._logical = _logical_table(line.origin.segment.dialect)

    def compare(self, batch: Columns, rows: Rows, dumps: Dumps, tally: LiveTally) -> None:
        """Compare some rows of a batch, which lie in the segment, with what the server gave for their keys in order.

        Keys that were refused are passed over: they are to be asked for again. Raises FormatError for a source's value
        that does not decode.
        """
        if dumps.done_at_ms is None or dumps.asked_at_ms is None:
            raise ValueError("the answers are not all there")
        now_ms = dumps.done_at_ms
        want = shifted_all(batch.expire_at_ms[rows], self.line.origin.times.ttl_offset_ms)
        unequal = np.zeros(len(rows), bool)
        dialect = dumps.dialect() or self.line.origin.segment.dialect  # there is one if there is a batch
        for view, found, asked in dumps.batches(self._found):
            pairs = _Pairs(self, batch, rows[asked], view, found, dialect, now_ms, tally)
            unequal[asked] = pairs.differ(want[asked], 0 if dumps.absolute else now_ms - dumps.asked_at_ms)
        for at in np.flatnonzero(dumps.status == codes.DAMAGED).tolist():
            unequal[at] = True
            words = dumps.errors[at].decode("utf-8", "backslashreplace")
            self.note(tally, "damaged", batch, int(rows[at]), "a value", words)
        gone = dumps.status == codes.GONE
        due = (want != codes.NO_EXPIRY) & (want <= now_ms)
        expired = gone & (want != codes.NO_EXPIRY) & (want <= now_ms + self.tolerance_ms)
        for at in np.flatnonzero(gone & ~expired).tolist():
            expired[at] = self._all_fields_due(batch, int(rows[at]), now_ms)
        missing = gone & ~expired
        for at in np.flatnonzero(missing).tolist():
            self.note(tally, "missing", batch, int(rows[at]), "the entry", "nothing")
        for at in rows[missing | unequal].tolist():
            tally.suspect(Suspect(self.place, int(batch.entry_start[at]), int(batch.end[at])))
        answered = dumps.status != codes.REFUSED
        _book(tally.line(self.place), answered, (due & answered) | expired, expired, missing, unequal)

    def _all_fields_due(self, batch: Columns, row: int, now_ms: int) -> bool:
        """Whether it is a hash of which no field is alive any more."""
        origin = self.line.origin
        value_type = origin.segment.dialect.types[int(batch.type[row])]
        if not value_type.holds_expiry or not self.destination.holds_field_times:
            return False
        start, end = int(batch.value_start[row]), int(batch.end[row])
        times = [field.expire_at_ms for field in read_fields(origin.segment.view, value_type.shape, start, end)]
        latest_ms = now_ms + self.tolerance_ms - origin.times.ttl_offset_ms
        return all(at_ms is not None and at_ms <= latest_ms for at_ms in times)

    def readings(self, found: Dialect, now_ms: int) -> tuple[Reading, Reading]:
        """How both sides count: fields whose time has come do not."""
        origin = self.line.origin
        offset_ms = origin.times.ttl_offset_ms
        dead_before_ms = origin.dead_before_ms
        if self.destination.holds_field_times:  # else they were stripped, and the fields stay
            dead_before_ms = max(now_ms - offset_ms, dead_before_ms or 0)
        ours = self.destination.reading(origin.segment.dialect, ttl_offset_ms=offset_ms, dead_before_ms=dead_before_ms)
        theirs = self.destination.reading(found, dead_before_ms=now_ms, key_prefix=origin.prefix)
        ignored = ours.ignored_flags | _HINTS
        return (
            replace(ours, by_meaning=_BY_MEANING, ignored_flags=ignored),
            replace(theirs, by_meaning=_BY_MEANING, ignored_flags=ignored, latest_field_ms=ours.latest_field_ms),
        )

    def note(self, tally: LiveTally, kind: DifferenceKind, batch: Columns, row: int, expected: str, found: str) -> None:
        """Book a difference of one row of the source."""
        origin = self.line.origin
        key = origin.prefix + batch.key(origin.segment.view, row)
        tally.note(
            Difference(
                kind=kind, db=self.line.target_db, key=escape_key(key), key_base64=key, source=origin.name,
                expected=expected, found=found,
            )
        )  # fmt: skip


class _Pairs:
    """One batch of pairs: rows of a source's batch, and in the same order all of `found`, which lies in `view`."""

    def __init__(
        self,
        side: LivePairs,
        batch: Columns,
        rows: Rows,
        view: memoryview,
        found: Columns,
        dialect: Dialect,
        now_ms: int,
        tally: LiveTally,
    ) -> None:
        self.side = side
        self.segment = side.line.origin.segment
        self.batch = batch
        self.rows = rows
        self.view = view
        self.found = found
        self.now_ms = now_ms
        self.tally = tally
        self.dialect = dialect
        self.types = self.segment.dialect.types
        self.found_types = self.dialect.types

    def differ(self, want_ms: NDArray[np.int64], slack_ms: int) -> Mask:
        """Which pairs differ; every difference is noted. `slack_ms`: how much later expiries may be than they seem."""
        late = self._other_expiry(want_ms, slack_ms)
        logical = self.side._logical[self.batch.type[self.rows]]
        theirs = _logical_table(self.dialect)[self.found.type[: self.found.rows]]
        other_type = logical != theirs
        for row in np.flatnonzero(other_type).tolist():
            words = (Logical(int(number)).name.lower() for number in (logical[row], theirs[row]))
            self._note("type", row, *words)
        other: Mask = late | other_type | self._other_value(~other_type, logical)
        return other

    def _note(self, kind: DifferenceKind, row: int, expected: str, found: str) -> None:
        self.side.note(self.tally, kind, self.batch, int(self.rows[row]), expected, found)

    def _other_expiry(self, want_ms: NDArray[np.int64], slack_ms: int) -> Mask:
        found_ms = self.found.expire_at_ms[: self.found.rows]
        none = codes.NO_EXPIRY
        tolerance_ms = self.side.tolerance_ms
        within = (want_ms >= found_ms - tolerance_ms) & (want_ms <= found_ms + slack_ms + tolerance_ms)
        other: Mask = ((want_ms == none) != (found_ms == none)) | ((want_ms != none) & (found_ms != none) & ~within)
        for row in np.flatnonzero(other).tolist():
            self._note("expiry", row, _instant(int(want_ms[row])), _instant(int(found_ms[row])))
        return other

    def _other_value(self, among: Mask, logical: NDArray[np.int16]) -> Mask:
        batch, rows, found = self.batch, self.rows, self.found
        count = found.rows
        same = spans_equal(
            self.segment.view, batch.value_start[rows], batch.end[rows],
            self.view, found.value_start[:count], found.end[:count],
        )  # fmt: skip
        same &= batch.type[rows] == found.type[:count]
        same &= ~_holding_expiry(self.segment.dialect)[batch.type[rows]]
        other = among & ~same
        opaque = logical > Logical.STREAM
        for row in np.flatnonzero(other & opaque).tolist():
            sizes = (end - start for start, end in self._spans(row))
            self._note("value", row, *(f"{size:,} bytes" for size in sizes))
        unclear = other & ~opaque
        if unclear.any():
            other &= ~unclear | self._other_meaning(unclear, logical)
        return other

    def _other_meaning(self, unclear: Mask, logical: NDArray[np.int16]) -> Mask:
        ours, theirs = self.side.readings(self.dialect, self.now_ms)
        other = np.zeros(len(unclear), bool)
        for level, rows in self._by_stream_level(unclear, logical):
            one, two = (replace(side, stream_level=min(side.stream_level, level)) for side in (ours, theirs))
            mine = _gathered(self.batch, self.rows[rows], self.side._ours)
            there = _gathered(self.found, rows, self.side._theirs)
            digester = Digester(self.segment.view, one, one.meaning_table(), self.segment.templates)
            lanes = digester.lanes(mine, np.zeros(len(rows), np.uint8))
            found = Digester(self.view, two, two.meaning_table())
            try:
                there_lanes = found.lanes(there, np.zeros(len(rows), np.uint8))
            except FormatError:
                unequal = np.ones(len(rows), bool)  # one of them does not decode: each is looked at
            else:
                unequal = (lanes[0] != there_lanes[0]) | (lanes[1] != there_lanes[1])
            for row in rows[unequal].tolist():
                other[row] = self._is_other(row, one, two)
        return other

    def _by_stream_level(self, unclear: Mask, logical: NDArray[np.int16]) -> Iterator[tuple[int, Rows]]:
        """Rows that can be compared together: what only one of two forms of a stream can hold does not count."""
        streams = unclear & (logical == Logical.STREAM)
        rest = np.flatnonzero(unclear & ~streams)
        if len(rest):
            yield len(_STREAM_FORMS), rest
        levels: dict[int, list[int]] = {}
        for row in np.flatnonzero(streams).tolist():
            shapes = self.types[int(self.batch.type[self.rows[row]])], self.found_types[int(self.found.type[row])]
            levels.setdefault(min(_STREAM_FORMS.index(one.shape) + 1 for one in shapes), []).append(row)
        for level, rows in sorted(levels.items()):
            yield level, np.array(rows, np.intp)

    def _spans(self, row: int) -> tuple[tuple[int, int], tuple[int, int]]:
        at = int(self.rows[row])
        return (
            (int(self.batch.value_start[at]), int(self.batch.end[at])),
            (int(self.found.value_start[row]), int(self.found.end[row])),
        )

    def _is_other(self, row: int, ours: Reading, theirs: Reading) -> bool:
        """Say how two values differ whose meanings have other hashes; False if only fields' times do, by too little."""
        mine, there = self._spans(row)
        sizes = mine[1] - mine[0], there[1] - there[0]
        if max(sizes) > _DECODED_BYTES:
            self._note("value", row, f"{sizes[0]:,} bytes", f"{sizes[1]:,} bytes in the server's form, not the same")
            return True
        number, found_number = int(self.batch.type[self.rows[row]]), int(self.found.type[row])
        own = Values(self.segment.view, self.segment.dialect, self.segment.templates, name=self.segment.name)
        wanted = expected_value(own.value(number, *mine), ours, number)
        try:
            value = expected_value(Values(self.view, self.dialect).value(found_number, *there), theirs, found_number)
        except FormatError as error:
            self._note("damaged", row, "a value that decodes", error.finding)
            return True
        if isinstance(wanted, Hash) and isinstance(value, Hash) and self._times_are_near(wanted, value):
            return False
        difference = difference_of(wanted, value)
        if difference is None:
            return False
        self._note(difference.kind, row, difference.expected, difference.found)
        return True

    def _times_are_near(self, wanted: Hash, found: Hash) -> bool:
        times, there = wanted.expire_at_ms, found.expire_at_ms
        return (
            dict(wanted) == dict(found)
            and times.keys() == there.keys()
            and all(abs(at_ms - there[name]) <= self.side.tolerance_ms for name, at_ms in times.items())
        )


def _book(counts: LiveCounts, answered: Mask, due: Mask, expired: Mask, missing: Mask, unequal: Mask) -> None:
    asked, others = (int(np.count_nonzero(rows)) for rows in (answered, expired | missing | unequal))
    counts.asked += asked
    counts.agreed += asked - others
    counts.due += int(np.count_nonzero(due))
    counts.expired_since += int(np.count_nonzero(expired))
    counts.missing += int(np.count_nonzero(missing))
    counts.different += int(np.count_nonzero(unequal))


def _gathered(columns: Columns, rows: Rows, into: Columns) -> Columns:
    """Some rows of a batch, their expiries left away: those were compared."""
    into.rows, into.db = len(rows), columns.db
    for name in ("type", "flags", "hint", "entry_start", "key_start", "key_len", "value_start", "end"):
        getattr(into, name)[: len(rows)] = getattr(columns, name)[rows]
    into.expire_at_ms[: len(rows)] = codes.NO_EXPIRY
    return into


def _logical_table(dialect: Dialect) -> NDArray[np.int16]:
    types = dialect.types
    return np.array([int(types[number].logical) if number in types else -1 for number in range(256)], np.int16)


def _holding_expiry(dialect: Dialect) -> Mask:
    types = dialect.types
    return np.array([number in types and types[number].holds_expiry for number in range(256)])


def _instant(at_ms: int) -> str:
    return "never" if at_ms == codes.NO_EXPIRY else f"{at_ms} ms ({format_instant(at_ms)})"
