"""Finds every key that more than one run of entries would put into one db of the merged file, and settles it.

Exact both ways: equal hashes are only suspects, the keys' own bytes decide. Only entries that the rules would write
take part. Memory: the suspects, never all keys, but for sources whose prefix begins with another source's: of those a
hash a key. Pure apart from reading the segments it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rdbmerge.errors import ConflictError
from rdbmerge.format import codes
from rdbmerge.format.columns import Columns
from rdbmerge.format.emit import Change, shift
from rdbmerge.format.strings import read_string
from rdbmerge.plan.model import Conflict, Policy, Rules
from rdbmerge.plan.selection import KEPT, Selection
from rdbmerge.snapshot.hashes import Hashes, merge_sorted, repeated
from rdbmerge.snapshot.index import Index
from rdbmerge.snapshot.segment import Segment
from rdbmerge.units import escape_key

_SHOWN = 10
_GROUPS_AT_ONCE = 65_536


@dataclass(frozen=True, slots=True)
class Candidate:
    """A source of entries for the planner: one segment with all that was decided about it so far."""

    number: int  # its place in the order of precedence
    segment: Segment
    index: Index
    selection: Selection
    change: Change
    ttl_offset_ms: int
    rules: Rules  # those that hold for it

    def target_of(self, db: int) -> int:
        """The db of the merged file that its `db` goes to."""
        return self.rules.db_map.get(db, db)


@dataclass(frozen=True, slots=True)
class _Run:
    """One db of one source, among runs whose keys may meet."""

    candidate: Candidate
    db: int
    prefix: bytes  # what stands before its keys in the merged file, without what stands before those of all these runs

    def hashes(self) -> Hashes:
        """Of its keys behind what all these runs have in common, ascending."""
        if not self.prefix:
            return self.candidate.index.hashes[self.db]
        found = [batch.hash_keys(self.candidate.segment.view, self.prefix).copy() for batch in self.batches()]
        return np.sort(np.concatenate(found)) if found else np.empty(0, np.uint64)

    def batches(self, columns: Columns | None = None) -> Iterator[Columns]:
        """Its entries."""
        segment = self.candidate.segment
        for chunk in self.candidate.index.facts.chunks:
            if chunk.db == self.db:
                yield from segment.walk_part(chunk.start, chunk.stop, self.db, columns=columns)


@dataclass(frozen=True, slots=True)
class _Suspect:
    """An entry whose key's hash occurs more than once."""

    source: int
    db: int
    type: int
    offset: int
    key_start: int
    value_start: int
    end: int
    expire_at_ms: int


class Settled:
    """What the search found: the losers' offsets by source, and how many keys were in conflict."""

    def __init__(self) -> None:
        self.losers: dict[int, list[int]] = {}
        self.count = 0
        self.shown: list[str] = []


def settle(candidates: Sequence[Candidate], policy: Policy, note: Callable[[Conflict], None] | None = None) -> Settled:
    """Find all conflicts and choose a winner for each; `note` is called with every entry concerned.

    Raises ConflictError, after all were noted, if there are any and the policy is to fail.
    """
    settled = Settled()
    by_target: dict[int, list[tuple[Candidate, int]]] = {}
    for candidate in candidates:
        for db in sorted(candidate.index.hashes):
            if candidate.selection.takes_db(db):
                by_target.setdefault(candidate.target_of(db), []).append((candidate, db))
    for target_db in sorted(by_target):
        for runs in _families(by_target[target_db]):
            suspects = _suspect_hashes(runs)
            if len(suspects):
                for group in _groups(candidates, _collect(runs, suspects)):
                    _settle_one(candidates, target_db, group, policy, settled, note)
    if settled.count and policy is Policy.FAIL:
        raise _failure(settled)
    return settled


def _families(runs: Sequence[tuple[Candidate, int]]) -> Iterator[list[_Run]]:
    """Those whose keys may meet: keys behind two prefixes are equal only if one of these begins with the other."""
    prefixes = sorted({candidate.rules.key_prefix for candidate, _ in runs})
    heads = [
        one for place, one in enumerate(prefixes) if not any(one.startswith(shorter) for shorter in prefixes[:place])
    ]
    for head in heads:
        yield [
            _Run(candidate, db, candidate.rules.key_prefix.removeprefix(head))
            for candidate, db in runs
            if candidate.rules.key_prefix.startswith(head)
        ]


def _suspect_hashes(runs: Sequence[_Run]) -> Hashes:
    if len(runs) < 2:
        return np.empty(0, np.uint64)
    pieces = [repeated(piece) for piece in merge_sorted([run.hashes() for run in runs])]
    return np.concatenate(pieces) if pieces else np.empty(0, np.uint64)


def _collect(runs: Sequence[_Run], suspects: Hashes) -> list[tuple[Hashes, NDArray[np.int64]]]:
    """The hash and the facts (columns in the order of `_Suspect`) of each entry that has a suspect hash and is kept."""
    columns = Columns()
    return [_suspects_of(run, batch, suspects) for run in runs for batch in run.batches(columns)]


def _suspects_of(run: _Run, batch: Columns, suspects: Hashes) -> tuple[Hashes, NDArray[np.int64]]:
    candidate = run.candidate
    view = candidate.segment.view
    hashes = batch.hash_keys(view, run.prefix)
    places = np.searchsorted(suspects, hashes)
    places[places == len(suspects)] = 0
    rows = np.flatnonzero(suspects[places] == hashes)
    if len(rows):
        with candidate.segment.naming_errors():
            rows = rows[candidate.selection.reasons(view, batch)[rows] == KEPT]
    own = np.array([candidate.number, batch.db], np.int64).repeat(len(rows)).reshape(2, -1)
    named = (batch.type, batch.entry_start, batch.key_start, batch.value_start, batch.end, batch.expire_at_ms)
    facts = np.stack([*own, *(column[rows].astype(np.int64) for column in named)], axis=1)
    return hashes[rows].copy(), facts


