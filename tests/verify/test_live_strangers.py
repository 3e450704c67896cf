"""Keys that should not be on the server: counted once, named while they are few, and explained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rdbbytes import entry, rdb, select
from verify.asked import CTIME, sides

from rdbmerge.format.core import xxh64_of
from rdbmerge.format.replies import join_keys
from rdbmerge.verify.live_strangers import MOST_NAMED, LiveKeys, explained


def hashes(*keys: bytes) -> np.ndarray:
    return np.array(sorted(map(xxh64_of, keys)), np.uint64)


def test_keys_count_once_however_often_scan_gives_them(tmp_path: Path) -> None:
    keys = LiveKeys({0: hashes(b"a", b"b", b"c")}, tmp_path)
    keys.add(0, join_keys([b"a", b"x", b"b"]))
    keys.add(0, join_keys([b"x", b"a", b"y"]))
    keys.add(3, join_keys([b"a"]))
    keys.add(3, join_keys([]))
    assert keys.counts(0) == (4, 2)
    assert keys.counts(3) == (1, 1)
    assert keys.counts(9) == (0, 0)
    assert keys.dbs() == [0, 3]
    assert list(keys.named) == [(0, b"x"), (0, b"y"), (3, b"a")]
    assert keys.all_are_named()
    keys.strike_out(0, b"x")
    assert keys.counts(0) == (3, 1)
    assert keys.all_are_named()
    keys.close()


def test_more_strangers_than_can_be_named_are_counted(tmp_path: Path) -> None:
    keys = LiveKeys({}, tmp_path)
    for start in range(0, 3_000, 500):
        keys.add(0, join_keys([b"k%d" % one for one in range(start, start + 600)]))
    assert keys.counts(0) == (3_100, 3_100)
    assert len(keys.named) == MOST_NAMED
    assert not keys.all_are_named()
    keys.close()


def test_each_stranger_is_told_with_what_the_sources_know_of_it(tmp_path: Path) -> None:
    a = rdb(9, CTIME, select(0), entry(b"k", b"a"), entry(b"dead", expire_at_ms=5), entry(b"not chosen"),
            select(1), entry(b"in 1"))  # fmt: skip
    b = rdb(9, CTIME, select(0), entry(b"k", b"b"))
    rules = {
        "on_conflict": "first",
        "key_prefix": b"p:",
        "exclude_keys": [{"kind": "glob", "text": "bm90IGNob3Nlbg=="}],
    }
    rules["exclude_keys"] = [{"kind": "glob", "text": b"not chosen"}]
    with sides(tmp_path, a, b, **rules) as (expected, _):
        strangers = [(0, b"p:dead"), (0, b"p:not chosen"), (0, b"p:in 1"), (0, b"dead"), (5, b"p:k"), (0, b"\xff")]
        said = [(one.key_base64, one.source, one.expected) for one in explained(strangers, expected.lines)]
    assert said == [
        (b"p:dead", "a.rdb", "nothing: dead when its snapshot was taken"),
        (b"p:not chosen", "a.rdb", "nothing: left out by the filters"),
        (b"p:in 1", "a.rdb", "nothing here: it belongs in db 1"),
        (b"dead", None, "nothing: no source has this key"),
        (b"p:k", "a.rdb", "nothing here: it belongs in db 0"),
        (b"\xff", None, "nothing: no source has this key"),
    ]
