"""The keys that a live server has, against those it should have: which are too many, and why they should not be there.

Keys are told apart by 64-bit hashes; those that are named are compared as such. SCAN may give a key more than once: it
counts once. Knows nothing of how SCAN is asked.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rdbmerge.format.core import xxh64_of
from rdbmerge.format.replies import Keys
from rdbmerge.snapshot.hashes import HashCollector
from rdbmerge.units import escape_key
from rdbmerge.verify.expectation import Line
from rdbmerge.verify.origin import EXPECTED, VERDICT_WORDS
from rdbmerge.verify.report import Difference

MOST_NAMED = 1_000

Hashes = NDArray[np.uint64]


class LiveKeys:
    """What SCAN gave, by db; `expected`: the hashes of the keys that should be there, ascending."""

    def __init__(self, expected: Mapping[int, Hashes], spill_dir: Path) -> None:
        self._expected = expected
        self._seen = {db: np.zeros(len(hashes), bool) for db, hashes in expected.items()}
        self._others = HashCollector(spill_dir)
        self._struck: dict[int, int] = {}
        self._lock = threading.Lock()
        self.named: dict[tuple[int, bytes], None] = {}  # strangers whose keys are known, in the order they came

    def add(self, db: int, keys: Keys) -> None:
        """Take a page; from several threads."""
        hashes = keys.hashes()
        expected = self._expected.get(db, np.empty(0, np.uint64))
        at = np.searchsorted(expected, hashes)
        known = np.zeros(len(hashes), bool)
        inside = at < len(expected)
        known[inside] = expected[at[inside]] == hashes[inside]
        strangers = np.flatnonzero(~known)
        with self._lock:
            if len(expected):
                self._seen[db][at[known]] = True
            if len(strangers):
                self._others.add(db, hashes[strangers])
            for row in strangers.tolist():
                if len(self.named) >= MOST_NAMED:
                    break
                self.named[db, keys.key(row)] = None

    def strike_out(self, db: int, key: bytes) -> None:
        """A stranger that is there no more: it does not count."""
        del self.named[db, key]
        self._struck[db] = self._struck.get(db, 0) + 1

    def all_are_named(self) -> bool:
        """Whether there are no strangers but those that are named."""
        return sum(self.counts(db)[1] for db in self.dbs()) == len(self.named)

    def dbs(self) -> list[int]:
        """The dbs in which keys are expected or were found."""
        return sorted(self._expected.keys() | set(self._others.dbs()))

    def counts(self, db: int) -> tuple[int, int]:
        """Keys that SCAN gave, each once; and how many of them should not be there."""
        seen = int(np.count_nonzero(self._seen[db])) if db in self._seen else 0
        others = sum(1 + int(np.count_nonzero(np.diff(piece))) for piece in self._others.sorted_hashes(db))
        others -= self._struck.get(db, 0)
        return seen + others, others

    def close(self) -> None:
        """Give memory and disk back."""
        self._others.close()


def explained(strangers: Iterable[tuple[int, bytes]], lines: Sequence[Line]) -> list[Difference]:
    """A difference for each key (with its db) that should not be there, with what the sources know of it."""
    wanted = list(strangers)
    known: dict[bytes, list[tuple[Line, int]]] = {}
    for line in lines:
        prefix = line.origin.prefix
        bare = {key: key[len(prefix) :] for _, key in wanted if key.startswith(prefix)}
        for key, verdict in _held(line, bare):
            known.setdefault(key, []).append((line, verdict))
    return [_difference(db, key, known.get(key, [])) for db, key in wanted]


def _held(line: Line, bare: Mapping[bytes, bytes]) -> Iterable[tuple[bytes, int]]:
    """Those of some keys that a line holds, and what is said of them; `bare`: each without its prefix."""
    held = line.origin.index.hashes[line.db]
    by_hash = {xxh64_of(key): whole for whole, key in bare.items()}
    hashes = np.array(sorted(by_hash), np.uint64)
    at = np.searchsorted(held, hashes)
    at[at == len(held)] = 0
    hashes = hashes[held[at] == hashes] if len(held) else hashes[:0]
    if not len(hashes):
        return
    view = line.origin.segment.view
    for chunk in line.origin.index.facts.chunks:
        if chunk.db != line.db:
            continue
        for batch in line.origin.segment.walk_part(chunk.start, chunk.stop, chunk.db):
            rows = np.flatnonzero(np.isin(batch.hash_keys(view), hashes))
            if not len(rows):
                continue
            verdicts = line.verdicts(batch)
            for row in rows.tolist():
                key = batch.key(view, row)
                whole = by_hash[int(batch.key_hash[row])]
                if bare[whole] == key:
                    yield whole, int(verdicts[row])


def _difference(db: int, key: bytes, held: Sequence[tuple[Line, int]]) -> Difference:
    source, expected = None, "nothing: no source has this key"
    for line, verdict in sorted(held, key=lambda one: one[0].target_db != db):
        source = line.origin.name
        if verdict != EXPECTED:
            expected = f"nothing: {VERDICT_WORDS[verdict]}"
        elif line.target_db != db:
            expected = f"nothing here: it belongs in db {line.target_db}"
        else:
            expected = "the entry of another source that wins"
        break
    return Difference(
        kind="unexpected", db=db, key=escape_key(key), key_base64=key, source=source, expected=expected, found="a key"
    )
