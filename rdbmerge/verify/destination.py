"""The target as verification sees it: what it loads, what of a source must look otherwise for it, and what gets lost.

Reads the profile's facts by itself, and values by decoding them; shares nothing with the planner's judgement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from rdbmerge.format import codes
from rdbmerge.format.columns import Columns
from rdbmerge.format.decode import Values
from rdbmerge.format.dialects import Dialect
from rdbmerge.format.digest import Reading
from rdbmerge.format.logical import Idempotence, Stream
from rdbmerge.format.values import REDIS_TYPES, Logical, Shape
from rdbmerge.plan.model import Rules
from rdbmerge.plan.profile import TargetProfile, find_profile
from rdbmerge.snapshot.index import IndexFacts

Mask = NDArray[np.bool_]

_OWN_NUMBERS = 22  # from here on a number means something else in each line
_TIMED_HASHES = {"redis": 24, "valkey": 22}
_STREAM_FORMS = (Shape.STREAM, Shape.STREAM_2, Shape.STREAM_3, Shape.STREAM_4, Shape.STREAM_5)
_ALL_PARTS = len(_STREAM_FORMS)
_MEMORY_OF_PRODUCERS, _UNOWNED = 4, 5  # the first stream forms that hold these
_FORGETFUL = Idempotence(100, 100, {}, 0, 0)
_LONG_BYTES = 1 << 32


class Destination:
    """What is to load the merged file; `profile` None: whatever loads what the sources' servers wrote."""

    def __init__(self, profile: TargetProfile | None, sources: Iterable[tuple[Dialect, IndexFacts]]) -> None:
        self.profile = profile
        self.by_meaning = frozenset(self._other_forms(sources))

    def _other_forms(self, sources: Iterable[tuple[Dialect, IndexFacts]]) -> Iterable[Logical]:
        """The logical types of which at least one value cannot stay in its form, and has another."""
        for dialect, facts in sources:
            for number in {number for db in facts.dbs for number in db.types}:
                logical = dialect.types[number].logical
                if logical <= Logical.STREAM and not self.loads(dialect, number):
                    yield logical
        if self.profile is not None and not self.profile.long_lengths:
            yield from (Logical.STRING, Logical.LIST, Logical.SET, Logical.ZSET, Logical.HASH)

    def loads(self, dialect: Dialect, number: int) -> bool:
        """Whether a type of a file of `dialect` is loaded as it stands."""
        if dialect.types[number].shape in (Shape.TEMPLATE_PACK, Shape.TEMPLATE_STRINGS):
            return False  # its names would stay behind
        if self.profile is None:
            return True
        return number in self.profile.types and (number < _OWN_NUMBERS or dialect.line == self.profile.line)

    @property
    def holds_field_times(self) -> bool:
        """Whether fields of hashes can expire there."""
        return self.profile is None or _TIMED_HASHES[self.profile.line] in self.profile.types

    @property
    def stream_level(self) -> int:
        """The highest form of streams that it loads, 1 .. 5; 0: none."""
        if self.profile is None:
            return _ALL_PARTS
        loaded = [REDIS_TYPES[number].shape for number in self.profile.types if number in REDIS_TYPES]
        return max((_STREAM_FORMS.index(shape) + 1 for shape in loaded if shape in _STREAM_FORMS), default=0)

    @property
    def ignored_flags(self) -> int:
        """Attributes of keys that it does not know."""
        if self.profile is None:
            return 0
        hints = 0 if self.profile.hints else codes.HAS_IDLE | codes.HAS_FREQ
        return hints | (0 if self.profile.key_metadata else codes.HAS_META)

    def reading(
        self,
        dialect: Dialect,
        *,
        ttl_offset_ms: int = 0,
        dead_before_ms: int | None = None,
        as_it_stands: bool = False,
        key_prefix: bytes = b"",
        added_prefix: bytes = b"",
    ) -> Reading:
        """How the entries of a file count: of a source (shifted, dead fields left out), or of the merged one.

        `key_prefix` does not count though keys have it, `added_prefix` counts though they do not.
        """
        line = dialect.line if self.profile is None else self.profile.line
        return Reading(
            dialect=dialect,
            ttl_offset_ms=ttl_offset_ms,
            fields_dead_before_ms=dead_before_ms,
            key_prefix=key_prefix,
            added_prefix=added_prefix,
            as_it_stands=as_it_stands,
            by_meaning=self.by_meaning,
            latest_field_ms=codes.LATEST_EXPIRY_MS if line == "valkey" else codes.LATEST_FIELD_EXPIRY_MS,
            without_field_times=not self.holds_field_times,
            stream_level=self.stream_level,
            ignored_flags=self.ignored_flags,
        )


