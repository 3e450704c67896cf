"""Hashes whose fields have expiries of their own: reads them, shifts them, leaves dead ones out (rdb-format.md 6.2).

One form in, the same form out. Knows nothing of keys, dbs or plans.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from rdbmerge.errors import FormatError
from rdbmerge.format import codes, listpack
from rdbmerge.format.columns import Columns
from rdbmerge.format.core import FieldSurvey, judge_rows
from rdbmerge.format.dialects import Dialect
from rdbmerge.format.strings import length_bytes, read_length, read_string, string_bytes
from rdbmerge.format.values import Shape

_DAMAGED = "the file is damaged; pull or copy it again"
_NEVER_VALKEY = -1
_NEVER_DEAD_MS = -(1 << 63)
_NO_SHAPE = 255
_TIME_BYTES = 8


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its expiry (Unix ms; None: never) and the encoded bytes of name and value as they stand."""

    expire_at_ms: int | None
    raw: bytes


class FieldJudge:
    """Tells for every row of a batch what its hash fields' expiries need (`codes.NO_FIELDS` to `ALL_DEAD`).

    Args:
        dead_before_ms: fields that expired before are dead (Unix ms); None: none is.
        ttl_offset_ms: what every expiry is going to be shifted by.
    """

    def __init__(
        self, view: memoryview, dialect: Dialect, *, dead_before_ms: int | None, ttl_offset_ms: int = 0
    ) -> None:
        dead_ms = _NEVER_DEAD_MS if dead_before_ms is None else dead_before_ms
        self.survey = FieldSurvey(view, dead_ms, ttl_offset_ms)
        self.shapes = field_shapes(dialect)
        self._short_times = dialect.line == "redis"
        self._asks = dead_before_ms is not None or ttl_offset_ms != 0
        self._expiring = np.frombuffer(self.shapes, np.uint8) != _NO_SHAPE

    def verdicts(self, columns: Columns) -> NDArray[np.uint8]:
        """One a row; all NO_FIELDS when nothing is asked."""
        verdicts = np.zeros(columns.rows, np.uint8)
        if self._asks and self._expiring[columns.type[: columns.rows]].any():
            judge_rows(
                self.survey,
                columns.type.data,
                columns.value_start.data,
                columns.end.data,
                columns.rows,
                self.shapes,
                self._short_times,
                verdicts.data,
            )
        return verdicts


