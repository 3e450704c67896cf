"""How entries are grouped for asking: by number and by bytes, none left out, a large one alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdbmerge.format.columns import Columns
from rdbmerge.steps.comparing import run as compare_run

pytestmark = pytest.mark.once


def batch(sizes: list[int]) -> Columns:
    columns = Columns(max(1, len(sizes)))
    columns.rows = len(sizes)
    ends = np.cumsum(sizes)
    columns.end[: len(sizes)] = ends
    columns.entry_start[: len(sizes)] = ends - sizes
    return columns


@given(st.lists(st.integers(1, 9 << 20), max_size=60), st.randoms())
def test_groups_hold_every_row_once_and_no_more_bytes_than_they_may(sizes: list[int], random: object) -> None:
    rows = np.flatnonzero([random.random() < 0.8 for _ in sizes])  # type: ignore[attr-defined]
    groups = list(compare_run._groups(batch(sizes), rows))
    assert (np.concatenate(groups) if groups else np.empty(0)).tolist() == list(range(len(rows)))
    for group in groups:
        total = sum(sizes[row] for row in rows[group].tolist())
        assert len(group) == 1 or total <= compare_run._GROUP_BYTES


def test_small_entries_go_a_thousand_at_once() -> None:
    groups = [len(group) for group in compare_run._groups(batch([10] * 2_500), np.arange(2_500))]
    assert groups == [1_000, 1_000, 500]
