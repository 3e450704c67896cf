"""The header is the lowest version that holds the content (rdb-format.md 14.1)."""

from __future__ import annotations

import pytest

from rdbmerge.errors import UsageError
from rdbmerge.format import codes
from rdbmerge.format.dialects import Dialect
from rdbmerge.format.values import REDIS_TYPES, VALKEY_TYPES
from rdbmerge.plan.versions import Content

VALKEY = Dialect("valkey", 80)
LOWEST = {
    6: [0, 1, 2, 3, 4, 9, 10, 11, 12, 13], 7: [14], 8: [5, 7], 9: [15], 10: [16, 17, 18, 19], 11: [20, 21],
    12: [22, 23, 24, 25], 13: [26], 14: [27, 28], 15: [30, 32],
}  # fmt: skip


def add(content: Content, source: str, line: str, *numbers: int) -> None:
    content.add_types(source, {(line, number) for number in numbers})


@pytest.mark.parametrize(("version", "number"), [(version, n) for version, numbers in LOWEST.items() for n in numbers])
def test_the_table_of_types(version: int, number: int) -> None:
    content = Content()
    add(content, "a", "redis", number)
    assert content.dialect() == Dialect("redis", version)


def test_every_type_is_in_the_table() -> None:
    assert sorted(number for numbers in LOWEST.values() for number in numbers) == sorted(REDIS_TYPES)


def test_nothing_at_all_fits_the_lowest() -> None:
    assert Content().dialect() == Dialect("redis", 6)


@pytest.mark.parametrize(
    ("flag", "version"),
    [(codes.HAS_IDLE, 9), (codes.HAS_FREQ, 9), (codes.HAS_META, 13), (codes.EXPIRY_SECONDS, 6), (codes.KEY_ENCODED, 6)],
)
def test_the_table_of_attributes(flag: int, version: int) -> None:
    content = Content()
    content.add_flags("a", flag)
    assert content.dialect().version == version


def test_records_and_sizes_count_too() -> None:
    functions, modules, large, small = Content(), Content(), Content(), Content()
    functions.add_functions()
    modules.add_module_data()
    large.add_size(1 << 32)
    small.add_size((1 << 32) - 1)
    assert [one.dialect().version for one in (functions, modules, large, small)] == [10, 9, 8, 6]


def test_the_highest_need_wins_whatever_the_order() -> None:
    for numbers in ([0, 20, 14], [20], [14, 0, 20]):
        content = Content()
        for number in numbers:
            add(content, "a", "redis", number)
        content.add_flags("b", codes.HAS_FREQ)
        assert content.dialect() == Dialect("redis", 11)


def test_a_valkey_file_without_valkeys_own_types_goes_down_to_redis() -> None:
    content = Content()
    add(content, "a", "valkey", 0, 4, 18)
    assert content.dialect() == Dialect("redis", 10)
    add(content, "b", "valkey", 22)
    assert content.dialect() == VALKEY
    assert 22 in VALKEY_TYPES


@pytest.mark.parametrize("redis", [[22], [24, 25], [26]])
def test_types_that_only_one_line_knows_do_not_mix(redis: list[int]) -> None:
    content = Content()
    add(content, "old.rdb", "redis", 0, 21)
    add(content, "r.rdb", "redis", *redis)
    add(content, "v.rdb", "valkey", 22)
    with pytest.raises(UsageError) as refused:
        content.dialect()
    assert str(refused.value).endswith(
        "can hold both: value types of r.rdb, which only Redis 7.4 and later knows,"
        " and of v.rdb, which only Valkey 9 knows"
    )
    assert "old.rdb" not in str(refused.value)
    assert "--target" in refused.value.remedy
    assert "two files" in refused.value.remedy


def test_types_of_one_source_may_be_of_two_lines_once_they_are_re_encoded() -> None:
    """What counts is the line of what is written, not that of the source."""
    content = Content()
    content.add_types("v.rdb", {("valkey", 0), ("redis", 24)})
    add(content, "r.rdb", "redis", 25)
    assert content.dialect() == Dialect("redis", 12)


def test_metadata_of_keys_does_not_mix_with_valkey() -> None:
    content = Content()
    add(content, "v.rdb", "valkey", 22)
    content.add_flags("m.rdb", codes.HAS_META)
    with pytest.raises(UsageError, match=r"m\.rdb"):
        content.dialect()
