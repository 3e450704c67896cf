"""The records between the entries: written as the description has them, and read back by the scanner."""

from __future__ import annotations

import rdbbytes
from rdbbytes import aux, resize, select

from rdbmerge.format import write
from rdbmerge.format.dialects import Dialect
from rdbmerge.format.records import Aux, End, Function, ResizeDb
from rdbmerge.format.scan import Walk

REDIS = Dialect("redis", 11)


def test_a_header_has_aux_fields_only_where_servers_understand_them() -> None:
    fields = [(b"redis-bits", b"64"), (b"ctime", b"1795400000")]
    assert write.header(REDIS, fields) == b"REDIS0011" + aux(*fields[0]) + aux(*fields[1])
    assert write.header(Dialect("redis", 6), fields) == b"REDIS0006"
    assert write.header(Dialect("valkey", 80), []) == b"VALKEY080"


def test_a_db_opens_with_its_number_and_exact_counts() -> None:
    assert write.select_db(REDIS, 3, 70, 5) == select(3) + resize(70, 5)
    assert write.select_db(REDIS, 20_000, 1 << 33, 1 << 32) == select(20_000) + resize(1 << 33, 1 << 32)
    assert write.select_db(Dialect("redis", 6), 3, 70, 5) == select(3)


def test_what_is_written_is_what_the_scanner_reads() -> None:
    code = b"#!lua name=lib\nreturn 1" + b" " * 100
    body = (
        write.header(REDIS, [(b"ctime", b"5")]) + write.function(code) + write.select_db(REDIS, 1, 0, 0) + write.end()
    )
    crc = rdbbytes.crc64(body)
    records = list(Walk(memoryview(body + write.checksum(crc))))
    assert records == [
        Aux(b"ctime", b"5", 9),
        Function(b"lib", code, 18),
        ResizeDb(1, 0, 0),
        End(len(body), crc, len(body) + 8),
    ]