@cache
def field_shapes(dialect: Dialect) -> bytes:
    """256 cells: the shape of the types whose fields expire, 255 for all others."""
    types = dialect.types
    return bytes(
        int(types[number].shape) if number in types and types[number].holds_expiry else _NO_SHAPE
        for number in range(256)
    )


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A payload written anew; None when no field is left. `dropped` counts the dead fields left out."""

    payload: bytes | None
    dropped: int


def read_fields(view: memoryview, shape: int, start: int, end: int) -> list[Field]:
    """The fields of the payload of `shape` (a hash with field expiries) that lies at `start` to `end`.

    Raises FormatError for damaged bytes, with offsets in the file.
    """
    if shape in (Shape.STRING, Shape.MIN_AND_STRING):
        at = start + (_TIME_BYTES if shape == Shape.MIN_AND_STRING else 0)
        return _from_listpack(read_string(view, at, end)[0], at)
    base_ms = int.from_bytes(view[start : start + _TIME_BYTES], "little", signed=True)
    pos = start + (_TIME_BYTES if shape == Shape.FIELDS_RELATIVE else 0)
    count, pos = read_length(view, pos, end)
    fields = []
    for _ in range(count):
        expire_at_ms: int | None = None
        if shape != Shape.FIELDS_VALKEY:
            ttl, pos = read_length(view, pos, end)
            if ttl:
                expire_at_ms = base_ms + ttl - 1 if shape == Shape.FIELDS_RELATIVE else ttl
        at = pos
        for _ in range(2):
            pos = _after_string(view, pos, end)
        raw = bytes(view[at:pos])
        if shape == Shape.FIELDS_VALKEY:
            stored = int.from_bytes(view[pos : pos + _TIME_BYTES], "little", signed=True)
            expire_at_ms = None if stored == _NEVER_VALKEY else stored
            pos += _TIME_BYTES
        fields.append(Field(expire_at_ms, raw))
    return fields


def _after_string(view: memoryview, pos: int, end: int) -> int:
    return read_string(view, pos, end)[1]


def _from_listpack(packed: bytes, offset: int) -> list[Field]:
    elements = list(listpack.iter_elements(packed, offset=offset))
    if len(elements) % 3:
        raise FormatError("a hash listpack whose elements are not field, value, time", offset=offset, remedy=_DAMAGED)
    fields = []
    for (name, _), (value, _), (_, time) in zip(elements[::3], elements[1::3], elements[2::3], strict=True):
        if not isinstance(time, int):
            raise FormatError("a hash field whose expiry is not a number", offset=offset, remedy=_DAMAGED)
        fields.append(Field(time or None, name + value))
    return fields


def write_fields(shape: int, fields: list[Field]) -> bytes:
    """The payload of `shape` that holds `fields`, in their order."""
    first_ms = min((field.expire_at_ms for field in fields if field.expire_at_ms is not None), default=0)
    if shape in (Shape.STRING, Shape.MIN_AND_STRING):
        head = first_ms.to_bytes(_TIME_BYTES, "little") if shape == Shape.MIN_AND_STRING else b""
        elements = [part for field in fields for part in (field.raw, listpack.integer_element(field.expire_at_ms or 0))]
        return head + string_bytes(_counted(elements, len(fields)))
    out = [first_ms.to_bytes(_TIME_BYTES, "little")] if shape == Shape.FIELDS_RELATIVE else []
    out.append(length_bytes(len(fields)))
    for field in fields:
        if shape == Shape.FIELDS_VALKEY:
            at_ms = _NEVER_VALKEY if field.expire_at_ms is None else field.expire_at_ms
            out += [field.raw, at_ms.to_bytes(_TIME_BYTES, "little", signed=True)]
            continue
        base_ms = first_ms - 1 if shape == Shape.FIELDS_RELATIVE else 0
        out += [length_bytes(0 if field.expire_at_ms is None else field.expire_at_ms - base_ms), field.raw]
    return b"".join(out)


def _counted(elements: list[bytes], fields: int) -> bytes:
    """`raw` holds two elements, so the listpack's own count is three a field."""
    packed = bytearray(listpack.build(elements))
    packed[4:6] = min(3 * fields, 65_535).to_bytes(2, "little")
    return bytes(packed)


def latest_ms(shape: int) -> int:
    """The greatest expiry a field may have when written."""
    return codes.LATEST_EXPIRY_MS if shape == Shape.FIELDS_VALKEY else codes.LATEST_FIELD_EXPIRY_MS


def rewrite(
    view: memoryview, shape: int, start: int, end: int, *, ttl_offset_ms: int, dead_before_ms: int | None
) -> Rewritten:
    """Shift every field's expiry by `ttl_offset_ms`; leave out the fields that expired before `dead_before_ms`.

    A field never becomes permanent, nor is one brought back from the dead: what was dead is judged before the shift.
    The payload is the very bytes of the file when nothing changes.
    """
    fields = read_fields(view, shape, start, end)
    alive = [
        field
        for field in fields
        if dead_before_ms is None or field.expire_at_ms is None or field.expire_at_ms >= dead_before_ms
    ]
    dropped = len(fields) - len(alive)
    if not alive:
        return Rewritten(None, dropped)
    if not dropped and not ttl_offset_ms:
        return Rewritten(bytes(view[start:end]), 0)
    latest = latest_ms(shape)
    shifted = [
        field if field.expire_at_ms is None else Field(_moved(field.expire_at_ms, ttl_offset_ms, latest), field.raw)
        for field in alive
    ]
    return Rewritten(write_fields(shape, shifted), dropped)


def _moved(expire_at_ms: int, ttl_offset_ms: int, latest: int) -> int:
    """As the core has it: what is later than can be told from never counts as the latest that can."""
    return max(codes.FIRST_EXPIRY_MS, min(min(expire_at_ms, codes.LATEST_EXPIRY_MS) + ttl_offset_ms, latest))
