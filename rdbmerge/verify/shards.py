"""Which shard's file each entry belongs in, worked out again from the slots that were declared (rdb-format.md 12)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rdbmerge.format import codes
from rdbmerge.format.columns import Columns
from rdbmerge.format.core import key_slots, slot_of

Runs = Sequence[tuple[int, int]]  # the first and last of each run of slots
Numbers = NDArray[np.int64]


class Shards:
    """The runs of slots of each file; None: one file has them all."""

    def __init__(self, runs: Sequence[Runs] | None) -> None:
        self.runs = runs
        self.count = 1 if runs is None else len(runs)
        owned = sorted((first, last, shard) for shard, some in enumerate(runs or ()) for first, last in some)
        self._firsts = np.array([first for first, _, _ in owned], np.int64)
        self._lasts = np.array([last for _, last, _ in owned], np.int64)
        self._owners = np.array([shard for _, _, shard in owned], np.int64)

    def numbers(self, view: memoryview, columns: Columns, key_prefix: bytes = b"") -> Numbers:
        """The number of each row's file, once `key_prefix` is before its key; -1 where no file has its slot."""
        rows = columns.rows
        if self.runs is None:
            return np.zeros(rows, np.int64)
        slots = np.zeros(rows, np.uint16)
        key_slots(view, columns.flags, columns.key_len, columns.value_start, rows, key_prefix, slots)
        for row in np.flatnonzero(columns.flags[:rows] & codes.KEY_ENCODED).tolist():
            slots[row] = slot_of(key_prefix + columns.key(view, row))
        wide = slots.astype(np.int64)
        place = np.searchsorted(self._firsts, wide, side="right") - 1
        inside = (place >= 0) & (wide <= self._lasts[place])
        numbers: Numbers = np.where(inside, self._owners[place], -1)
        return numbers
