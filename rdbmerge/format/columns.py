"""A batch of entries as columns: what the scanner fills and everything above computes with.

One row an entry, all of one db. Offsets count bytes from the start of the file. The arrays are reused by the next
batch: who wants to keep something copies it. Knows nothing of where the bytes lie.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rdbmerge.format import codes
from rdbmerge.format.core import hash_keys, xxh64_of
from rdbmerge.format.strings import read_string

BATCH_ROWS = 65_536
BATCH_BYTES = 32 << 20  # a batch ends early when its entries span more than this


class Columns:
    """Up to `capacity` entries of one db; `rows` of them are filled.

    type u8; flags u8 (`codes`); expire_at_ms i64 (Unix ms, NO_EXPIRY: none); hint i64 (idle seconds or LFU counter, by
    flags); entry_start, key_start, value_start, end i64; key_len u32 (decoded; 0 for a key stored as an integer);
    key_hash u64 (XXH64 of the decoded key, after `hash_keys`).
    """

    def __init__(self, capacity: int = BATCH_ROWS) -> None:
        self.capacity = capacity
        self.rows = 0
        self.db = 0
        self.type = np.empty(capacity, np.uint8)
        self.flags = np.empty(capacity, np.uint8)
        self.expire_at_ms = np.empty(capacity, np.int64)
        self.hint = np.empty(capacity, np.int64)
        self.entry_start = np.empty(capacity, np.int64)
        self.key_start = np.empty(capacity, np.int64)
        self.key_len = np.empty(capacity, np.uint32)
        self.value_start = np.empty(capacity, np.int64)
        self.end = np.empty(capacity, np.int64)
        self.key_hash = np.empty(capacity, np.uint64)
        # The interpreter stores into memoryviews twice as fast as into arrays; the compiled core takes either.
        self.for_core = tuple(
            column.data
            for column in (
                self.type,
                self.flags,
                self.expire_at_ms,
                self.hint,
                self.entry_start,
                self.key_start,
                self.key_len,
                self.value_start,
                self.end,
            )
        )

    @property
    def start(self) -> int:
        """Where the first entry starts."""
        return int(self.entry_start[0])

    @property
    def stop(self) -> int:
        """Where the last entry ends."""
        return int(self.end[self.rows - 1])

    def hash_keys(self, view: memoryview, key_prefix: bytes = b"") -> NDArray[np.uint64]:
        """XXH64 of every decoded key with `key_prefix` before it; a view of the column's filled part.

        With a prefix it costs a call a key.
        """
        if key_prefix:
            ends, sizes = self.value_start[: self.rows].tolist(), self.key_len[: self.rows].tolist()
            self.key_hash[: self.rows] = [
                xxh64_of(key_prefix + view[end - size : end]) for end, size in zip(ends, sizes, strict=True)
            ]
            for row in np.flatnonzero(self.flags[: self.rows] & codes.KEY_ENCODED):
                self.key_hash[row] = xxh64_of(key_prefix + self.key(view, int(row)))
            return self.key_hash[: self.rows]
        left_over = hash_keys(
            view, self.flags, self.key_start, self.key_len, self.value_start, self.key_hash, self.rows
        )
        if left_over:
            for row in np.flatnonzero(self.flags[: self.rows] & codes.KEY_ENCODED):
                self.key_hash[row] = xxh64_of(self.key(view, int(row)))
        return self.key_hash[: self.rows]

    def key(self, view: memoryview, row: int) -> bytes:
        """The decoded key of one row. Raises FormatError if it is LZF that does not unpack."""
        if self.flags[row] & codes.KEY_ENCODED:
            return read_string(view, int(self.key_start[row]))[0]
        end = int(self.value_start[row])
        return bytes(view[end - int(self.key_len[row]) : end])
