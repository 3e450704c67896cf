"""Text for people into numbers, and back to the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdbmerge.errors import UsageError
from rdbmerge.units import (
    escape_key,
    format_bytes,
    format_duration_ms,
    format_instant,
    parse_duration_ms,
    parse_instant_ms,
    parse_size_bytes,
)

HOUR = 3_600_000
LONGEST = 1 << 47


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0), ("3h", 3 * HOUR), ("-15m", -900_000), ("+2s", 2_000), ("1500ms", 1_500), ("1d12h", 36 * HOUR),
        ("1w", 168 * HOUR), ("1.5h", 5_400_000), ("0.001s", 1), (" 3H ", 3 * HOUR), ("-0", 0),
        ("1h30m15s20ms", 5_415_020),
    ],
)  # fmt: skip
def test_the_table_of_durations(text: str, expected: int) -> None:
    assert parse_duration_ms(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "3", "h", "3x", "3h4", "3 h", "--3h", "-+3h", "1e3s", "three", "-", "0h0", "9" * 30 + "d", "9" * 400 + "d"],
)  # fmt: skip
def test_what_is_no_duration_is_refused_with_how_to_write_one(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_duration_ms(text)
    assert "3h" in refused.value.remedy
    assert refused.value.exit_code == 2


@given(st.integers(-LONGEST, LONGEST))
def test_a_duration_is_printed_as_it_is_read(duration_ms: int) -> None:
    assert parse_duration_ms(format_duration_ms(duration_ms)) == duration_ms


def test_durations_are_printed_in_their_largest_units() -> None:
    texts = [format_duration_ms(ms) for ms in (0, 1, 3 * HOUR, -900_000, 36 * HOUR, 90_061_001)]
    assert texts == ["0s", "1ms", "3h", "-15m", "1d12h", "1d1h1m1s1ms"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0), ("512", 512), ("64k", 65_536), ("10MB", 10 << 20), ("1.5GiB", 3 << 29), ("20mb/s", 20 << 20),
        ("1t", 1 << 40), ("7b", 7), (" 1 KB ", 1_024),
    ],
)  # fmt: skip
def test_the_table_of_sizes(text: str, expected: int) -> None:
    assert parse_size_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "k", "-5", "5x", "1e9", "5 m b", "9" * 400])
def test_what_is_no_size_is_refused_with_how_to_write_one(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_size_bytes(text)
    assert "64MB" in refused.value.remedy


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-23T02:00:00Z", 1_795_399_200_000),
        ("2026-11-23 03:00:00+01:00", 1_795_399_200_000),
        ("2026-11-23T02:00:00.250Z", 1_795_399_200_250),
        ("1795399200", 1_795_399_200_000),
        ("1795399200000", 1_795_399_200_000),
        ("0", 0),
    ],
)
def test_the_table_of_instants(text: str, expected: int) -> None:
    assert parse_instant_ms(text) == expected


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("", "is not a time"),
        ("tomorrow", "is not a time"),
        ("2026-13-01T00:00:00Z", "is not a time"),
        ("-5", "is not a time"),
        ("\u0661\u0662", "is not a time"),
        ("2026-11-23T02:00:00", "has no time zone"),
        ("2026-11-23", "has no time zone"),
        ("9" * 20, "farther"),
        ("9" * 5_000, "farther"),
    ],
)
def test_what_is_no_instant_is_refused(text: str, finding: str) -> None:
    with pytest.raises(UsageError, match=finding) as refused:
        parse_instant_ms(text)
    assert refused.value.remedy


def test_instants_are_printed_for_people() -> None:
    assert format_instant(1_795_399_200_000) == "2026-11-23 02:00:00Z"
    assert format_instant(None) == "-"
    assert format_instant(1 << 62) == "4,611,686,018,427,387,904 ms"


@given(st.integers(0, 253_402_300_799_999))
def test_an_instant_is_printed_as_it_is_read_to_the_second(at_ms: int) -> None:
    assert parse_instant_ms(format_instant(at_ms)) == at_ms // 1_000 * 1_000


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"), (1_023, "1023 B"), (1_024, "1.0 KB"), (1_536, "1.5 KB"), (20 << 30, "20.0 GB"), (5 << 40, "5.0 TB"),
        (-2_048, "-2.0 KB"),
    ],
)  # fmt: skip
def test_the_table_of_sizes_for_people(size: int, text: str) -> None:
    assert format_bytes(size) == text


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (b"", '""'),
        (b"user:1 x", '"user:1 x"'),
        (b'a"b\\c', '"a\\x22b\\x5cc"'),
        (b"\x00\n\x7f\xff", '"\\x00\\x0a\\x7f\\xff"'),
        ("é".encode(), '"\\xc3\\xa9"'),
        (b"\x1b[31mred", '"\\x1b[31mred"'),
        (b"k" * 130, '"' + "k" * 120 + '"... (130 bytes)'),
    ],
)
def test_a_key_is_shown_escaped_and_cut(key: bytes, text: str) -> None:
    assert escape_key(key) == text


@given(st.binary(max_size=60))
def test_the_escaped_form_tells_every_key_apart(key: bytes) -> None:
    text = escape_key(key)
    assert text.isascii()
    assert text.isprintable()
    assert text[1:-1].encode().decode("unicode_escape").encode("latin-1") == key
