"""Which rows of a batch stay out of the merge, and why: one reason a row, by the rules alone.

The order of the reasons is part of the meaning: of another shard, else not chosen, else dead, else more than the target
can hold, else the loser of a conflict.
Pure: knows the rules and one batch at a time.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from rdbmerge.errors import UsageError
from rdbmerge.format import codes, fields
from rdbmerge.format.columns import Columns
from rdbmerge.format.dialects import Dialect
from rdbmerge.format.values import Logical
from rdbmerge.plan.fitting import LOSSY, UNFIT, Fitting
from rdbmerge.plan.model import KeyPattern, Rules, Unsupported

KEPT, FILTERED, EXPIRED, CONFLICT, REJECTED = 0, 1, 2, 3, 4

Reasons = NDArray[np.uint8]


def glob_to_regex(glob: bytes) -> bytes:
    """A glob of Redis (`*`, `?`, `[a-c]`, `[^x]`, `\\` escapes) as a regular expression for the whole key."""
    out, i = bytearray(), 0
    while i < len(glob):
        char = glob[i : i + 1]
        i += 1
        if char == b"*":
            out += b".*"
        elif char == b"?":
            out += b"."
        elif char == b"\\" and i < len(glob):
            out += re.escape(glob[i : i + 1])
            i += 1
        elif char == b"[":
            piece, i = _char_class(glob, i)
            out += piece
        else:
            out += re.escape(char)
    return bytes(out)


def _char_class(glob: bytes, i: int) -> tuple[bytes, int]:
    negated = glob[i : i + 1] == b"^"
    i += negated
    members = bytearray()
    while i < len(glob) and glob[i : i + 1] != b"]":
        if glob[i : i + 1] == b"\\" and i + 1 < len(glob):
            members += b"\\x%02x" % glob[i + 1]  # never the beginning of a range
            i += 2
        elif glob[i + 1 : i + 2] == b"-" and i + 2 < len(glob):  # even up to `]`, as Redis has it
            low, high = sorted((glob[i], glob[i + 2]))
            members += b"\\x%02x-\\x%02x" % (low, high)
            i += 3
        else:
            members += b"\\x%02x" % glob[i]
            i += 1
    if not members:
        return (b"." if negated else b"(?!)"), i + 1
    return b"[" + (b"^" if negated else b"") + bytes(members) + b"]", i + 1


def parse_pattern(text: str) -> KeyPattern:
    """`glob:user:*`, `re:^user` or, without a kind, a glob. Raises UsageError for what does not compile."""
    kind, colon, body = text.partition(":")
    # A bare pattern is a glob; so is one like user:*, whose first part is no kind.
    known = colon and kind in ("glob", "re")
    pattern = KeyPattern(kind="re" if known and kind == "re" else "glob", text=os.fsencode(body if known else text))
    compile_pattern(pattern)
    return pattern


def compile_pattern(pattern: KeyPattern) -> Callable[[bytes], object]:
    """A test of a decoded key. Raises UsageError for a regular expression that does not compile."""
    try:
        if pattern.kind == "glob":
            return re.compile(glob_to_regex(pattern.text), re.DOTALL).fullmatch
        return re.compile(pattern.text, re.DOTALL).search
    except re.error as error:
        raise UsageError(
            f"{pattern.text.decode('utf-8', 'backslashreplace')!r} is not a regular expression: {error}",
            remedy="see the syntax of Python's `re`; use glob:... for patterns such as user:*",
        ) from None


class Selection:
    """The rules applied to one source: `reasons` gives a reason for every row of a batch.

    `fitting` tells what the target cannot hold; None: it holds everything. Slots are not looked at here (`sharding`).
    """

    def __init__(
        self,
        rules: Rules,
        dialect: Dialect,
        snapshot_at_ms: int,
        losers: Sequence[int] = (),
        fitting: Fitting | None = None,
    ) -> None:
        self.rules = rules
        self.dialect = dialect
        self.fitting = fitting
        self.dead_before_ms = snapshot_at_ms if rules.drop_expired else None
        self.losers = np.asarray(losers, np.int64)
        self.include = [compile_pattern(pattern) for pattern in rules.include_keys]
        self.exclude = [compile_pattern(pattern) for pattern in rules.exclude_keys]
        self.type_out = self._type_table()

    @property
    def filters_keys(self) -> bool:
        """Whether keys have to be looked at."""
        return bool(self.include or self.exclude)

    def takes_db(self, db: int) -> bool:
        """Whether a source db is chosen at all."""
        return self.rules.dbs is None or db in self.rules.dbs

    def _type_table(self) -> NDArray[np.bool_]:
        wanted = None if self.rules.types is None else {Logical[name.upper()] for name in self.rules.types}
        types = self.dialect.types
        return np.array(
            [wanted is not None and number in types and types[number].logical not in wanted for number in range(256)]
        )

    def filters_types(self, numbers: Sequence[int]) -> bool:
        """Whether any of these value types is left out."""
        return bool(self.type_out[list(numbers)].any())

    def reasons(self, view: memoryview, columns: Columns) -> Reasons:
        """The reason of each row, KEPT or another. Raises FormatError if a key or hash field is damaged."""
        rows = columns.rows
        reasons = np.zeros(rows, np.uint8)
        if not self.takes_db(columns.db):
            reasons[:] = FILTERED
            return reasons
        if len(self.losers):
            first, last = np.searchsorted(self.losers, (columns.start, columns.stop))
            reasons[np.searchsorted(columns.entry_start[:rows], self.losers[first:last])] = CONFLICT
        if self.dead_before_ms is not None:
            self._book_dead(view, columns, reasons, self.dead_before_ms)
        reasons[self.type_out[columns.type[:rows]] | ((columns.flags[:rows] & codes.EMPTY) != 0)] = FILTERED
        if self.filters_keys:
            for row in np.flatnonzero(reasons != FILTERED):
                if not self._chosen(columns.key(view, int(row))):
                    reasons[row] = FILTERED
        if self.fitting is not None:
            wanted = (reasons != FILTERED) & (reasons != EXPIRED)
            reasons[self.fitting.verdicts(view, columns, wanted) >= self._worst_kept] = REJECTED
        return reasons

    @property
    def _worst_kept(self) -> int:
        """The verdict from which on rows are left out."""
        return UNFIT if self.rules.on_unsupported is Unsupported.STRIP else LOSSY

    def stripped(self, view: memoryview, columns: Columns, reasons: Reasons) -> NDArray[np.bool_]:
        """The rows that are kept without a part that the target cannot hold."""
        if self.fitting is None or self.rules.on_unsupported is not Unsupported.STRIP:
            return np.zeros(columns.rows, bool)
        lossy: NDArray[np.bool_] = self.fitting.verdicts(view, columns, reasons == KEPT) == LOSSY
        return lossy

    def _book_dead(self, view: memoryview, columns: Columns, reasons: Reasons, dead_before_ms: int) -> None:
        rows = columns.rows
        expire_at_ms = columns.expire_at_ms[:rows]
        reasons[(expire_at_ms != codes.NO_EXPIRY) & (expire_at_ms < dead_before_ms)] = EXPIRED
        verdicts = fields.FieldJudge(view, self.dialect, dead_before_ms=dead_before_ms).verdicts(columns)
        reasons[verdicts == codes.ALL_DEAD] = EXPIRED
        for row in np.flatnonzero((verdicts == codes.ANEW) & (reasons != EXPIRED)):
            shape = self.dialect.types[int(columns.type[row])].shape
            held = fields.read_fields(view, shape, int(columns.value_start[row]), int(columns.end[row]))
            if all(item.expire_at_ms is not None and item.expire_at_ms < dead_before_ms for item in held):
                reasons[row] = EXPIRED

    def _chosen(self, key: bytes) -> bool:
        if self.include and not any(test(key) for test in self.include):
            return False
        return not any(test(key) for test in self.exclude)
