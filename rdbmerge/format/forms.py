"""In which form each value type is written: as it stands, or in the plain form that the reader knows (rdb-format.md 9).

Pure; knows nothing of why a type cannot stay as it is.
"""

from __future__ import annotations

from collections.abc import Collection

from rdbmerge.format.dialects import Dialect
from rdbmerge.format.streams import LEVELS
from rdbmerge.format.values import REDIS_TYPES, VALKEY_TYPES, Logical, Shape, ValueType

KEEP, NONE = 255, 254  # in a table of forms: copied as it stands; cannot be written at all

_FIRST_FOREIGN = 22  # from here on the lines give numbers different meanings
_FIELDS_WITH_TIMES = {"redis": 24, "valkey": 22}
_PLAIN = {Logical.STRING: 0, Logical.LIST: 1, Logical.SET: 2, Logical.HASH: 4}
_ZSET_BINARY, _ZSET_TEXT = 5, 3


def form_table(source: Dialect, line: str, loads: Collection[int] | None) -> bytes:
    """256 cells: the type that each type of `source` is written as for a reader of `line` that knows the types `loads`.

    KEEP where it stays, NONE where no form of it is known; `loads` None: all types of the source.
    """
    known = source.types if loads is None else loads
    return bytes(
        _form(number, source.types[number], source.line, line, known) if number in source.types else KEEP
        for number in range(256)
    )


def _form(number: int, row: ValueType, source_line: str, line: str, loads: Collection[int]) -> int:
    templated = row.shape in (Shape.TEMPLATE_PACK, Shape.TEMPLATE_STRINGS)
    if number in loads and not templated and (number < _FIRST_FOREIGN or source_line == line):
        return KEEP
    if row.logical == Logical.STREAM:
        return _stream_form(LEVELS[row.shape], loads)
    return plain_form(row, line, loads)


def plain_form(row: ValueType, line: str, loads: Collection[int]) -> int:
    """The type whose elements are strings of the file; NONE for streams, modules and arrays."""
    if row.logical == Logical.ZSET:
        return _ZSET_BINARY if _ZSET_BINARY in loads else _ZSET_TEXT
    if row.holds_expiry and _FIELDS_WITH_TIMES[line] in loads:
        return _FIELDS_WITH_TIMES[line]
    return _PLAIN.get(row.logical, NONE)


def plain_table(source: Dialect, line: str, loads: Collection[int]) -> bytes:
    """256 cells: the plain form of each type of `source`, also of those that could stay."""
    return bytes(
        plain_form(source.types[number], line, loads) if number in source.types else KEEP for number in range(256)
    )


def _stream_form(level: int, loads: Collection[int]) -> int:
    fitting = [
        (LEVELS[row.shape], number)
        for number, row in REDIS_TYPES.items()
        if row.logical == Logical.STREAM and number in loads and LEVELS[row.shape] <= level
    ]
    return max(fitting)[1] if fitting else NONE


def written_row(number: int, form: int, source: Dialect, line: str) -> tuple[int, ValueType]:
    """The type that a type of `source` comes out as, and its row in the table of the file that is written."""
    if form == KEEP:
        return number, source.types[number]
    return form, (VALKEY_TYPES if line == "valkey" else REDIS_TYPES)[form]
