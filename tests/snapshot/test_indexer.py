"""The one pass over a file: its numbers are those of its server, and what no server would load is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from rdbbytes import aux, crc64, entry, expiry, expiry_seconds, function, idle, rdb, record, resize, select, string
from truth import read_truth
from xxhash import xxh64_intdigest

from rdbmerge.errors import ChecksumError, FormatError
from rdbmerge.format import codes
from rdbmerge.format.values import REDIS_TYPES, VALKEY_TYPES
from rdbmerge.snapshot import indexer
from rdbmerge.snapshot.hashes import HashCollector
from rdbmerge.snapshot.index import IndexFacts
from rdbmerge.snapshot.indexer import read_index
from rdbmerge.snapshot.segment import Segment

FIXTURES = Path(__file__).parents[2] / "fixtures" / "rdb"
FILES = sorted(FIXTURES.glob("*/*.rdb"))
AOF = b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n"
COMPRESSED = bytes.fromhex("C305140061E00A00")


def facts_of(folder: Path, data: bytes) -> IndexFacts:
    path = folder / "a.rdb"
    path.write_bytes(data)
    with Segment(path) as segment:
        return read_index(segment).facts


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_numbers_of_a_real_file_are_those_of_its_server(path: Path, tmp_path: Path) -> None:
    data = path.read_bytes()
    facts = facts_of(tmp_path, data)
    truth = read_truth(path.with_name(path.name.replace(".rdb", ".truth.jsonl.gz")))
    told = json.loads(path.with_name("MANIFEST.json").read_text())[path.stem]
    types = VALKEY_TYPES if data.startswith(b"VALKEY") else REDIS_TYPES
    assert facts.keys == told["keys"] == len(truth)
    assert {db.db: db.keys for db in facts.dbs if db.keys} == truth.per_db()
    for db in facts.dbs:
        entries = [one for (place, _), one in truth.entries.items() if place == db.db]
        assert db.expires == sum(one.expire_at_ms is not None for one in entries)
        by_name: dict[str, int] = {}
        for number, count in db.types.items():
            name = types[number].logical.name.lower()
            by_name[name] = by_name.get(name, 0) + count
        assert by_name == {kind: sum(one.type == kind for one in entries) for kind in {one.type for one in entries}}
    assert sorted(library.name for library in facts.libraries) == sorted(truth.functions)
    assert facts.magic.encode() == data[:9]
    assert facts.trailing_bytes == 0
    assert (facts.size_bytes, facts.end) == (len(data), len(data))


def test_the_facts_of_a_file_made_by_hand(tmp_path: Path) -> None:
    parts = [
        entry(b"a", expire_at_ms=9_000),
        record(0, b"b", string(b"v"), attributes=expiry_seconds(7)),
        record(2, b"c", b"\x00", attributes=idle(3)),
    ]
    data = rdb(11, aux(b"Redis-Ver", b"7\xff"), select(5), resize(30, 4), *parts, select(1), select(5), entry(b"d"))
    facts = facts_of(tmp_path, data)
    (db, empty) = facts.dbs[::-1] if facts.dbs[0].db == 1 else (facts.dbs[0], None)
    assert (db.db, db.keys, db.expires, db.hinted_keys, db.types) == (5, 4, 2, 30, {0: 3, 2: 1})
    assert empty is None or empty.keys == 0
    first, second = facts.chunks
    assert (first.rows, first.expires, first.seconds) == (3, 2, 1)
    assert (first.first_expiry_ms, first.last_expiry_ms, first.types) == (7_000, 9_000, [0, 2])
    assert first.flags == codes.EXPIRY_SECONDS | codes.HAS_IDLE | codes.EMPTY
    assert first.entry_bytes == first.stop - first.start == sum(map(len, parts))
    assert first.largest_entry_bytes == max(map(len, parts))
    assert (second.db, second.rows, second.first_expiry_ms) == (5, 1, None)
    assert facts.aux_value("redis-ver") == "7\\xff"
    assert facts.crc64 == facts.stored_crc64 == crc64(data[:-8])


def test_a_wrong_checksum_is_refused_with_both_numbers(tmp_path: Path) -> None:
    data = rdb(9, select(0), entry(b"k"), checksum=0x123)
    with pytest.raises(ChecksumError, match=r"a\.rdb at byte 17: the checksum in the file is 0000000000000123") as bad:
        facts_of(tmp_path, data)
    assert f"{crc64(data[:-8]):016x}" in str(bad.value)
    assert not (tmp_path / "a.rdb.index").exists()


@pytest.mark.parametrize("place", range(9, 17))
def test_any_flipped_bit_is_found(tmp_path: Path, place: int) -> None:
    data = bytearray(rdb(9, select(0), entry(b"k")))
    for bit in range(8):
        data[place] ^= 1 << bit
        with pytest.raises(FormatError):
            facts_of(tmp_path, bytes(data))
        data[place] ^= 1 << bit


def test_a_checksum_of_zero_is_accepted_and_noted(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, rdb(9, select(0), entry(b"k"), checksum=0))
    assert facts.stored_crc64 == 0
    assert facts.crc64 != 0


def test_versions_before_5_have_no_checksum(tmp_path: Path) -> None:
    assert facts_of(tmp_path, rdb(4, select(0), entry(b"k"))).stored_crc64 is None


def test_bytes_after_the_end_are_counted(tmp_path: Path) -> None:
    for tail in (b"x", b"garbage" * 99, b"*not commands"):
        assert facts_of(tmp_path, rdb(9, entry(b"k"), tail=tail)).trailing_bytes == len(tail)


def test_an_append_only_file_with_a_preamble_is_refused_where_its_commands_begin(tmp_path: Path) -> None:
    data = rdb(9, entry(b"k"))
    with pytest.raises(FormatError, match=f"at byte {len(data)}: an append-only file: .* {len(AOF)} bytes of commands"):
        facts_of(tmp_path, data + AOF)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b"\x0212", b"\x0212"), (b"\x0212", b"\xc0\x0c"), (b"\xc0\x0c", b"\xc1\x0c\x00"),
        (b"\x40\x0212", b"\xc2\x0c\0\0\0"), (string(b"a" * 20), COMPRESSED), (COMPRESSED, COMPRESSED),
        (b"\x00", b"\x80\0\0\0\0"),
    ],
)  # fmt: skip
def test_a_key_that_stands_twice_is_refused_however_it_is_stored(tmp_path: Path, one: bytes, other: bytes) -> None:
    first, second = (record(0, b"", string(b"v"), key_bytes=key) for key in (one, other))
    with pytest.raises(FormatError, match="of db 3 stands here and at byte 11; no server loads such a file") as twice:
        facts_of(tmp_path, rdb(9, select(3), first, entry(b"between"), second))
    assert twice.value.offset == 11 + len(first) + len(entry(b"between"))
    # In two dbs it is fine.
    assert facts_of(tmp_path, rdb(9, select(3), first, select(4), second)).keys == 2
    # Also when the two stand in different stretches of one db.
    with pytest.raises(FormatError, match="stands here and at byte 11"):
        facts_of(tmp_path, rdb(9, select(3), first, select(4), entry(b"x"), select(3), second))


def test_a_key_that_stands_twice_is_found_among_spilled_hashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    collectors: list[HashCollector] = []

    def spilling(folder: Path) -> HashCollector:
        collectors.append(HashCollector(folder, limit_hashes=10))
        return collectors[-1]

    monkeypatch.setattr(indexer, "HashCollector", spilling)
    rows = [select(n % 5) + entry(b"k%d" % n, b"v" * 50) for n in range(200)]
    assert facts_of(tmp_path, rdb(9, *rows)).keys == 200
    with pytest.raises(FormatError, match='key "k77" of db 2 stands here'):
        facts_of(tmp_path, rdb(9, *rows, select(2), entry(b"k77")))
    assert sorted(path.name for path in tmp_path.iterdir() if "rdbmerge-" in path.name) == []
    assert len(collectors) == 2


def test_equal_hashes_of_different_keys_are_no_repetition(tmp_path: Path) -> None:
    """Collisions of 64 bits cannot be made at will: the comparison is handed suspects that are none."""
    path = tmp_path / "a.rdb"
    path.write_bytes(rdb(9, select(0), *(entry(b"k%d" % n) for n in range(9))))
    with Segment(path) as segment:
        chunks = read_index(segment).facts.chunks
        suspects = np.array(sorted(xxh64_intdigest(b"k%d" % n) for n in range(9)), np.uint64)
        indexer._compare_keys(segment, chunks, suspects)


def test_a_library_that_stands_twice_is_refused(tmp_path: Path) -> None:
    one = function(b"#!lua name=lib\nreturn 1")
    with pytest.raises(FormatError, match="'lib' stands here and at byte 9; no server loads such a file") as twice:
        facts_of(tmp_path, rdb(10, one, function(b"#!LUA engine=x name=lib\nreturn 2")))
    assert twice.value.offset == 9 + len(one)
    assert len(facts_of(tmp_path, rdb(10, one, function(b"#!lua name=lib2\n"))).libraries) == 2


def test_progress_adds_up_to_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "a.rdb"
    path.write_bytes(rdb(9, select(0), *(entry(b"k%d" % n) for n in range(9)), tail=b"garbage"))
    told: list[int] = []
    with Segment(path) as segment:
        read_index(segment, progress=told.append)
        assert sum(told) >= read_index(segment).facts.end - 8


def test_attributes_before_a_change_of_db_belong_to_the_next_key(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, rdb(9, select(0), entry(b"a"), expiry(7), select(1), entry(b"b"), entry(b"c")))
    assert [(chunk.db, chunk.rows, chunk.expires) for chunk in facts.chunks] == [(0, 1, 0), (1, 2, 1)]
    assert facts.chunks[1].start == facts.chunks[0].stop
