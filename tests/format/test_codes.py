"""The numbers between the core and the code around it are distinct where they must be."""

from __future__ import annotations

from rdbmerge.format import codes

ERRORS = [
    "TRUNCATED", "BAD_LENGTH", "BAD_STRING", "BAD_SCORE", "BAD_CONTAINER", "BAD_MODULE_OPCODE", "BAD_LZF",
    "BAD_ARRAY_TAG", "BAD_STREAM_ID", "UNKNOWN_TYPE", "META_OUT_OF_PLACE",
]  # fmt: skip
FLAGS = ["KEY_ENCODED", "EXPIRY_SECONDS", "HAS_IDLE", "HAS_FREQ", "IRREGULAR", "EMPTY", "HAS_META"]


def test_every_error_has_a_number_of_its_own() -> None:
    numbers = [getattr(codes, name) for name in ERRORS]
    assert len(set(numbers)) == len(ERRORS)
    assert 0 not in numbers  # 0: no error


def test_every_flag_is_a_bit_of_its_own_in_a_byte() -> None:
    bits = [getattr(codes, name) for name in FLAGS]
    assert all(bit.bit_count() == 1 and bit < 256 for bit in bits)
    assert len(set(bits)) == len(FLAGS)


def test_what_is_never_written_is_outside_of_what_is() -> None:
    assert not codes.FIRST_EXPIRY_MS <= codes.NO_EXPIRY <= codes.LATEST_EXPIRY_MS
    assert codes.FIRST_EXPIRY_MS > 0  # 0 and -1 mean other things to some servers
    assert codes.LATEST_FIELD_EXPIRY_MS < codes.LATEST_EXPIRY_MS < 1 << 63


def test_an_honest_lzf_string_grows_by_no_more_than_is_allowed() -> None:
    assert 3 * codes.LZF_MOST_GROWTH >= 7 + 255 + 2  # three bytes: the longest copy
