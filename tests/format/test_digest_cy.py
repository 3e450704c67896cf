"""The sums of the core: of any order, sensitive to every fact of an entry, shifted as the emitter shifts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdbmerge.format import codes
from rdbmerge.format.core import digest_one, same_spans, shifted
from rdbmerge.format.emit import shift


@given(st.integers(-(1 << 63), (1 << 63) - 1), st.integers(-(1 << 47), 1 << 47))
def test_an_expiry_is_shifted_as_it_is_when_written(at_ms: int, offset_ms: int) -> None:
    expected = at_ms if at_ms == codes.NO_EXPIRY else shift(at_ms, offset_ms)
    assert shifted(at_ms, offset_ms) == expected


FACTS = (0x1234, 0x5678, 4, codes.HAS_IDLE, 2_000_000_000_000, 7)


@pytest.mark.parametrize(
    "other",
    [
        (0x1235, *FACTS[1:]),
        (FACTS[0], 0x5679, *FACTS[2:]),
        (*FACTS[:2], 16, *FACTS[3:]),
        (*FACTS[:3], codes.HAS_FREQ, *FACTS[4:]),
        (*FACTS[:4], 2_000_000_000_001, 7),
        (*FACTS[:4], codes.NO_EXPIRY, 7),
        (*FACTS[:5], 8),
    ],
)
def test_every_fact_of_an_entry_counts(other: tuple[int, ...]) -> None:
    mine, theirs = digest_one(*FACTS), digest_one(*other)
    assert mine[0] != theirs[0]
    assert mine[1] != theirs[1]


def test_how_an_entry_was_stored_does_not_count() -> None:
    for flag in (codes.KEY_ENCODED, codes.EXPIRY_SECONDS, codes.IRREGULAR, codes.EMPTY, codes.HAS_META):
        assert digest_one(*FACTS) == digest_one(*FACTS[:3], FACTS[3] | flag, *FACTS[4:])


def test_spans_are_the_same_when_their_bytes_are() -> None:
    one, other = memoryview(b"abcabdab"), memoryview(b"xxabcab")
    starts, ends = np.array([0, 3, 6, 0, 0]), np.array([3, 6, 8, 0, 3])
    other_starts, other_ends = np.array([2, 2, 5, 7, 2]), np.array([5, 5, 7, 7, 4])
    same = np.full(5, 9, np.uint8)
    same_spans(one, starts, ends, other, other_starts, other_ends, same)
    assert same.tolist() == [1, 0, 1, 1, 0]
    same_spans(one, starts[:0], ends[:0], other, other_starts[:0], other_ends[:0], same[:0])
