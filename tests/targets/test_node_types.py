"""The table of node types: figures of the reference, and the next larger one of a family."""

from __future__ import annotations

import pytest

from rdbmerge.targets.node_types import MAXMEMORY_BYTES, least_node_type, maxmemory_of, usable_of

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("name", "amount"),
    [
        ("cache.t4g.micro", 536_870_912),
        ("cache.m7g.large", 6_854_542_746),
        ("cache.r7g.xlarge", 28_261_849_702),
        ("db.r6g.16xlarge", 450_000_750_456),
        ("cache.m5.24xlarge", 337_500_562_842),
        ("cache.r8g.large", 15_222_495_510),
        ("cache.c7gn.16xlarge", 113_609_865_216),
        ("cache.t2.micro", 581_959_680),
        ("cache.r9z.large", None),
        ("cache.m7g.24xlarge", None),
        ("cache.m5.8xlarge", None),
        ("r7g.large", None),
    ],
)
def test_types_have_the_memory_of_the_reference(name: str, amount: int | None) -> None:
    assert maxmemory_of(name) == amount
    assert usable_of(name) == (None if amount is None else round(amount * 0.75))


def test_sizes_of_a_family_grow() -> None:
    order = (
        "micro",
        "small",
        "medium",
        "large",
        "xlarge",
        "2xlarge",
        "4xlarge",
        "8xlarge",
        "12xlarge",
        "16xlarge",
        "24xlarge",
    )
    for family in {name.partition(".")[0] for name in MAXMEMORY_BYTES}:
        amounts = [MAXMEMORY_BYTES[f"{family}.{size}"] for size in order if f"{family}.{size}" in MAXMEMORY_BYTES]
        assert amounts == sorted(amounts)


def test_the_least_type_that_holds_so_much_is_of_the_same_family() -> None:
    assert least_node_type(9 << 30, "cache.r7g.large") == "cache.r7g.large"
    assert least_node_type(11 << 30, "cache.r7g.large") == "cache.r7g.xlarge"
    assert least_node_type(11 << 30, "db.r6g.large") == "db.r6g.xlarge"
    assert least_node_type(1 << 60, "cache.r7g.large") == ""
