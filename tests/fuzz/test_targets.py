"""A short, deterministic part of the fuzzing: every seed, and some thousands of damaged ones, keep the promises.

`scripts/fuzz` goes on for as long as it is told, guided by coverage.
"""

from __future__ import annotations

import random

import pytest
from fuzz.seeds import mutated, seeds
from fuzz.targets import TARGETS

pytestmark = pytest.mark.once  # one run has both cores

COUNTS = {"rdb": 500, "value": 4_000, "whole": 500, "handshake": 3_000, "replies": 2_000, "papers": 300}


@pytest.mark.parametrize("name", TARGETS)
def test_every_seed_keeps_the_promises(name: str) -> None:
    found = seeds(name)
    assert found
    for data in random.Random(1).sample(found, min(len(found), 100)):
        TARGETS[name](data)


@pytest.mark.parametrize("part", range(2))
@pytest.mark.parametrize("name", TARGETS)
def test_damaged_seeds_keep_the_promises(name: str, part: int) -> None:
    generator, found = random.Random(part), seeds(name)
    for _ in range(COUNTS[name] // 2):
        TARGETS[name](mutated(generator.choice(found), generator))
