"""The form of DUMP: what real servers give is taken apart, what is made here they take."""

from __future__ import annotations

from pathlib import Path

import pytest
from rdbbytes import crc64, string, strings
from realservers import ServerBinary, each_server, running

from rdbmerge.errors import ChecksumError, FormatError, TruncatedError, UnsupportedError
from rdbmerge.format.columns import Columns
from rdbmerge.format.dialects import Dialect
from rdbmerge.format.dump import FOOTER_BYTES, dump, dump_dialect, dump_libraries, footer, stamp_of, undump
from rdbmerge.format.scan import Walk

GOLDEN = Path(__file__).parents[2] / "fixtures" / "rdb"
WORKED = {  # rdb-format.md 8
    "000568656c6c6f 0c00 a804ebb69f1ebe43": (0, "0568656c6c6f"),
    "00c13930 0c00 56e2dee769d696f0": (0, "c13930"),
    "0401 0166c001 0c00 d1f45e9283950b87": (4, "010166c001"),
    "16020166c00100204aa9d10100000167c002ffffffffffffffff 5000 056398f680c8b86c":
        (22, "020166c00100204aa9d10100000167c002ffffffffffffffff"),
}  # fmt: skip
META = b"\xf3\x01" + b"\0\0\0\1" + b"\x02\x07\x00"


def sealed(body: bytes, stamp: int) -> bytes:
    """With a checksum that nothing of rdbmerge made."""
    body += stamp.to_bytes(2, "little")
    return body + crc64(body).to_bytes(8, "little")


@pytest.mark.parametrize(("text", "expected"), WORKED.items())
def test_dumps_of_the_format_reference_are_taken_apart(text: str, expected: tuple[int, str]) -> None:
    data = bytes.fromhex(text.replace(" ", ""))
    assert undump(data) == (expected[0], bytes.fromhex(expected[1]))


def test_a_dump_is_type_payload_stamp_and_checksum() -> None:
    assert dump(0, string(b"hello")) == sealed(b"\x00\x05hello", 6)
    assert dump(1, memoryview(strings([b"a"])), stamp=7) == sealed(b"\x01\x01\x01a", 7)
    assert dump(22, b"payload", line="valkey") == sealed(b"\x16payload", 80)
    assert undump(dump(1, strings([b"a"]))) == (1, strings([b"a"]))


def test_only_valkeys_own_types_bear_its_stamp() -> None:
    assert [stamp_of(number, "redis") for number in (0, 21, 22, 25)] == [6, 6, 6, 6]
    assert [stamp_of(number, "valkey") for number in (0, 21, 22)] == [6, 6, 80]


def test_a_footer_of_pieces_is_that_of_the_whole() -> None:
    assert footer([b"\x00", b"\x02", b"ab"], 6) == footer([b"\x00\x02ab"], 6) == dump(0, b"\x02ab")[-FOOTER_BYTES:]


def test_the_stamp_tells_whose_type_numbers_they_are() -> None:
    assert dump_dialect(sealed(b"\x00\x00", 9)) == Dialect("redis", 9)
    assert dump_dialect(sealed(b"\x00\x00", 80)) == Dialect("valkey", 80)


def test_metadata_of_modules_before_the_type_is_left_away() -> None:
    assert undump(sealed(META + b"\x00\x01v", 13)) == (0, b"\x01v")


@pytest.mark.parametrize(
    ("data", "kind", "said"),
    [
        (b"", TruncatedError, "a dump of 0 bytes has no room"),
        (sealed(b"", 6), TruncatedError, "a dump of 10 bytes has no room"),
        (dump(0, b"\x01v")[:-1] + b"\x00", ChecksumError, "its bytes make"),
        (sealed(b"\x00\x01v", 16), UnsupportedError, "a dump of RDB version 16"),
        (sealed(b"\x00\x01v", 0), UnsupportedError, "a dump of RDB version 0"),
        (sealed(META[:-1], 13), FormatError, "does not end"),
        (sealed(META[:4], 13), FormatError, "does not end"),
        (sealed(META, 13), FormatError, "no value"),
    ],
)
def test_what_is_no_dump_is_refused(data: bytes, kind: type[FormatError], said: str) -> None:
    with pytest.raises(kind, match=said):
        undump(data)


def _file_of(binary: ServerBinary) -> Path:
    """A golden file that the server loads, of its own version or the nearest before."""
    names = {
        "redis-2.8": "2.8.24", "redis-3.2": "3.2.13", "redis-5.0": "5.0.14", "redis-6.2": "6.2.16",
        "redis-7.0": "7.0.15", "redis-8.2": "7.4.1", "valkey-8.1": "valkey-8.1.1", "valkey-9.1": "valkey-9.1.2",
    }  # fmt: skip
    return GOLDEN / names.get(binary.name, "2.8.24") / "all_types.rdb"


@each_server()
def test_a_server_dumps_what_its_file_holds_and_takes_what_is_made_of_it(binary: ServerBinary) -> None:
    path = _file_of(binary)
    view = memoryview(path.read_bytes())
    walk = Walk(view)
    line, compared = walk.dialect.line, 0
    with running(binary, rdb=path) as server:
        for batch in walk:
            if not isinstance(batch, Columns):
                continue
            with server.client(batch.db) as client:
                for row in range(batch.rows):
                    key, number = batch.key(view, row), int(batch.type[row])
                    theirs = client.dump(key)
                    if theirs is None or number == 7:  # it has expired; a module's
                        continue
                    value = bytes(view[int(batch.value_start[row]) : int(batch.end[row])])
                    assert undump(theirs)[0] in walk.dialect.types
                    client.delete(key)
                    assert client.restore(key, 0, dump(number, value, line=line)) in (b"OK", True, "OK")
                    # The same server makes the same of the same bytes, whatever the stamp was.
                    again = client.dump(key)
                    assert again is not None
                    if undump(theirs)[0] not in (2, 4, 22, 24):  # of tables, whose order is the server's own
                        assert undump(again) == undump(theirs)
                    compared += 1
    assert compared > 5


@each_server(lambda binary: binary.version >= (7,))
def test_a_server_takes_libraries(binary: ServerBinary) -> None:
    libraries = [
        b"#!lua name=%s\nredis.register_function('%s', function() return 1 end)" % (n, n) for n in (b"a", b"b")
    ]
    with running(binary) as server, server.client(raw=True) as client:
        assert client.execute_command("FUNCTION", "RESTORE", dump_libraries(libraries)) == b"OK"
        assert len(client.execute_command("FUNCTION", "LIST")) == 2
