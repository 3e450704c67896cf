from __future__ import annotations

import contextlib
import itertools
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rdbbytes import aux, entry, function, rdb, select

from rdbmerge.errors import ChecksumError, FormatError
from rdbmerge.format.columns import Columns
from rdbmerge.snapshot import following
from rdbmerge.snapshot.following import Follower
from rdbmerge.snapshot.index import IndexFacts, cached_index
from rdbmerge.snapshot.indexer import read_index
from rdbmerge.snapshot.segment import Segment

BATCH = 65_536  # entries


class FewRows(Columns):
    def __init__(self) -> None:
        super().__init__(3)


def many(keys: int, *, dbs: int = 1, value: bytes = b"v") -> bytes:
    """A file of small entries, some of which expire, in several dbs."""
    parts = [aux(b"redis-ver", b"7.0.0"), function(b"#!lua name=lib\nreturn 1")]
    for db in range(dbs):
        parts.append(select(db))
        parts += [
            entry(b"%d:%d" % (db, number), value, **({"expire_at_ms": number} if number % 7 == 0 else {}))
            for number in range(keys)
        ]
    return rdb(10, *parts)


def write(path: Path, body: bytes, cuts: list[int], seen: Callable[[int], None] = lambda _: None) -> None:
    """Write `body` in pieces, looking away between them for as long as a follower needs to look."""
    with path.open("wb") as file:
        for first, last in itertools.pairwise([0, *cuts, len(body)]):
            file.write(body[first:last])
            file.flush()
            seen(last)


def look(_size: int) -> None:
    """Long enough for a follower to look at what is there."""
    time.sleep(0.25)


def described(facts: IndexFacts) -> dict[str, object]:
    """All but how the file was cut into chunks, and where that puts the hashes behind them."""
    sums = {db: (count, total) for db, (_, count, total) in facts.hashes_at.items()}
    return facts.model_dump(exclude={"chunks", "hashes_at"}) | {"sums": sums}


@pytest.mark.parametrize("dbs", [1, 3])
def test_a_file_that_was_followed_has_the_index_of_one_that_was_scanned(tmp_path: Path, dbs: int) -> None:
    body = many(3 * BATCH // dbs + 1000, dbs=dbs)
    path, whole = tmp_path / "a.rdb", tmp_path / "whole.rdb"
    random.seed(dbs)
    cuts = sorted(random.sample(range(len(body)), 6))
    path.touch()
    with Follower(path, step_bytes=200_000) as follower:
        write(path, body, cuts, look)
        with Segment(path) as segment:
            index = follower.finish(segment)
            assert index is not None
            assert cached_index(segment) is not None
    whole.write_bytes(body)
    os.utime(whole, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    with Segment(whole) as segment:
        expected = read_index(segment)
        assert index.facts == expected.facts
        assert index.hashes.keys() == expected.hashes.keys()
        assert all(np.array_equal(index.hashes[db], expected.hashes[db]) for db in expected.hashes)
    assert len(index.facts.chunks) > 3


def test_every_golden_file_is_followed_right_or_not_at_all(
    golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "Columns", FewRows)  # they are too small for whole batches
    files = sorted(golden.glob("*/*.rdb"))
    paths = [tmp_path / f"{number}.rdb" for number in range(len(files))]
    followed = 0
    with contextlib.ExitStack() as stack:
        followers = []
        for file, path in zip(files, paths, strict=True):
            body = file.read_bytes()
            path.write_bytes(body[: len(body) * 9 // 10])
            followers.append(stack.enter_context(Follower(path, step_bytes=64)))
        look(0)
        for file, path, follower in zip(files, paths, followers, strict=True):
            with path.open("ab") as rest:
                rest.write(file.read_bytes()[path.stat().st_size :])
            assert path.read_bytes() == file.read_bytes()
            with Segment(path) as segment:
                index = follower.finish(segment)
                if index is not None:
                    followed += 1
                    path.with_name(path.name + ".index").unlink()
                    expected = read_index(segment).facts
                    assert described(index.facts) == described(expected)
                    assert sum(chunk.rows for chunk in index.facts.chunks) == expected.keys
    assert followed > len(files) // 2


def test_an_entry_larger_than_what_is_looked_at_is_waited_for(tmp_path: Path) -> None:
    body = rdb(10, select(0), *(entry(b"big:%d" % n, b"x" * 300_000) for n in range(5)), select(1), entry(b"a", b"b"))
    path = tmp_path / "a.rdb"
    path.touch()
    with Follower(path, step_bytes=1000) as follower:
        write(path, body, list(range(100_000, len(body), 250_000)), look)
        with Segment(path) as segment:
            index = follower.finish(segment)
            assert index is not None
            assert index.facts.keys == 6


def test_a_small_file_is_left_to_a_scan_of_the_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.rdb"
    path.write_bytes(rdb(10, select(0), entry(b"a", b"b")))
    with Follower(path) as follower, Segment(path) as segment:
        assert follower.finish(segment) is None


@pytest.mark.parametrize("damage", ["cut", "nonsense", "checksum", "twice"])
def test_what_is_wrong_is_said_by_the_same_words(tmp_path: Path, damage: str) -> None:
    body = many(2 * BATCH + 10)
    match damage:
        case "cut":
            body = body[:-20]
        case "nonsense":
            body = body[: len(body) // 2] + b"\xf0" * 30 + body[len(body) // 2 :]
        case "checksum":
            body = body[:-1] + bytes([body[-1] ^ 1])
        case "twice":
            entries = [entry(b"%d" % (number % (BATCH + 7)), b"v") for number in range(BATCH + 8)]
            body = rdb(10, select(0), *entries)
    path = tmp_path / "a.rdb"
    path.touch()
    said = []
    with Follower(path, step_bytes=100_000) as follower:
        write(path, body, [len(body) * 2 // 3], lambda _: time.sleep(0.3))
        with Segment(path) as segment:
            try:
                assert follower.finish(segment) is None
                said.append("nothing")
            except FormatError as error:
                said.append(str(error))
    with Segment(path) as segment, pytest.raises(FormatError) as failure:
        read_index(segment)
    assert said[0] in ("nothing", str(failure.value))
    assert (damage in ("checksum", "twice")) == (said[0] != "nothing")
    assert (damage == "checksum") == isinstance(failure.value, ChecksumError)


def test_a_pull_that_fails_ends_the_following(tmp_path: Path) -> None:
    path = tmp_path / "a.rdb"
    path.write_bytes(many(BATCH)[:5000])
    with pytest.raises(KeyError), Follower(path, step_bytes=1000) as follower:
        raise KeyError("the transfer was cut")
    assert not follower._thread.is_alive()
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.rdb"]
