"""Keys that more than one line would put into one db of the merged file, and who should have won.

Finds and groups them by itself: equal hashes are suspects, the decoded keys decide. Memory: the suspects, in slices.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rdbmerge.format import codes
from rdbmerge.plan.model import Policy
from rdbmerge.snapshot.hashes import merge_sorted, repeated
from rdbmerge.snapshot.index import Chunk
from rdbmerge.verify import entries
from rdbmerge.verify.entries import Entries, shifted_all, spans_equal
from rdbmerge.verify.expectation import Line, Offsets, SourceReader, chunks_of
from rdbmerge.verify.origin import EXPECTED

_SLICE_ENTRIES = 300_000
_NEVER = np.iinfo(np.int64).max
_EXAMPLES = 5

Hashes = NDArray[np.uint64]
Places = NDArray[np.intp]


@dataclass(slots=True)
class Rivalry:
    """The conflicts of one db of the merged file."""

    conflicts: int = 0
    losers: dict[tuple[int, int], list[Offsets]] = field(default_factory=dict)  # (source, its db) -> offsets
    examples: list[bytes] = field(default_factory=list)

    def losers_of(self, line: Line) -> Offsets:
        """Offsets of the entries of a line that should not be in the merged file, ascending."""
        parts = self.losers.get((line.origin.number, line.db), [])
        return np.sort(np.concatenate(parts)) if parts else np.empty(0, np.int64)

    def note(self, lines: Sequence[Line], losers: Entries, conflicts: int, example: Entries) -> None:
        """Book some conflicts: who lost, and one of their entries."""
        self.conflicts += conflicts
        if len(self.examples) < _EXAMPLES:
            self.examples.append(_key(lines, example))
        for place in np.unique(losers["origin"]).tolist():
            line = lines[place]
            mine = losers["entry"][losers["origin"] == place].copy()
            self.losers.setdefault((line.origin.number, line.db), []).append(mine)


def settle(lines: Sequence[Line], policy: Policy, reader: SourceReader, jobs: int) -> Rivalry:
    """Settle the conflicts among the lines of one db of the merged file, which come in the order of precedence."""
    rivalry = Rivalry()
    suspects = _suspects(lines)
    step = max(1, _SLICE_ENTRIES // max(1, len(lines)))
    for start in range(0, len(suspects), step):
        found = _collect(lines, suspects[start : start + step], reader, jobs)
        _judge(lines, found, policy, rivalry)
    return rivalry


def _suspects(lines: Sequence[Line]) -> Hashes:
    """Hashes that more than one line holds, ascending."""
    if len(lines) < 2:
        return np.empty(0, np.uint64)
    runs = [line.origin.sorted_hashes(line.db) for line in lines]
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
                hashes = origin.hash_keys(batch)
                rows = np.flatnonzero((hashes >= suspects[0]) & (hashes <= suspects[-1]))
                rows = rows[suspects[np.searchsorted(suspects, hashes[rows])] == hashes[rows]]
                if len(rows):
                    rows = rows[line.verdicts(batch)[rows] == EXPECTED]
                found.append(entries.pick(batch, rows, db=line.target_db, origin=places[id(line)]))
        return np.concatenate(found) if found else entries.NONE

    with ThreadPoolExecutor(jobs) as pool:
        found = list(pool.map(one, chunks_of(lines)))
    joined = np.concatenate(found) if found else entries.NONE
    return joined[np.argsort(joined["hash"], kind="stable")]


def _judge(lines: Sequence[Line], found: Entries, policy: Policy, rivalry: Rivalry) -> None:
    """Find the conflicts among entries that are sorted by hash, and settle them.

    Entries of one hash whose keys are stored in the same bytes are of one key; the few others are decoded.
    """
    found = found[np.repeat(*_runs_of_several(found["hash"]))]
    if not len(found):
        return
    starts, sizes = _runs(found["hash"])
    first = np.repeat(starts, sizes)
    alike = np.logical_and.reduceat(_stored_alike(lines, found, first), starts)
    clean = found[np.repeat(alike, sizes)]
    if len(clean):
        _settle_runs(lines, clean, *_runs(clean["hash"]), policy, rivalry)
    for start, size in zip(starts[~alike].tolist(), sizes[~alike].tolist(), strict=True):
        by_key: dict[bytes, list[int]] = {}
        for row in range(start, start + size):
            by_key.setdefault(_key(lines, found[row]), []).append(row)
        for rows in by_key.values():
            if len(rows) > 1:
                _settle_runs(lines, found[rows], np.zeros(1, np.intp), np.array([len(rows)]), policy, rivalry)


def _runs(hashes: Hashes) -> tuple[Places, Places]:
    """Where runs of equal hashes start, and how long they are."""
    starts = np.flatnonzero(np.concatenate(([True], hashes[1:] != hashes[:-1])))
    return starts, np.diff(starts, append=len(hashes))


def _runs_of_several(hashes: Hashes) -> tuple[NDArray[np.bool_], Places]:
    """For `repeat`: whether each run has more than one member, and its length."""
    if not len(hashes):
        return np.zeros(0, bool), np.zeros(0, np.intp)
    _, sizes = _runs(hashes)
    return sizes > 1, sizes


def _stored_alike(lines: Sequence[Line], found: Entries, first: Places) -> NDArray[np.bool_]:
    """Whether each entry's key is stored in the very bytes of the key of the first of its run, and gets its prefix."""
    same = np.ones(len(found), bool)
    pairs = found["origin"][first].astype(np.int64) * len(lines) + found["origin"]
    for pair in np.unique(pairs).tolist():
        rows = np.flatnonzero(pairs == pair)
        one, other = found[first[rows]], found[rows]
        if lines[int(one["origin"][0])].origin.prefix != lines[int(other["origin"][0])].origin.prefix:
            same[rows] = False
            continue
        same[rows] = spans_equal(
            _view(lines, one[0]), one["key"], one["value"], _view(lines, other[0]), other["key"], other["value"]
        )
    return same


def _settle_runs(
    lines: Sequence[Line], found: Entries, starts: Places, sizes: Places, policy: Policy, rivalry: Rivalry
) -> None:
    """Each run is one key, its entries in the order of precedence: note all but the winner."""
    winners = starts
    if policy is Policy.LAST:
        winners = starts + sizes - 1
    elif policy is Policy.LONGEST_TTL:
        lives = _lives(lines, found)
        longest = lives == np.repeat(np.maximum.reduceat(lives, starts), sizes)
        winners = np.minimum.reduceat(np.where(longest, np.arange(len(found)), len(found)), starts)
    lost = np.ones(len(found), bool)
    lost[winners] = False
    rivalry.note(lines, found[lost], len(starts), found[0])


def _lives(lines: Sequence[Line], found: Entries) -> NDArray[np.int64]:
    """When each entry would die in the merged file."""
    lives = np.empty(len(found), np.int64)
    for place in np.unique(found["origin"]).tolist():
        rows = found["origin"] == place
        lives[rows] = shifted_all(found["expire"][rows], lines[place].origin.times.ttl_offset_ms)
    lives[found["expire"] == codes.NO_EXPIRY] = _NEVER
    return lives


def _key(lines: Sequence[Line], entry: Entries) -> bytes:
    """As it stands in the merged file, but for a prefix that all keys get."""
    return lines[int(entry["origin"])].origin.hashed_prefix + entries.key_of(_view(lines, entry), entry)


def _view(lines: Sequence[Line], entry: Entries) -> memoryview:
    return lines[int(entry["origin"])].origin.segment.view
