"""Single entries, picked out of batches: what is needed to find one again and to compare it. Knows no rules."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rdbmerge.format import codes
from rdbmerge.format.columns import Columns
from rdbmerge.format.core import same_spans
from rdbmerge.format.strings import read_string

ENTRY = np.dtype(
    [
        ("hash", np.uint64),  # of the key without prefix
        ("entry", np.int64),  # offsets in the file
        ("key", np.int64),
        ("value", np.int64),
        ("end", np.int64),
        ("expire", np.int64),  # Unix ms as it stands in the file; codes.NO_EXPIRY
        ("hint", np.int64),
        ("key_len", np.uint32),
        ("db", np.int32),  # in the merged file
        ("origin", np.uint16),  # number of the source; 0 for the merged file
        ("type", np.uint8),
        ("flags", np.uint8),
        ("verdict", np.uint8),  # of `origin`
    ],
    align=True,
)

Entries = NDArray[np.void]

NONE: Entries = np.empty(0, ENTRY)


def pick(columns: Columns, rows: NDArray[np.intp], *, db: int, origin: int = 0) -> Entries:
    """The entries of some rows of a batch whose keys are hashed; verdicts are left 0."""
    out = np.zeros(len(rows), ENTRY)
    for name, column in (
        ("hash", columns.key_hash),
        ("entry", columns.entry_start),
        ("key", columns.key_start),
        ("value", columns.value_start),
        ("end", columns.end),
        ("expire", columns.expire_at_ms),
        ("hint", columns.hint),
        ("key_len", columns.key_len),
        ("type", columns.type),
        ("flags", columns.flags),
    ):
        out[name] = column[rows]
    out["db"] = db
    out["origin"] = origin
    return out


def key_of(view: memoryview, entry: Entries) -> bytes:
    """The decoded key of one entry."""
    if int(entry["flags"]) & codes.KEY_ENCODED:
        return read_string(view, int(entry["key"]))[0]
    end = int(entry["value"])
    return bytes(view[end - int(entry["key_len"]) : end])


def spans_equal(
    view: memoryview, starts: NDArray[np.int64], ends: NDArray[np.int64],
    other: memoryview, other_starts: NDArray[np.int64], other_ends: NDArray[np.int64],
) -> NDArray[np.bool_]:  # fmt: skip
    """Whether spans of one file hold the bytes of spans of another."""
    same = np.zeros(len(starts), np.bool_)
    columns = [np.ascontiguousarray(column, np.int64) for column in (starts, ends, other_starts, other_ends)]
    same_spans(view, columns[0], columns[1], other, columns[2], columns[3], same.view(np.uint8))
    return same


def shifted_all(expire_at_ms: NDArray[np.int64], ttl_offset_ms: int) -> NDArray[np.int64]:
    """Expiries moved by an offset, those that are none left alone."""
    expire_at_ms = np.ascontiguousarray(expire_at_ms)
    moved = np.clip(expire_at_ms, -codes.LATEST_EXPIRY_MS, codes.LATEST_EXPIRY_MS) + ttl_offset_ms
    moved = np.clip(moved, codes.FIRST_EXPIRY_MS, codes.LATEST_EXPIRY_MS)
    return np.where(expire_at_ms == codes.NO_EXPIRY, expire_at_ms, moved)
