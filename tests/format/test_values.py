"""The table of value types: each row has a real file or a reason, and the core's tables are made of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from rows import contents
from truth import read_truth, short

from rdbmerge.format.values import (
    COMMON_TYPES,
    REDIS_TYPES,
    REFUSED_TYPES,
    UNKNOWN_SHAPE,
    VALKEY_TYPES,
    Logical,
    Packing,
    empty_table,
    item_tables,
    shape_table,
)

FIXTURES = Path(__file__).parents[2] / "fixtures" / "rdb"
WITHOUT_A_FILE = {
    7: "needs a server with a module; made by hand in the tests of the scanner",
    22: "was written by release candidates of Redis 7.4 only",
    23: "was written by release candidates of Redis 7.4 only",
    30: "needs Redis 8.10; made by hand in the tests of the reader of items",
    32: "needs Redis 8.10; made by hand in the tests of the reader of items",
}
# rdb-format.md 3.1: the header versions of servers, and the types that each loads.
LOADABLE = [
    (1, {0, 1, 2, 3, 4}),
    (2, {9, 10, 11, 12}),
    (4, {13}),
    (7, {14}),
    (8, {5, 7}),
    (9, {15}),
    (10, {16, 17, 18, 19}),
    (11, {20, 21}),
    (12, {22, 23, 24, 25}),
    (13, {26}),
    (14, {27, 28}),
    (15, {30, 32}),
]


@pytest.fixture(scope="module")
def seen() -> dict[str, dict[int, str]]:
    """Line -> type number -> what its server's TYPE says, from every real file."""
    found: dict[str, dict[int, str]] = {"redis": {}, "valkey": {}}
    for path in FIXTURES.glob("*/*.rdb"):
        data = path.read_bytes()
        truth = read_truth(path.with_name(path.name.replace(".rdb", ".truth.jsonl.gz")))
        for (db, key), entry in contents(data).items():
            line = "valkey" if data.startswith(b"VALKEY") else "redis"
            found[line][entry.type] = truth.entries[db, short(key)].type
    return found


@pytest.mark.parametrize("number", REDIS_TYPES)
def test_each_type_has_a_real_file_or_a_reason(number: int, seen: dict[str, dict[int, str]]) -> None:
    assert (number in seen["redis"]) != (number in WITHOUT_A_FILE)
    if number in seen["redis"]:
        assert REDIS_TYPES[number].logical.name.lower() == seen["redis"][number]


def test_valkeys_own_types_have_a_real_file(seen: dict[str, dict[int, str]]) -> None:
    own = VALKEY_TYPES.keys() - COMMON_TYPES.keys()
    assert own == {22} <= seen["valkey"].keys()
    assert VALKEY_TYPES[22] != REDIS_TYPES[22]


def test_a_type_is_loadable_since_the_version_that_the_reference_tells() -> None:
    told = {number: since for since, numbers in LOADABLE for number in numbers}
    assert {number: row.since_rdb for number, row in REDIS_TYPES.items()} == told


def test_names_are_unique_within_a_line_and_every_logical_type_occurs() -> None:
    for types in (REDIS_TYPES, VALKEY_TYPES):
        assert len({row.name for row in types.values()}) == len(types)
    assert {row.logical for row in REDIS_TYPES.values()} == set(Logical)


def test_a_refused_type_is_in_no_table() -> None:
    assert not REFUSED_TYPES.keys() & (REDIS_TYPES.keys() | VALKEY_TYPES.keys())


@pytest.mark.parametrize("types", [REDIS_TYPES, VALKEY_TYPES], ids=["redis", "valkey"])
def test_the_tables_of_the_core_are_the_rows(types: dict) -> None:  # type: ignore[type-arg]
    shapes, empties, items = shape_table(types), empty_table(types), item_tables(types)
    assert (len(shapes), len(empties), len(items)) == (256, 256, 4 * 256)
    for number in range(256):
        row = types.get(number)
        assert shapes[number] == items[number] == (row.shape if row else UNKNOWN_SHAPE)
        assert empties[number] == (row.empty_bytes if row else 0)
        assert items[256 + number] == (row.packing if row else 0)
        assert items[512 + number] == (row.logical if row else UNKNOWN_SHAPE)
        assert items[768 + number] == (row.holds_expiry if row else 0)


def test_the_types_that_lie_in_blobs_are_those_that_the_reference_tells() -> None:
    packed = {kind: {n for n, row in REDIS_TYPES.items() if row.packing == kind} for kind in list(Packing)[1:]}
    assert packed == {
        Packing.ZIPLIST: {10, 12, 13, 14},
        Packing.LISTPACK: {16, 17, 18, 20, 23, 25, 30},
        Packing.INTSET: {11},
        Packing.ZIPMAP: {9},
    }
    assert {n for n, row in REDIS_TYPES.items() if row.empty_bytes} == {9, 10, 11, 12, 13, 16, 17, 20, 23, 25}