class Judge:
    """Tells of the entries of one source which the target cannot hold at all, and which not whole."""

    def __init__(self, destination: Destination, dialect: Dialect, dead_before_ms: int | None) -> None:
        self.destination = destination
        self.dialect = dialect
        self.dead_before_ms = dead_before_ms
        types = dialect.types
        self._unfit = np.array([number in types and self._has_no_form(number) for number in range(256)])
        self._asked = np.array([number in types and self._may_lose(number) for number in range(256)])

    def _level(self, number: int) -> int:
        shape = self.dialect.types[number].shape
        return _STREAM_FORMS.index(shape) + 1 if shape in _STREAM_FORMS else 0

    def _has_no_form(self, number: int) -> bool:
        if self.destination.loads(self.dialect, number):
            return False
        logical, profile = self.dialect.types[number].logical, self.destination.profile
        if logical in (Logical.MODULE, Logical.ARRAY):
            return True
        if logical != Logical.STREAM or profile is None:
            return False
        lower = [REDIS_TYPES[one].shape for one in profile.types if one in REDIS_TYPES]
        return not any(shape in _STREAM_FORMS[: self._level(number)] for shape in lower)

    def _may_lose(self, number: int) -> bool:
        if self.destination.loads(self.dialect, number):
            return False
        row = self.dialect.types[number]
        return (row.holds_expiry and not self.destination.holds_field_times) or (
            self._level(number) >= _MEMORY_OF_PRODUCERS and self._level(number) > self.destination.stream_level
        )

    def judge(self, values: Callable[[], Values], columns: Columns, wanted: Mask) -> tuple[Mask, Mask]:
        """Which of the wanted rows cannot be held, and which of the others not whole; `values` are made at need.

        Raises FormatError for values that do not decode.
        """
        rows, profile = columns.rows, self.destination.profile
        unfit, lossy = np.zeros(rows, bool), np.zeros(rows, bool)
        if profile is None:
            return unfit, lossy
        types = columns.type[:rows]
        unfit |= wanted & self._unfit[types]
        if not profile.long_lengths:
            unfit |= wanted & (columns.end[:rows] - columns.entry_start[:rows] >= _LONG_BYTES)
        if not profile.key_metadata:
            lossy |= wanted & ((columns.flags[:rows] & codes.HAS_META) != 0)
        doubtful = np.flatnonzero(wanted & self._asked[types] & ~unfit).tolist()
        if not doubtful:
            return unfit, lossy & ~unfit
        decoded = values()
        for row in doubtful:
            number, start, end = int(types[row]), int(columns.value_start[row]), int(columns.end[row])
            lossy[row] |= self._loses(decoded, number, start, end)
        return unfit, lossy & ~unfit

    def _loses(self, values: Values, number: int, start: int, end: int) -> bool:
        if self.dialect.types[number].logical == Logical.HASH:
            times = (item[2] for item in values.items(number, start, end) if len(item) == 3)
            return any(
                isinstance(at, int) and (self.dead_before_ms is None or at >= self.dead_before_ms) for at in times
            )
        stream = values.value(number, start, end)
        if not isinstance(stream, Stream):
            return False
        level = self.destination.stream_level
        forgets = level < _MEMORY_OF_PRODUCERS and stream.idempotence not in (None, _FORGETFUL)
        unowned = any(one.consumer is None for group in stream.groups.values() for one in group.pending.values())
        return forgets or (level < _UNOWNED and unowned)


def destination_of(rules: Rules, sources: Iterable[tuple[Dialect, IndexFacts]]) -> Destination:
    """The destination that the rules name. Raises UsageError for a name that is not known."""
    return Destination(None if rules.target is None else find_profile(rules.target), sources)
