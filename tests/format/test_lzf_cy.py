"""LZF: what servers write unpacks; damaged bytes are refused and nothing is written beside the output."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdbmerge.format.core import unpack_lzf


def unpacked(packed: bytes, size: int) -> bytes | None:
    """None when refused. The output lies inside a larger buffer whose borders must stay as they were."""
    arena = bytearray(b"\xaa" * (size + 32))
    done = unpack_lzf(packed, memoryview(arena)[16 : 16 + size])
    assert arena[:16] == b"\xaa" * 16
    assert arena[16 + size :] == b"\xaa" * 16
    return bytes(arena[16 : 16 + size]) if done else None


@pytest.mark.parametrize(
    ("packed", "text"),
    [
        ("", b""),
        ("0061E00A00", b"a" * 20),
        ("016161e01100016161", b"a" * 30),
        ("0461626364652004", b"abcdeabc"),
        ("1f" + "78" * 32, b"x" * 32),
    ],
)
def test_examples_unpack(packed: str, text: bytes) -> None:
    assert unpacked(bytes.fromhex(packed), len(text)) == text


def test_a_copy_may_overlap_what_it_writes() -> None:
    assert unpacked(bytes.fromhex("016162" + "6001"), 7) == b"abababa"


@pytest.mark.parametrize(
    ("packed", "size"),
    [
        ("0061E00A00", 19),  # more than the output holds
        ("0061E00A00", 21),  # less than claimed
        ("", 1),
        ("05", 6),  # literals cut
        ("0061", 0),
        ("2000", 3),  # a copy from before the beginning
        ("00613f00", 4),  # the same, far
        ("0061e0", 20),  # a copy without its length
        ("0061e00a", 20),  # and without its offset
        ("006120", 4),
    ],
)
def test_damaged_bytes_are_refused(packed: str, size: int) -> None:
    assert unpacked(bytes.fromhex(packed), size) is None


@given(st.binary(max_size=60), st.integers(0, 400))
def test_nothing_is_written_beside_the_output_whatever_comes(packed: bytes, size: int) -> None:
    unpacked(packed, size)


def model(packed: bytes) -> bytes | None:
    """LZF straight from rdb-format.md 2."""
    out, i = bytearray(), 0
    try:
        while i < len(packed):
            control = packed[i]
            i += 1
            if control < 32:
                piece = packed[i : i + control + 1]
                if len(piece) <= control:
                    return None
                out += piece
                i += control + 1
                continue
            count = control >> 5
            if count == 7:
                count += packed[i]
                i += 1
            back = ((control & 31) << 8) + packed[i] + 1
            i += 1
            if back > len(out):
                return None
            for _ in range(count + 2):
                out.append(out[-back])
    except IndexError:
        return None
    return bytes(out)


@given(
    st.lists(
        st.one_of(
            st.binary(min_size=1, max_size=32).map(lambda text: bytes([len(text) - 1]) + text),
            st.tuples(st.integers(1, 6), st.integers(0, 40)).map(lambda c: bytes([c[0] << 5, c[1]])),
            st.tuples(st.integers(0, 255), st.integers(0, 40)).map(lambda c: bytes([0xE0, c[0], c[1]])),
        ),
        max_size=12,
    ).map(b"".join)
)
def test_it_agrees_with_the_description_of_the_format(packed: bytes) -> None:
    text = model(packed)
    if text is not None:
        assert unpacked(packed, len(text)) == text
        assert unpacked(packed, len(text) + 1) is None
    else:
        for size in (0, 1, 50, 300):
            assert unpacked(packed, size) is None
