"""The magic decides which line and version of the format a file speaks, or why it is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from rdbmerge.errors import FormatError, TruncatedError, UnsupportedError
from rdbmerge.format.dialects import Dialect, read_dialect
from rdbmerge.format.values import REDIS_TYPES, VALKEY_TYPES

FIXTURES = Path(__file__).parents[2] / "fixtures" / "rdb"


@pytest.mark.parametrize("version", range(1, 16))
def test_every_redis_version_is_known_with_what_it_has(version: int) -> None:
    dialect = read_dialect(b"REDIS%04d rest" % version)
    assert dialect == Dialect("redis", version)
    assert dialect.magic == b"REDIS%04d" % version == str(dialect).encode()
    assert dialect.has_checksum == (version >= 5)
    assert dialect.has_aux == (version >= 7)
    assert dialect.types is REDIS_TYPES


def test_valkey_has_a_magic_and_types_of_its_own() -> None:
    dialect = read_dialect(b"VALKEY080")
    assert (dialect.line, dialect.version, dialect.magic) == ("valkey", 80, b"VALKEY080")
    assert dialect.types is VALKEY_TYPES
    assert dialect.has_checksum
    assert dialect.has_aux


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*/empty.rdb")), ids=lambda path: path.parent.name)
def test_every_server_at_hand_writes_a_known_version(path: Path) -> None:
    assert read_dialect(path.read_bytes()[:9]).magic == path.read_bytes()[:9]


@pytest.mark.parametrize(
    ("magic", "remedy"),
    [
        (b"REDIS0016", "use a newer rdbmerge"),
        (b"REDIS0080", "check where the file comes from; no server writes this version"),
        (b"REDIS9999", "check where the file comes from; no server writes this version"),
        (b"REDIS0079", "use a newer rdbmerge"),
        (b"VALKEY081", "use a newer rdbmerge"),
        (b"REDIS0000", "check where the file comes from; no server writes this version"),
        (b"VALKEY011", "check where the file comes from; no server writes this version"),
    ],
)
def test_another_version_is_refused(magic: bytes, remedy: str) -> None:
    with pytest.raises(UnsupportedError, match="at byte 0: RDB version") as caught:
        read_dialect(magic)
    assert caught.value.remedy == remedy


@pytest.mark.parametrize(
    ("head", "remedy"),
    [
        (b"*2\r\n$6\r\nSELECT", "this looks like an append-only file"),
        (b"\x1f\x8b\x08\x00\x00\x00\x00\x00", "this is gzip"),
        (b"REDIS00x9", "give an RDB file"),
        (b"REDIS+001", "give an RDB file"),
        (b"VALKEY08x", "give an RDB file"),
        (b"redis0009", "give an RDB file"),
        (b"PK\x03\x04", "give an RDB file"),
        (b"\0", "give an RDB file"),
    ],
)
def test_what_is_no_rdb_is_shown_with_what_to_do(head: bytes, remedy: str) -> None:
    with pytest.raises(FormatError, match="not an RDB file: it starts with") as caught:
        read_dialect(head)
    assert caught.value.exit_code == 10
    assert caught.value.remedy.startswith(remedy)
    assert repr(head[:9])[1:] in str(caught.value)


@pytest.mark.parametrize("magic", [b"REDIS0009", b"VALKEY080"])
def test_a_magic_cut_short_is_truncated_and_an_empty_file_says_so(magic: bytes) -> None:
    for cut in range(1, 9):
        with pytest.raises(TruncatedError, match=f"inside its magic, after {cut} bytes"):
            read_dialect(magic[:cut])
    with pytest.raises(TruncatedError, match="the file is empty"):
        read_dialect(b"")
