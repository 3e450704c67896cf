"""What tests ask of files made by hand: their rows in one batch, and what a file holds, key by key."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rdbmerge.format import codes
from rdbmerge.format.columns import Columns
from rdbmerge.format.dialects import Dialect, read_dialect
from rdbmerge.format.emit import Change, emit
from rdbmerge.format.scan import Walk


@dataclass(frozen=True, slots=True)
class Found:
    """An entry as it stands in a file."""

    type: int
    payload: bytes
    expire_at_ms: int | None = None
    idle_s: int | None = None
    freq: int | None = None


def contents(data: bytes | memoryview) -> dict[tuple[int, bytes], Found]:
    """Every entry of a file by db and decoded key; no key may be there twice."""
    view = memoryview(data)
    held: dict[tuple[int, bytes], Found] = {}
    for item in Walk(view):
        if not isinstance(item, Columns):
            continue
        for row in range(item.rows):
            at_ms, flags, hint = int(item.expire_at_ms[row]), int(item.flags[row]), int(item.hint[row])
            place = (item.db, item.key(view, row))
            assert place not in held
            held[place] = Found(
                int(item.type[row]),
                bytes(view[int(item.value_start[row]) : int(item.end[row])]),
                None if at_ms == codes.NO_EXPIRY else at_ms,
                hint if flags & codes.HAS_IDLE else None,
                hint if flags & codes.HAS_FREQ else None,
            )
    return held


def only_batch(data: bytes) -> tuple[memoryview, Columns, Dialect]:
    """The rows of a file that has one batch of them."""
    view = memoryview(data)
    (batch,) = (item for item in Walk(view) if isinstance(item, Columns))
    return view, batch, read_dialect(data)


def emitted(
    view: memoryview,
    columns: Columns,
    change: Change,
    *,
    left_out: NDArray[np.uint8] | None = None,
    buffer_bytes: int = 4096,
) -> bytes:
    """The bytes that the rows come out as."""
    reasons = np.zeros(columns.rows, np.uint8) if left_out is None else left_out
    return b"".join(bytes(piece) for piece in emit(view, columns, reasons, change, bytearray(buffer_bytes)))
