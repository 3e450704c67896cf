"""Each type is written as it stands where it is known, else in the plain form of rdb-format.md 9."""

from __future__ import annotations

import pytest

from rdbmerge.format.dialects import Dialect
from rdbmerge.format.forms import KEEP, NONE, form_table, plain_table, written_row
from rdbmerge.format.values import Logical
from rdbmerge.plan.profile import PROFILES

REDIS, VALKEY = Dialect("redis", 15), Dialect("valkey", 80)
LISTS, SETS, ZSETS, HASHES, STREAMS = (1, 10, 14, 18), (2, 11, 20), (3, 5, 12, 17), (4, 9, 13, 16), (15, 19, 21, 26, 27)
TEMPLATES = (30, 32)


def forms(target: str, source: Dialect = REDIS) -> bytes:
    profile = PROFILES[target]
    return form_table(source, profile.line, profile.types)


@pytest.mark.parametrize(
    ("target", "kept"),
    [
        ("redis-2.6", {1, 10, 2, 11, 3, 12, 4, 9, 13}),
        ("redis-3.2", {1, 10, 14, 2, 11, 3, 12, 4, 9, 13}),
        ("redis-4.0", {1, 10, 14, 2, 11, 3, 5, 12, 4, 9, 13}),
        ("redis-6.2", {1, 10, 14, 2, 11, 3, 5, 12, 4, 9, 13, 15}),
        ("redis-7.0", {*LISTS, 2, 11, *ZSETS, *HASHES, 15, 19}),
        ("valkey-8.1", {*LISTS, *SETS, *ZSETS, *HASHES, 15, 19, 21}),
    ],
)
def test_what_the_target_knows_stays_as_it_is(target: str, kept: set[int]) -> None:
    of_interest = {*LISTS, *SETS, *ZSETS, *HASHES, *STREAMS}
    assert {number for number in of_interest if forms(target)[number] == KEEP} == kept
    assert forms(target)[0] == KEEP


@pytest.mark.parametrize(
    ("number", "target", "form"),
    [
        (14, "redis-3.0", 1),
        (18, "redis-6.2", 1),
        (20, "redis-7.0", 2),
        (17, "redis-6.2", 5),
        (17, "redis-3.2", 3),
        (5, "redis-3.2", 3),
        (16, "redis-6.2", 4),
        (24, "redis-7.2", 4),
        (25, "redis-6.2", 4),
        (22, "valkey-8.1", 4),
    ],
)
def test_what_it_does_not_know_is_written_plainly(number: int, target: str, form: int) -> None:
    assert forms(target)[number] == form


@pytest.mark.parametrize("number", [22, 23, 24, 25])
def test_times_of_fields_are_written_in_the_form_of_the_targets_line(number: int) -> None:
    assert forms("valkey-9.1")[number] == 22
    assert forms("redis-7.4")[number] == KEEP
    assert forms("redis-7.4", VALKEY)[22] == 24
    assert forms("valkey-9.1", VALKEY)[22] == KEEP


@pytest.mark.parametrize(
    ("target", "newest"),
    [
        ("redis-4.0", NONE), ("redis-5.0", 15), ("redis-6.2", 15), ("redis-7.0", 19), ("redis-7.2", 21),
        ("redis-8.2", 21), ("valkey-9.1", 21), ("redis-8.6", 26), ("redis-8.8", KEEP),
    ],
)  # fmt: skip
def test_streams_keep_as_many_parts_as_the_target_knows(target: str, newest: int) -> None:
    assert forms(target)[27] == newest


def test_a_stream_never_gets_parts_that_it_has_not() -> None:
    assert all(forms(target)[15] in (KEEP, NONE) for target in PROFILES)
    assert forms("redis-7.2")[19] == KEEP


def test_arrays_and_values_of_modules_have_no_other_form() -> None:
    assert [forms(target)[28] for target in ("redis-8.6", "redis-8.8", "valkey-9.1")] == [NONE, KEEP, NONE]
    assert [forms(target)[7] for target in ("redis-3.2", "redis-4.0", "memorydb-redis-7.1")] == [NONE, KEEP, NONE]


@pytest.mark.parametrize("number", TEMPLATES)
def test_hashes_with_templates_are_plain_for_whomever(number: int) -> None:
    assert {forms(target)[number] for target in PROFILES} == {4}
    assert form_table(REDIS, "redis", None)[number] == 4


def test_without_a_target_all_else_stays() -> None:
    for source in (REDIS, VALKEY):
        kept = form_table(source, source.line, None)
        assert {number for number in source.types if kept[number] != KEEP} == {*TEMPLATES} & source.types.keys()


@pytest.mark.parametrize("target", PROFILES)
@pytest.mark.parametrize("source", [REDIS, VALKEY], ids=str)
def test_whatever_is_written_the_target_loads_it_as_the_same_type(target: str, source: Dialect) -> None:
    profile = PROFILES[target]
    for number, form in enumerate(forms(target, source)):
        if number in source.types and form != NONE:
            written, row = written_row(number, form, source, profile.line)
            assert written in profile.types
            assert row.logical == source.types[number].logical


def test_the_plain_table_keeps_nothing_that_can_be_plain() -> None:
    plain = plain_table(REDIS, "redis", PROFILES["redis-3.2"].types)
    told = {number: plain[number] for number in REDIS.types}
    by_type = {Logical.STRING: 0, Logical.LIST: 1, Logical.SET: 2, Logical.ZSET: 3, Logical.HASH: 4}
    assert told == {number: by_type.get(row.logical, NONE) for number, row in REDIS.types.items()}
    assert plain[8] == KEEP  # no type at all