def _groups(
    candidates: Sequence[Candidate], found: Sequence[tuple[Hashes, NDArray[np.int64]]]
) -> Iterator[list[_Suspect]]:
    """Entries of one key, two or more, in the order of precedence."""
    hashes = np.concatenate([hashes for hashes, _ in found])
    facts = np.concatenate([facts for _, facts in found])
    order = np.argsort(hashes, kind="stable")  # stable: precedence stays
    hashes, facts = hashes[order], facts[order]
    borders = np.concatenate([[0], np.flatnonzero(hashes[1:] != hashes[:-1]) + 1, [len(hashes)]])
    for some in range(0, len(borders) - 1, _GROUPS_AT_ONCE):
        here = borders[some : some + _GROUPS_AT_ONCE + 1]
        lines = facts[here[0] : here[-1]].tolist()
        for start, stop in pairwise((here - here[0]).tolist()):
            if stop - start > 1:
                yield from _same_keys(candidates, [_Suspect(*line) for line in lines[start:stop]])


def _same_keys(candidates: Sequence[Candidate], suspects: list[_Suspect]) -> Iterator[list[_Suspect]]:
    """Equal hashes are only suspects: part them by the keys themselves, as they would stand in the merged file."""
    by_key: dict[bytes, list[_Suspect]] = {}
    for suspect in suspects:
        candidate = candidates[suspect.source]
        by_key.setdefault(candidate.rules.key_prefix + _key(candidate, suspect), []).append(suspect)
    yield from (group for group in by_key.values() if len(group) > 1)


def _key(candidate: Candidate, suspect: _Suspect) -> bytes:
    """In its source, without prefix."""
    return read_string(candidate.segment.view, suspect.key_start, suspect.value_start)[0]


def _settle_one(
    candidates: Sequence[Candidate],
    target_db: int,
    group: list[_Suspect],
    policy: Policy,
    settled: Settled,
    note: Callable[[Conflict], None] | None,
) -> None:
    winner = choose([_life(candidates, suspect) for suspect in group], policy)
    settled.count += 1
    if len(settled.shown) < _SHOWN:
        settled.shown.append(_shown(candidates, target_db, group))
    for place, suspect in enumerate(group):
        if place != winner:
            settled.losers.setdefault(suspect.source, []).append(suspect.offset)
    if note is not None:
        for place, suspect in enumerate(group):
            kept = place == winner and policy != Policy.FAIL
            note(_conflict(candidates, target_db, suspect, group[winner], kept))


def _shown(candidates: Sequence[Candidate], target_db: int, group: Sequence[_Suspect]) -> str:
    """One key in conflict, for people: without prefix where that is one for all."""
    first = candidates[group[0].source]
    same = len({candidates[suspect.source].rules.key_prefix for suspect in group}) == 1
    key = (b"" if same else first.rules.key_prefix) + _key(first, group[0])
    places = " and ".join(f"{candidates[suspect.source].segment.name} (db {suspect.db})" for suspect in group)
    return f"{escape_key(key)} of db {target_db}: in {places}"


def _life(candidates: Sequence[Candidate], suspect: _Suspect) -> int | None:
    if suspect.expire_at_ms == codes.NO_EXPIRY:
        return None
    return shift(suspect.expire_at_ms, candidates[suspect.source].ttl_offset_ms)


def choose(expiries_ms: Sequence[int | None], policy: Policy) -> int:
    """The place of the winner among entries in order of precedence, by their expiries after the shift (None: never).

    `longest-ttl`: never beats any time, the later beats the sooner, the first wins a tie. `fail` names the first.
    """
    if policy is Policy.LAST:
        return len(expiries_ms) - 1
    if policy is Policy.LONGEST_TTL:
        lives = [float("inf") if at_ms is None else at_ms for at_ms in expiries_ms]
        return lives.index(max(lives))
    return 0


def _conflict(
    candidates: Sequence[Candidate], target_db: int, suspect: _Suspect, winner: _Suspect, kept: bool
) -> Conflict:
    mine, theirs = candidates[suspect.source].segment, candidates[winner.source].segment
    key = _key(candidates[suspect.source], suspect)
    return Conflict(
        db=target_db,
        key=escape_key(key, limit=1_000),
        key_base64=key,
        source=mine.name,
        source_db=suspect.db,
        offset=suspect.offset,
        type=mine.dialect.types[suspect.type].name,
        size_bytes=suspect.end - suspect.offset,
        expire_at_ms=None if suspect.expire_at_ms == codes.NO_EXPIRY else suspect.expire_at_ms,
        kept=kept,
        equal_value=suspect.type == winner.type
        and mine.view[suspect.value_start : suspect.end] == theirs.view[winner.value_start : winner.end],
    )


def _failure(settled: Settled) -> ConflictError:
    lines = "\n".join(f"  {line}" for line in settled.shown)
    more = f"\n  ... and {settled.count - len(settled.shown):,} more" if settled.count > len(settled.shown) else ""
    keys = "1 key is" if settled.count == 1 else f"{settled.count:,} keys are"
    return ConflictError(
        f"{keys} in more than one source:\n{lines}{more}",
        remedy="choose with --on-conflict first|last|longest-ttl, or leave them out with --db, --type or --exclude-key",
    )
