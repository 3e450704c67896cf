"""A sample is fair, of bounded size, and knows how wrong it may be."""

from __future__ import annotations

import numpy as np
import pytest

from rdbmerge.format.values import REDIS_TYPES
from rdbmerge.snapshot.sampling import Samples

pytestmark = pytest.mark.once


def drawn(sizes: np.ndarray, number: int = 4, parts: int = 1) -> Samples:
    ends = np.cumsum(sizes)
    all_of_them = Samples()
    for part in range(parts):
        one = Samples(part)
        chosen = slice(part, None, parts)
        one.add(np.full(len(ends[chosen]), number, np.uint8), (ends - sizes)[chosen], ends[chosen])
        all_of_them.join(one)
    return all_of_them


def weigh(_number: int, start: int, end: int) -> dict:
    size = end - start
    return {"redis": 3 * size + start % 40, "valkey": 2 * size}


@pytest.mark.parametrize("parts", [1, 3])
def test_a_few_values_are_all_looked_at_and_the_sum_is_exact(parts: int) -> None:
    sizes = np.array([10, 11, 500, 70_000, 12])
    estimate = drawn(sizes, parts=parts).estimate(weigh)
    assert estimate.total["valkey"] == 2 * sizes.sum()
    assert estimate.error == {"redis": 0, "valkey": 0}
    assert estimate.ratios("valkey", REDIS_TYPES) == {4: 2.0}


@pytest.mark.parametrize("parts", [1, 3])
def test_of_very_many_a_sample_is_near_and_its_error_is_told(parts: int) -> None:
    sizes = np.random.default_rng(1).integers(20, 5_000, 50_000)
    looked: list[int] = []

    def counting(number: int, start: int, end: int) -> dict:
        looked.append(start)
        return weigh(number, start, end)

    samples = drawn(sizes, parts=parts)
    estimate = samples.estimate(counting)
    true = sum(
        weigh(4, end - size, end)["redis"] for size, end in zip(sizes.tolist(), np.cumsum(sizes).tolist(), strict=True)
    )
    assert len(looked) < 3_000
    assert looked == sorted(looked) or len(set(looked)) == len(looked)
    assert 0 < estimate.error["redis"] < 0.01 * true
    assert abs(estimate.total["redis"] - true) < 2 * estimate.error["redis"]


def test_the_same_values_give_the_same_estimate() -> None:
    sizes = np.random.default_rng(2).integers(20, 5_000, 5_000)
    assert drawn(sizes).estimate(weigh) == drawn(sizes).estimate(weigh)
