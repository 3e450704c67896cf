"""Sizes as allocator and headers make them: the vectors agree with the numbers, and known cases are right."""

from __future__ import annotations

import numpy as np
import pytest

from rdbmerge.snapshot import allocation
from rdbmerge.snapshot.allocation import LAYOUTS, Layout, allocated, string_bytes, table_cost

SIZES = [*range(1, 700), *(2**bits + step for bits in range(10, 40) for step in (-1, 0, 1))]


@pytest.mark.parametrize(
    ("size", "taken"),
    [
        (1, 16),
        (16, 16),
        (17, 32),
        (128, 128),
        (129, 160),
        (257, 320),
        (10_251, 12_288),
        (8_192, 8_192),
        (8_199, 10_240),
    ],
)
def test_a_piece_takes_the_class_of_the_allocator_that_it_fits(size: int, taken: int) -> None:
    assert allocated(size, "redis") == taken
    assert allocated(size, "valkey") == max(24, taken)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_many_pieces_take_what_each_takes(layout: Layout) -> None:
    taken = allocation.allocated_all(np.array(SIZES, np.int64), layout)
    assert taken.tolist() == [allocated(size, layout) for size in SIZES]
    assert all(size <= whole <= max(24, 1.25 * size + 16) for size, whole in zip(SIZES, taken.tolist(), strict=True))


def test_strings_have_a_header_that_grows_with_them() -> None:
    assert [string_bytes(n) - n for n in (0, 31, 32, 255, 256, 65_535, 65_536)] == [2, 2, 4, 4, 6, 6, 10]
    lengths = np.array(SIZES, np.int64)
    assert allocation.string_bytes_all(lengths).tolist() == [string_bytes(n) for n in SIZES]


def one(layout: Layout, key: int, value: int, *, expiring: bool = False, number: bool = False) -> int:
    costs = allocation.string_costs(
        layout, np.array([key]), np.array([expiring]), np.array([value]), np.array([number])
    )
    return int(costs[0])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_longer_values_expiries_and_not_whole_numbers_take_more(layout: Layout) -> None:
    costs = [one(layout, 12, value) for value in (1, 44, 45, 300, 10_000, 1 << 20)]
    assert costs == sorted(costs)
    assert one(layout, 26, 1_000, expiring=True) > one(layout, 26, 1_000)
    assert one(layout, 12, 0, number=True) < one(layout, 12, 20)


def test_a_short_string_of_valkey_lies_in_one_piece_with_its_key() -> None:
    assert one("valkey", 8, 10) == 48
    assert one("valkey", 8, 200) == 32 + allocated(204, "valkey")


@pytest.mark.parametrize(("entries", "redis", "valkey"), [(0, 0, 0), (3, 32, 64), (5, 64, 64), (1_000, 8_192, 16_384)])
def test_tables_grow_by_powers_of_two(entries: int, redis: int, valkey: int) -> None:
    assert (table_cost("redis", entries), table_cost("valkey", entries)) == (redis, valkey)
