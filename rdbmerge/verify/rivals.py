"""Keys that more than one line would put into one db of the merged file, and who should have won.

Finds and groups them by itself: equal hashes are suspects, the decoded keys decide. Memory: the suspects, in slices.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rdbmerge.format import codes
from rdbmerge.format.core import shifted
from rdbmerge.plan.model import Policy
from rdbmerge.snapshot.hashes import merge_sorted, repeated
from rdbmerge.snapshot.index import Chunk
from rdbmerge.verify import entries
from rdbmerge.verify.entries import Entries
from rdbmerge.verify.expectation import Line, Offsets, SourceReader, chunks_of
from rdbmerge.verify.origin import EXPECTED

_SLICE_ENTRIES = 1_000_000
_NEVER = float("inf")

Hashes = NDArray[np.uint64]


@dataclass(slots=True)
class Rivalry:
    """The conflicts of one db of the merged file."""

    conflicts: int = 0
    losers: dict[tuple[int, int], list[int]] = field(default_factory=dict)  # (source, its db) -> offsets
    examples: list[bytes] = field(default_factory=list)

    def losers_of(self, line: Line) -> Offsets:
        """Offsets of the entries of a line that should not be in the merged file, ascending."""
        return np.array(sorted(self.losers.get((line.origin.number, line.db), ())), np.int64)


def settle(lines: Sequence[Line], policy: Policy, reader: SourceReader, jobs: int) -> Rivalry:
    """Settle the conflicts among the lines of one db of the merged file, which come in the order of precedence."""
    rivalry = Rivalry()
    suspects = _suspects(lines)
    step = max(1, _SLICE_ENTRIES // max(1, len(lines)))
    for start in range(0, len(suspects), step):
        found = _collect(lines, suspects[start : start + step], reader, jobs)
        for group in _groups(lines, found):
            _judge(lines, group, policy, rivalry)
    return rivalry


def _suspects(lines: Sequence[Line]) -> Hashes:
    """Hashes that more than one line holds, ascending."""
    if len(lines) < 2:
        return np.empty(0, np.uint64)
    runs = [line.origin.index.hashes[line.db] for line in lines]
    pieces = [repeated(piece) for piece in merge_sorted(runs)]
    return np.concatenate(pieces) if pieces else np.empty(0, np.uint64)


def _collect(lines: Sequence[Line], suspects: Hashes, reader: SourceReader, jobs: int) -> Entries:
    """The expected entries whose hashes are suspects, by hash, then by precedence (`origin`: place of the line)."""
    places = {id(line): place for place, line in enumerate(lines)}

    def one(task: tuple[Line, Chunk]) -> Entries:
        line, chunk = task
        found = []
        origin = line.origin
        with origin.segment.naming_errors():
            for batch in origin.segment.walk_part(chunk.start, chunk.stop, chunk.db, columns=reader.columns()):
                hashes = batch.hash_keys(origin.segment.view)
                at = np.searchsorted(suspects, hashes)
                at[at == len(suspects)] = 0
                rows = np.flatnonzero(suspects[at] == hashes)
                if len(rows):
                    rows = rows[origin.verdicts(batch)[rows] == EXPECTED]
                found.append(entries.pick(batch, rows, db=line.target_db, origin=places[id(line)]))
        return np.concatenate(found) if found else entries.NONE

    with ThreadPoolExecutor(jobs) as pool:
        found = list(pool.map(one, chunks_of(lines)))
    joined = np.concatenate(found) if found else entries.NONE
    return joined[np.argsort(joined["hash"], kind="stable")]


def _groups(lines: Sequence[Line], found: Entries) -> Iterator[list[tuple[bytes, Entries]]]:
    """Entries of one key, two or more, in the order of precedence."""
    hashes = found["hash"]
    borders = [0, *(np.flatnonzero(hashes[1:] != hashes[:-1]) + 1).tolist(), len(hashes)]
    for start, stop in pairwise(borders):
        if stop - start < 2:
            continue
        by_key: dict[bytes, list[tuple[bytes, Entries]]] = {}
        for entry in found[start:stop]:
            key = entries.key_of(lines[int(entry["origin"])].origin.segment.view, entry)
            by_key.setdefault(key, []).append((key, entry))
        yield from (group for group in by_key.values() if len(group) > 1)


def _judge(lines: Sequence[Line], group: list[tuple[bytes, Entries]], policy: Policy, rivalry: Rivalry) -> None:
    winner = 0
    if policy is Policy.LAST:
        winner = len(group) - 1
    elif policy is Policy.LONGEST_TTL:
        lives = [_life(lines, entry) for _, entry in group]
        winner = lives.index(max(lives))  # the first of the longest
    rivalry.conflicts += 1
    if len(rivalry.examples) < 5:
        rivalry.examples.append(group[0][0])
    for place, (_, entry) in enumerate(group):
        if place != winner:
            line = lines[int(entry["origin"])]
            rivalry.losers.setdefault((line.origin.number, line.db), []).append(int(entry["entry"]))


def _life(lines: Sequence[Line], entry: Entries) -> float:
    """When the entry would die in the merged file."""
    at_ms = int(entry["expire"])
    if at_ms == codes.NO_EXPIRY:
        return _NEVER
    return int(shifted(at_ms, lines[int(entry["origin"])].origin.times.ttl_offset_ms))
