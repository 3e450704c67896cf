"""Which shard of a cluster each key belongs to: slots as servers compute them, and slots shared out among shards.

rdb-format.md 12. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rdbmerge.errors import UsageError
from rdbmerge.format import codes
from rdbmerge.format.columns import Columns
from rdbmerge.format.core import key_slots, slot_of

SLOTS = 16_384
MOST_SHARDS = 500
_LONGEST_TEXT = 60

ELSEWHERE = 5  # a reason, beside those of `selection`: of another shard

Slots = list[tuple[int, int]]  # runs of slots, first and last of each
Shards = NDArray[np.int16]
Reasons = NDArray[np.uint8]


class Sharding:
    """The slots of every shard; `shards_of` a batch tells which shard each row is of.

    `slots` None: one shard that holds everything.
    """

    def __init__(self, slots: Sequence[Slots] | None) -> None:
        self.slots = None if slots is None else list(slots)
        self.count = 1 if slots is None else len(slots)
        self._owners = np.full(SLOTS, -1, np.int16)
        for shard, runs in enumerate(slots or ()):
            for first, last in runs:
                self._owners[first : last + 1] = shard

    def shards_of(self, view: memoryview, columns: Columns, key_prefix: bytes = b"") -> Shards | None:
        """The number of each row's shard, -1 where none has its slot; None where there is but one.

        `key_prefix` will stand before the keys.
        """
        if self.slots is None:
            return None
        slots = np.empty(columns.rows, np.uint16)
        key_slots(view, columns.flags, columns.key_len, columns.value_start, columns.rows, key_prefix, slots)
        for row in np.flatnonzero(columns.flags[: columns.rows] & codes.KEY_ENCODED).tolist():
            slots[row] = slot_of(key_prefix + columns.key(view, row))
        shards: Shards = self._owners[slots]
        return shards


def in_shard(reasons: Reasons, shards: Shards | None, shard: int) -> Reasons:
    """The reasons as one shard sees them: rows of others are elsewhere."""
    if shards is None:
        return reasons
    mine: Reasons = np.where(shards == shard, reasons, ELSEWHERE).astype(np.uint8)
    return mine


def even_slots(count: int) -> list[Slots]:
    """The slots shared out evenly among `count` shards, as `redis-cli --cluster create` does. Raises UsageError."""
    if not 1 <= count <= MOST_SHARDS:
        raise UsageError(f"{count:,} shards cannot be", remedy=f"a cluster has 1 to {MOST_SHARDS} shards")
    borders = [round(SLOTS * shard / count) for shard in range(count + 1)]
    return [[(first, last - 1)] for first, last in pairwise(borders)]


def parse_slots(text: str) -> list[Slots]:
    """`0-5460,5461-10922,10923-16383`: one shard each; `0-100+200-300` is one shard with two runs.

    Raises UsageError for what is no run of slots, for slots that two shards have, and for slots that none has: their
    keys would be in no file.
    """
    shards = [[_run(part) for part in shard.split("+")] for shard in text.split(",")]
    owners = np.zeros(SLOTS, np.int64)
    for first, last in (run for runs in shards for run in runs):
        owners[first : last + 1] += 1
    if (owners != 1).any():
        slot = int(np.flatnonzero(owners != 1)[0])
        what = "is given twice" if owners[slot] else "is given to no shard"
        raise UsageError(
            f"slot {slot} {what}",
            remedy=f"give every slot from 0 to {SLOTS - 1} to one shard, such as 0-5460,5461-10922,10923-16383",
        )
    if len(shards) > MOST_SHARDS:
        raise UsageError(f"{len(shards):,} shards cannot be", remedy=f"a cluster has 1 to {MOST_SHARDS} shards")
    return shards


def _run(part: str) -> tuple[int, int]:
    first, dash, last = part.strip().partition("-")
    ends = (first, last if dash else first)
    if not all(end.isascii() and end.isdigit() and len(end) <= 5 and int(end) < SLOTS for end in ends):
        raise UsageError(f"{part!r} is no run of slots", remedy=f"write it as 0-5460; slots are 0 to {SLOTS - 1}")
    low, high = (int(end) for end in ends)
    if low > high:
        raise UsageError(f"the run of slots {part!r} ends before it begins", remedy="write the lower slot first")
    return low, high


def slots_text(slots: Slots) -> str:
    """`0-5460`, `0-100+200-300`: a name of a shard that no other one has.

    Of many runs the first and how many more there are: files are named so, and names have an end.
    """
    runs = [f"{first}-{last}" if first != last else str(first) for first, last in slots]
    text = "+".join(runs)
    return text if len(text) <= _LONGEST_TEXT else f"{runs[0]}+{len(runs) - 1}more"
