"""The cursor finds where lengths and strings end, and nothing in a file makes it leave its bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdbbytes import length

from rdbmerge.format import codes
from rdbmerge.format.core import Cursor


def ask(what: str, data: bytes, pos: int = 0, end: int | None = None) -> tuple[int, int | None, tuple[int, int, int]]:
    """The position after it, its value (None on error), and the error."""
    cursor = Cursor(memoryview(data), len(data) if end is None else end)
    after = getattr(cursor, what)(pos)
    error = (int(cursor.error_code), int(cursor.error_pos), int(cursor.error_detail))
    return after, int(cursor.value) if after >= 0 else None, error


@pytest.mark.parametrize(
    "number", [0, 1, 63, 64, 16_383, 16_384, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, 1 << 63, (1 << 64) - 1]
)
def test_a_length_of_any_size_is_passed_over(number: int) -> None:
    stored = length(number)
    assert ask("length", b"xx" + stored + b"yy", 2)[:2] == (2 + len(stored), number)
    for cut in range(len(stored)):
        needed = 1 if cut == 0 else len(stored)
        assert ask("length", stored, 0, cut) == (-1, None, (codes.TRUNCATED, 0, needed))


@pytest.mark.parametrize("first", range(0x82, 0x100))
def test_a_byte_that_opens_no_length_is_named(first: int) -> None:
    assert ask("length", bytes([first]) + bytes(20)) == (-1, None, (codes.BAD_LENGTH, 0, first))


@pytest.mark.parametrize("first", [*range(0x82, 0xC0), *range(0xC4, 0x100)])
def test_a_byte_that_opens_no_string_is_named(first: int) -> None:
    assert ask("string", bytes([first]) + bytes(20)) == (-1, None, (codes.BAD_STRING, 0, first))


@pytest.mark.parametrize(
    ("stored", "decoded_bytes"),
    [
        (b"\x00", 0),
        (b"\x02ab", 2),
        (b"\x40\x02ab", 2),
        (b"\xc0\x00", 0),
        (b"\xc1\x00\x00", 0),
        (b"\xc2\x00\x00\x00\x00", 0),
        (bytes.fromhex("C305140061E00A00"), 20),
    ],
)
def test_a_string_is_passed_over_without_decoding_it(stored: bytes, decoded_bytes: int) -> None:
    assert ask("string", b"x" + stored + b"y", 1)[:2] == (1 + len(stored), decoded_bytes)
    for cut in range(len(stored)):
        after, _, (code, pos, _) = ask("string", stored, 0, cut)
        assert (after, code) == (-1, codes.TRUNCATED)
        assert pos <= cut


@pytest.mark.parametrize("claim", [16, 1 << 31, (1 << 32) - 1, 1 << 62, 1 << 63, (1 << 64) - 1])
def test_a_length_that_lies_is_compared_with_what_remains(claim: int) -> None:
    stored = length(claim) + b"fifteen bytes.."
    assert ask("string", stored) == (-1, None, (codes.TRUNCATED, len(length(claim)), claim))
    packed = b"\xc3" + length(claim) + b"\x14" + b"fifteen bytes.."
    assert ask("string", packed)[2] == (codes.TRUNCATED, len(length(claim)) + 2, claim)


@pytest.mark.parametrize(("packed", "most"), [(0, 87), (1, 175), (10, 967)])
def test_a_compressed_string_cannot_claim_more_than_it_can_hold(packed: int, most: int) -> None:
    honest = b"\xc3" + length(packed) + length(most) + bytes(packed)
    assert ask("string", honest)[:2] == (len(honest), most)
    for claim in (most + 1, 1 << 40, (1 << 64) - 1):
        lie = b"\xc3" + length(packed) + length(claim) + bytes(packed)
        assert ask("string", lie) == (-1, None, (codes.BAD_LZF, 0, claim))


@pytest.mark.parametrize("end", [-1, 4])
def test_an_end_outside_of_the_bytes_is_refused(end: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        Cursor(memoryview(b"abc"), end)


def test_no_bytes_at_all_are_truncated() -> None:
    for what in ("length", "string", "module"):
        assert ask(what, b"") == (-1, None, (codes.TRUNCATED, 0, 1))


@given(st.binary(min_size=1, max_size=40), st.integers(0, 40))
def test_it_never_leaves_its_bytes(data: bytes, pos: int) -> None:
    pos = min(pos, len(data))
    for what in ("length", "string", "module"):
        after, _, (code, at, _) = ask(what, data, pos)
        if after < 0:
            assert after == -1
            assert code
            assert pos <= at <= len(data)
        else:
            assert pos < after <= len(data)
            assert not code
