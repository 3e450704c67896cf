"""Files of several shards: each key is in the one file that its slot says, and all of them balance."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rdbbytes import aux, entry, function, rdb, record, resize, select, string
from rows import only_batch
from verify.rewritten import check_shards
from verify.world import LATE_MS, LIBRARY, failed

from rdbmerge.errors import UsageError
from rdbmerge.format.core import slot_of
from rdbmerge.plan.sharding import even_slots
from rdbmerge.verify.report import ShardsReport
from rdbmerge.verify.shards import Runs, Shards

CTIME = aux(b"ctime", b"1700000000")
THREE: list[Runs] = [[(0, 5460)], [(5461, 10922)], [(10923, 16383)]]
NAMES = ["merged.0-5460.rdb", "merged.5461-10922.rdb", "merged.10923-16383.rdb"]
LEVELS = ["digest", "full"]
# By shard (rdb-format.md 12).
FIRST, SECOND, THIRD = [b"", b"foo}{bar}"], [b"foo{", b"{}foo"], [b"foo", b"{foo}2", b"{a}"]


# --- who owns what ------------------------------------------------------------------------------------------------


def owner_of(key: bytes, runs: Sequence[Runs]) -> int:
    owners = [number for number, some in enumerate(runs) for first, last in some if first <= slot_of(key) <= last]
    return owners[0] if owners else -1


def numbers(keys: list[bytes], runs: Sequence[Runs] | None, prefix: bytes = b"") -> list[int]:
    records = [record(0, b"", string(b"v"), key_bytes=b"\xc0\x05" if key == b"5" else string(key)) for key in keys]
    view, batch, _ = only_batch(rdb(9, select(0), *records))
    return [int(number) for number in Shards(runs).numbers(view, batch, prefix)]


@pytest.mark.parametrize("prefix", [b"", b"p:", b"{tag}", b"{"])
@pytest.mark.parametrize(
    "runs",
    [
        THREE, [*map(list, even_slots(16))], [[(0, 16383)]], [[(5, 9), (0, 3)], [(4, 4), (10, 16383)]],
        [[(100, 200)], [(300, 16383)]], [[(0, 0)], [(1, 16383)]], [[(slot, slot) for slot in range(0, 16384, 2)], []],
    ],
    ids=["three", "sixteen", "one", "mixed", "with gaps", "edge", "every other"],
)  # fmt: skip
def test_each_key_is_of_the_shard_that_has_its_slot(runs: list[Runs], prefix: bytes) -> None:
    generator = random.Random(1)
    keys = list(dict.fromkeys(generator.choice([b"", b"{a}", b"x{"]) + generator.randbytes(3) for _ in range(100)))
    keys.append(b"5")
    assert numbers(keys, runs, prefix) == [owner_of(prefix + key, runs) for key in keys]


def test_one_file_has_all_keys() -> None:
    assert numbers([b"a", b"b", b"5"], None) == [0, 0, 0]
    assert (Shards(None).count, Shards(THREE).count) == (1, 3)


# --- the files ----------------------------------------------------------------------------------------------------


def source(*keys: bytes, db: int = 0, value: bytes = b"v") -> bytes:
    return rdb(10, CTIME, function(LIBRARY), select(db), *(entry(key, value) for key in keys))


SOURCE = source(*FIRST, *SECOND, *THIRD)


def file_of(*keys: bytes, value: bytes = b"v", db: int = 0) -> bytes:
    body = [select(db) + resize(len(keys), 0), *(entry(key, value) for key in keys)] if keys else []
    return rdb(10, CTIME, function(LIBRARY), *body)


def check(folder: Path, *shards: list[bytes], names: Sequence[str] = NAMES, **rules: Any) -> ShardsReport:
    """The three files with these keys, against SOURCE."""
    files = {name: file_of(*keys) for name, keys in zip(names, shards, strict=True)}
    sources = rules.pop("sources", [SOURCE])
    return check_shards(folder, files, sources, THREE, **rules)


def differences(report: ShardsReport) -> list[list[tuple[str, bytes, str]]]:
    return [[(one.kind, one.key_base64, one.expected) for one in shard.differences] for shard in report.shards]


@pytest.mark.parametrize("level", ["counts", *LEVELS])
def test_the_right_files_pass_and_balance(tmp_path: Path, level: str) -> None:
    report = check(tmp_path, FIRST, SECOND, THIRD, level=level)
    assert report.verdict == "passed"
    assert [failed(shard) for shard in report.shards] == [{}, {}, {}]
    assert report.failed_checks == []
    (line,) = report.balance
    assert (line.source, line.db, line.read, line.expected) == ("source0.rdb", 0, 7, 7)
    assert [(shard.ledger[0].expected, shard.ledger[0].elsewhere) for shard in report.shards] == [
        (2, 5),
        (2, 5),
        (3, 4),
    ]
    assert [shard.merged.slots for shard in report.shards] == THREE


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_files_may_come_in_any_order_if_their_names_tell(tmp_path: Path, order: tuple[int, ...]) -> None:
    keys = [FIRST, SECOND, THIRD]
    report = check(tmp_path, *(keys[n] for n in order), names=[NAMES[n] for n in order])
    assert report.verdict == "passed"
    assert [Path(shard.merged.path).name for shard in report.shards] == NAMES


def test_files_whose_names_do_not_tell_come_in_the_order_of_the_shards(tmp_path: Path) -> None:
    names = ["a.rdb", "b.rdb", "c.rdb"]
    assert check(tmp_path, FIRST, SECOND, THIRD, names=names).verdict == "passed"
    assert check(tmp_path, SECOND, FIRST, THIRD, names=names).verdict == "failed"


def test_a_name_that_two_files_share_tells_nothing(tmp_path: Path) -> None:
    names = ["a.0-5460.rdb", "b.0-5460.rdb", "c.10923-16383.rdb"]
    assert check(tmp_path, FIRST, SECOND, THIRD, names=names).verdict == "passed"


@pytest.mark.parametrize("level", LEVELS)
def test_a_key_in_the_wrong_shard_is_named_in_both(tmp_path: Path, level: str) -> None:
    report = check(tmp_path, [*FIRST, b"foo"], SECOND, THIRD[1:], level=level)
    assert report.verdict == "failed"
    assert differences(report) == [
        [("unexpected", b"foo", "nothing: it belongs in another shard")], [], [("missing", b"foo", "the entry")],
    ]  # fmt: skip
    assert [shard.verdict for shard in report.shards] == ["failed", "passed", "failed"]


@pytest.mark.parametrize("level", ["counts", *LEVELS])
def test_a_key_in_no_shard_is_named(tmp_path: Path, level: str) -> None:
    report = check(tmp_path, FIRST, SECOND[1:], THIRD, level=level)
    assert differences(report) == [[], [("missing", b"foo{", "the entry")], []]


@pytest.mark.parametrize("level", ["counts", *LEVELS])
def test_a_key_in_two_shards_is_named(tmp_path: Path, level: str) -> None:
    report = check(tmp_path, FIRST, [*SECOND, b"{a}"], THIRD, level=level)
    assert differences(report) == [[], [("unexpected", b"{a}", "nothing: it belongs in another shard")], []]


@pytest.mark.parametrize("level", LEVELS)
def test_a_value_that_is_another_is_named_in_its_shard(tmp_path: Path, level: str) -> None:
    files = dict(zip(NAMES, (file_of(*keys) for keys in (FIRST, SECOND, THIRD)), strict=True))
    files[NAMES[1]] = file_of(*SECOND, value=b"w")
    report = check_shards(tmp_path, files, [SOURCE], THREE, level=level)
    assert [[kind for kind, *_ in some] for some in differences(report)] == [[], ["value", "value"], []]


def test_two_files_that_changed_places_are_wrong_throughout(tmp_path: Path) -> None:
    report = check(tmp_path, SECOND, FIRST, THIRD)
    assert [len(some) for some in differences(report)] == [4, 4, 0]


def test_a_key_that_no_source_has_is_named(tmp_path: Path) -> None:
    report = check(tmp_path, FIRST, SECOND, [*THIRD, b"stranger"])
    assert differences(report)[2] == [("unexpected", b"stranger", "nothing: no source has this key")]


def test_shards_hold_db_0_only(tmp_path: Path) -> None:
    files = dict(zip(NAMES, (file_of(*FIRST), file_of(*SECOND, db=3), file_of(*THIRD)), strict=True))
    report = check_shards(tmp_path, files, [source(*FIRST, *THIRD), source(*SECOND, db=3)], THREE)
    assert "db 3 holds keys" in failed(report.shards[1])["one db"]
    moved = check(tmp_path / "moved", FIRST, SECOND, THIRD, sources=[source(*FIRST, *THIRD), source(*SECOND, db=3)],
                  db_map={3: 0})  # fmt: skip
    assert moved.verdict == "passed"
    assert [(line.source, line.db, line.expected) for line in moved.balance] == [
        ("source0.rdb", 0, 5), ("source1.rdb", 3, 2),
    ]  # fmt: skip


@pytest.mark.parametrize("policy", ["first", "last"])
@pytest.mark.parametrize("level", LEVELS)
def test_conflicts_are_settled_in_each_shard(tmp_path: Path, policy: str, level: str) -> None:
    sources = [source(*FIRST, *THIRD, value=b"1"), source(*FIRST, *SECOND, value=b"2")]
    values = {"first": b"1", "last": b"2"}
    files = [file_of(*FIRST, value=values[policy]), file_of(*SECOND, value=b"2"), file_of(*THIRD, value=b"1")]
    report = check_shards(tmp_path, dict(zip(NAMES, files, strict=True)), sources, THREE, level=level,
                          on_conflict=policy)  # fmt: skip
    assert report.verdict == "passed"
    dropped = [line.conflict_dropped for line in report.balance]
    assert dropped == ([0, 2] if policy == "first" else [2, 0])
    wrong = check_shards(tmp_path, dict(zip(NAMES, files, strict=True)), sources, THREE, level=level,
                         on_conflict="last" if policy == "first" else "first")  # fmt: skip
    assert [[kind for kind, *_ in some] for some in differences(wrong)] == [["value", "value"], [], []]


def test_a_prefix_decides_with_the_key_where_it_belongs(tmp_path: Path) -> None:
    keys = [*FIRST, *SECOND, *THIRD]
    shards: list[list[bytes]] = [[], [], []]
    for key in keys:
        shards[owner_of(b"{t}" + key, THREE)].append(b"{t}" + key)
    assert sorted(map(len, shards)) == [0, 0, 7]  # one tag, one shard
    assert check(tmp_path, *shards, key_prefix=b"{t}").verdict == "passed"
    assert check(tmp_path, FIRST, SECOND, THIRD, key_prefix=b"{t}").verdict == "failed"


def test_what_expired_or_was_filtered_is_booked_in_its_shard(tmp_path: Path) -> None:
    keys = [*FIRST, *SECOND, *THIRD]
    dead = rdb(10, CTIME, function(LIBRARY), select(0), *(entry(key, expire_at_ms=1) for key in THIRD),
               *(entry(key, expire_at_ms=LATE_MS) for key in SECOND), *(entry(key) for key in FIRST))  # fmt: skip
    alive = rdb(10, CTIME, function(LIBRARY), select(0) + resize(2, 2),
                *(entry(key, expire_at_ms=LATE_MS) for key in SECOND))  # fmt: skip
    files = dict(zip(NAMES, (file_of(*FIRST), alive, file_of()), strict=True))
    report = check_shards(tmp_path, files, [dead], THREE, level="full")
    assert report.verdict == "passed"
    (line,) = report.balance
    assert (line.read, line.expected, line.expired) == (len(keys), 4, 3)
    assert [shard.ledger[0].expired for shard in report.shards] == [0, 0, 3]


def test_a_db_that_is_not_chosen_is_filtered_in_its_shards(tmp_path: Path) -> None:
    sources = [SOURCE, source(*SECOND, *THIRD, db=4)]
    report = check(tmp_path, FIRST, SECOND, THIRD, sources=sources, dbs=[0])
    assert report.verdict == "passed"
    assert [(line.read, line.filtered) for line in report.balance] == [(7, 0), (5, 5)]


def test_a_library_has_to_be_in_every_shard(tmp_path: Path) -> None:
    files = dict(zip(NAMES, (file_of(*FIRST), file_of(*SECOND), rdb(10, CTIME)), strict=True))
    report = check_shards(tmp_path, files, [source(*FIRST, *SECOND)], THREE)
    assert [list(failed(shard)) for shard in report.shards] == [[], [], ["function libraries"]]


@pytest.mark.parametrize("count", [1, 2, 4])
def test_another_number_of_files_is_refused(tmp_path: Path, count: int) -> None:
    files = {f"{number}.rdb": file_of() for number in range(count)}
    with pytest.raises(UsageError, match="3 merged files, one a shard, are expected"):
        check_shards(tmp_path, files, [SOURCE], THREE)


def test_the_balance_says_which_slots_no_file_has(tmp_path: Path) -> None:
    files = dict(zip(NAMES[:2], (file_of(*FIRST), file_of(*SECOND)), strict=True))
    report = check_shards(tmp_path, files, [SOURCE], THREE[:2])
    assert [shard.verdict for shard in report.shards] == ["passed", "passed"]
    assert report.verdict == "failed"
    (check_,) = report.failed_checks
    assert (check_.name, check_.detail) == ("balance of all shards", "source0.rdb db 0: 7 read, 4 booked")
