"""Single entries, picked out of batches: what is needed to find one again and to compare it. Knows no rules."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rdbmerge.format import codes
from rdbmerge.format.columns import Columns
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
