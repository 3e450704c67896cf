"""What of a batch the target cannot hold, or cannot hold whole: one verdict a row, and the reason in words.

Most rows are judged by their type alone; hashes whose fields expire and the newest streams are looked into. Pure: knows
the profile of the target and one batch at a time.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from rdbmerge.format import codes, streams
from rdbmerge.format.columns import Columns
from rdbmerge.format.emit import Change, Loader, survey
from rdbmerge.format.forms import KEEP, NONE
from rdbmerge.format.streams import LEVELS
from rdbmerge.format.values import REDIS_TYPES, Logical
from rdbmerge.plan.profile import TargetProfile

FITS, LOSSY, UNFIT = 0, 1, 2

Verdicts = NDArray[np.uint8]

_TIMED_FORMS = (22, 24)  # hashes that can hold times of fields; see `format.forms`
_LONG_BYTES = 1 << 32


def loader_of(profile: TargetProfile) -> Loader:
    """The profile, as far as the bytes of a file depend on it."""
    return Loader(
        line=profile.line,
        types=profile.types,
        hints=profile.hints,
        key_metadata=profile.key_metadata,
        long_lengths=profile.long_lengths,
    )


class Fitting:
    """Judges the batches of one source. `change` is what happens to its entries on their way to the target."""

    def __init__(self, profile: TargetProfile, change: Change) -> None:
        self.profile = profile
        self.change = change
        types = change.dialect.types
        self._unfit = np.array([change.forms[number] == NONE for number in range(256)])
        self._loses_times = np.array(
            [
                number in types and types[number].holds_expiry and change.forms[number] not in (KEEP, *_TIMED_FORMS)
                for number in range(256)
            ]
        )
        self._stream_levels = {number: self._level_after(number) for number in types if self._may_lose_parts(number)}
        self._loses_parts = np.array([number in self._stream_levels for number in range(256)])

    def _may_lose_parts(self, number: int) -> bool:
        """Whether a stream in its new form may lose more than counters, which servers do without."""
        row, form = self.change.dialect.types[number], self.change.forms[number]
        if row.logical != Logical.STREAM or form in (KEEP, NONE):
            return False
        return LEVELS[row.shape] >= streams.PRODUCERS

    def _level_after(self, number: int) -> int:
        return LEVELS[REDIS_TYPES[self.change.forms[number]].shape]

    def fits_all(self, types: list[int], flags: int, largest_bytes: int) -> bool:
        """Whether nothing of a run of entries with these types, flags and largest entry can be at fault."""
        return not (
            self._looks_at(np.array(types)).any()
            or (flags & codes.HAS_META and not self.profile.key_metadata)
            or (largest_bytes >= _LONG_BYTES and not self.profile.long_lengths)
        )

    def _looks_at(self, types: NDArray[np.integer]) -> NDArray[np.bool_]:
        asked: NDArray[np.bool_] = (self._unfit | self._loses_times | self._loses_parts)[types]
        return asked

    def verdicts(self, view: memoryview, columns: Columns, wanted: NDArray[np.bool_]) -> Verdicts:
        """FITS, LOSSY or UNFIT for each wanted row, FITS for the others. Raises FormatError for damaged values."""
        rows = columns.rows
        types = columns.type[:rows]
        verdicts = np.zeros(rows, np.uint8)
        if not self.profile.key_metadata:
            verdicts[wanted & ((columns.flags[:rows] & codes.HAS_META) != 0)] = LOSSY
        timed = wanted & self._loses_times[types]
        if timed.any():
            verdicts[timed & (self._times(view, columns, timed) > 0)] = LOSSY
        for row in np.flatnonzero(wanted & self._loses_parts[types]).tolist():
            if any(self._lost_parts(view, columns, row)):
                verdicts[row] = LOSSY
        verdicts[wanted & self._unfit[types]] = UNFIT
        if not self.profile.long_lengths:
            sizes = columns.end[:rows] - columns.entry_start[:rows]
            verdicts[wanted & (sizes >= _LONG_BYTES)] = UNFIT
        return verdicts

    def _times(self, view: memoryview, columns: Columns, wanted: NDArray[np.bool_]) -> NDArray[np.int64]:
        sizes, timed = np.zeros(columns.rows, np.int64), np.zeros(columns.rows, np.int64)
        survey(self.change.recoder(view), columns, wanted, sizes, timed)
        return timed

    def _lost_parts(self, view: memoryview, columns: Columns, row: int) -> tuple[int, bool]:
        """Of a stream: how many pending entries would get an owner, and whether its producers would be forgotten."""
        start, end = int(columns.value_start[row]), int(columns.end[row])
        number = int(columns.type[row])
        shape, level = self.change.dialect.types[number].shape, self._stream_levels[number]
        tail = streams.read_tail(view, shape, streams.nodes_end(view, start, end), end)
        return tail.nacked if level < streams.NACKS else 0, tail.remembers_producers and level < streams.PRODUCERS

    def whys(self, view: memoryview, columns: Columns, rows: NDArray[np.intp]) -> Iterator[str]:
        """What the target cannot hold of rows that do not fit, in their order."""
        asked = np.zeros(columns.rows, bool)
        asked[rows] = self._loses_times[columns.type[: columns.rows]][rows]
        timed = self._times(view, columns, asked)
        for row in rows.tolist():
            yield self._why(view, columns, row, int(timed[row]))

    def _why(self, view: memoryview, columns: Columns, row: int, timed: int) -> str:
        number, name = int(columns.type[row]), self.profile.name
        logical = self.change.dialect.types[number].logical
        if self._unfit[number]:
            what = {Logical.STREAM: "streams", Logical.MODULE: "values of modules", Logical.ARRAY: "arrays"}[logical]
            return f"{name} has no {what}"
        if int(columns.end[row] - columns.entry_start[row]) >= _LONG_BYTES and not self.profile.long_lengths:
            return f"{name} reads no lengths of 4 GB and more"
        reasons = []
        if int(columns.flags[row]) & codes.HAS_META and not self.profile.key_metadata:
            reasons.append("metadata of modules at keys")
        if timed:
            reasons.append(f"expiries of hash fields ({timed:,} here)")
        if self._loses_parts[number]:
            nacked, forgets = self._lost_parts(view, columns, row)
            reasons += [f"pending entries without an owner ({nacked:,} here)"] if nacked else []
            reasons += ["memory of a stream's producers"] if forgets else []
        return f"{name} has no {' and no '.join(reasons)}"
