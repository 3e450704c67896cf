#!/usr/bin/env python3
"""Makes fixtures/broken: RDB files that are wrong in one way each, the same bytes at every run.

    scripts/make_broken.py            writes the .rdb files anew
    scripts/make_broken.py --texts    and, from what rdbmerge now says, the .error.txt and .warning.txt beside them

The texts are promises to users: read every line of the difference before committing it. A file named inside_* is
damaged where only decoding looks; its text is what reading its values says, those of all others what a merge says. One
named unfit_* is sound, and its text is what a merge for Redis 6.2 says.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from blobbytes import (  # noqa: E402
    Element,
    Raw,
    consumer,
    group,
    intset,
    listpack,
    node,
    node_head,
    own,
    stream,
    ziplist,
    zipmap,
)
from rdbbytes import (  # noqa: E402
    aux,
    entry,
    expiry,
    function,
    length,
    rdb,
    record,
    select,
    string,
    strings,
)

FOLDER = ROOT / "fixtures" / "broken"
LIBRARY = b"#!lua name=lib\nredis.register_function('f', function() return 1 end)"
META = b"\xf3\x01" + b"\0\0\0\1" + b"\x02\x07\x00"
TEMPLATE = b"\xf2\x05\x01" + string(b"field")  # id 5
WHOLE = rdb(
    11, aux(b"redis-ver", b"7.2.6"), select(0), entry(b"key:1", b"value"), record(2, b"set", strings([b"a", b"b"]))
)
AOF = b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n"


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :]


def one(version: int, *parts: bytes) -> bytes:
    """A good key, then the parts."""
    return rdb(version, select(0), entry(b"good"), *parts)


BROKEN: dict[str, bytes] = {
    # The head.
    "empty": b"",
    "magic_wrong": b"REDSI0009" + WHOLE[9:],
    "magic_cut": b"REDIS00",
    "version_newer_redis": rdb(16, select(0), entry(b"k")),
    "version_newer_valkey": rdb(81, select(0), entry(b"k"), magic=b"VALKEY081"),
    "version_of_redis_under_valkey": rdb(11, select(0), entry(b"k"), magic=b"VALKEY011"),
    "version_of_valkey_under_redis": rdb(80, select(0), entry(b"k"), magic=b"REDIS0080"),
    "aof_plain": AOF,
    "aof_with_rdb_preamble": rdb(9, aux(b"aof-preamble", b"1"), select(0), entry(b"k"), tail=AOF),
    # A file of gzip's header, no name and no time, and nothing behind.
    "gzip": bytes.fromhex("1f8b08000000000002ff") + b"\x03\x00" + bytes(8),
    # Cut short.
    "cut_in_key": WHOLE[: WHOLE.index(b"key:1") + 3],
    "cut_in_value": WHOLE[: WHOLE.index(b"value") + 2],
    "cut_in_set": WHOLE[: WHOLE.index(b"\x01b") + 1],
    "cut_before_end": WHOLE[:-9],
    "cut_before_checksum": WHOLE[:-8],
    "cut_in_checksum": WHOLE[:-3],
    # Damaged.
    "bit_flipped_in_value": flipped(WHOLE, WHOLE.index(b"value")),
    "bit_flipped_in_checksum": flipped(WHOLE, len(WHOLE) - 4),
    "length_wrong": one(11, record(1, b"k", b"\x90")),
    "length_of_4_gb": one(11, record(0, b"k", b"\x80\xff\xff\xff\xff")),
    "length_of_16_eb": one(11, record(0, b"k", b"\x81" + b"\xff" * 8)),
    "string_wrong": one(11, record(0, b"k", b"\xc7")),
    "score_wrong": one(11, record(3, b"k", length(1) + string(b"member") + b"\xfd")),
    "list_container_wrong": one(11, record(18, b"k", b"\x01\x03" + string(b"node"))),
    "module_opcode_wrong": one(11, record(7, b"k", b"\x81" + bytes.fromhex("BDE72DA2BB1EB400") + b"\x06")),
    "lzf_claims_too_much": one(11, record(0, b"k", b"\xc3\x02\x80\x10\x00\x00\x00" + b"\x00a")),
    "lzf_does_not_unpack": one(11, record(0, b"", string(b"v"), key_bytes=b"\xc3\x02\x14\x05a")),
    "array_tag_wrong": one(14, record(28, b"k", b"\x01\x00\x00\x09")),
    "stream_id_wrong": one(11, record(21, b"k", b"\x01" + string(b"5-1") + string(b"listpack"))),
    "hash_listpack_wrong": one(
        12, record(25, b"k", bytes(8) + string(bytes.fromhex("0d000000 0200 816602 817602 ff".replace(" ", ""))))
    ),
    "hash_template_unknown": one(15, TEMPLATE, record(32, b"k", b"\x06" + string(b"v"))),
    "hash_template_twice": one(15, TEMPLATE, b"\xf2\x05\x01" + string(b"other")),
    "db_beyond_bounds": rdb(11, select(1 << 31), entry(b"k")),
    "module_data_misplaced": rdb(11, b"\xf7\x81" + bytes.fromhex("BDE72DA2BB1EB400") + b"\x02\x03\x00"),
    # Not known.
    "type_unknown": one(11, record(99, b"k", string(b"v"))),
    "type_module_of_release_candidate": one(11, record(6, b"k", string(b"v"))),
    "type_of_dump_payloads": one(15, record(31, b"k", string(b"v"))),
    "opcode_unknown": one(11, b"\xf3\x00"),
    "opcode_update_of_valkey": rdb(80, select(0), entry(b"good"), TEMPLATE, magic=b"VALKEY080"),
    "opcode_function_of_release_candidate": rdb(10, b"\xf6" + string(b"lib") + string(b"LUA") + b"\x00" + string(b"x")),
    "key_metadata_misplaced": one(13, record(0, b"k", string(b"v"), attributes=META + expiry(2_000_000_000_000))),
    # No server writes, and none loads.
    "key_twice": one(11, entry(b"twice", b"1"), entry(b"between"), entry(b"twice", b"2")),
    "key_twice_as_number_and_text": one(11, entry(b"12345"), record(0, b"", string(b"v"), key_bytes=b"\xc1\x39\x30")),
    "library_twice": rdb(11, function(LIBRARY), function(LIBRARY), select(0), entry(b"k")),
}
NODE = [*node_head(1, 0), *own(0, 0, b"field", b"value")]
ONE = (5, 1)


def inside(number: int, payload: bytes, *parts: bytes) -> bytes:
    """A good key, the parts, then one whose value is damaged."""
    return one(15, *parts, record(number, b"k", payload))


def stream_node(*elements: Element) -> bytes:
    return inside(21, stream(3, [node(ONE, listpack(*elements))], live=1))


# Damaged inside of values: whole to a walk, refused when the value is decoded.
INSIDE: dict[str, bytes] = {
    "inside_listpack_size": inside(16, string(b"\x10" + listpack(b"f", b"v")[1:])),
    "inside_ziplist_size": inside(13, string(ziplist(b"f", b"v")[:-1])),
    "inside_intset_size": inside(11, string(intset(4, 1, 2)[:-4])),
    "inside_zipmap_size": inside(9, string(zipmap({b"f": b"v"})[:-1])),
    "inside_ziplist_element": inside(10, string(ziplist(b"a", Raw(b"\x3fshort")))),
    "inside_listpack_start": inside(20, string(listpack(b"a", Raw(b"\xf7")))),
    "inside_listpack_end": inside(20, string(listpack(b"a", Raw(b"\xff"), b"b"))),
    "inside_zipmap_count": inside(9, string(zipmap({b"f": b"v"}, count=2))),
    "inside_ziplist_links": inside(14, b"\x01" + string(ziplist(b"a", b"b").replace(b"\x03\x01b", b"\x02\x01b"))),
    "inside_intset_order": inside(11, string(intset(2, 5, 3))),
    "inside_intset_width": inside(11, string(b"\x03" + intset(2, 5)[1:])),
    "inside_hash_odd": inside(16, string(listpack(b"f", b"v", b"g"))),
    "inside_hash_without_times": inside(25, bytes(8) + string(listpack(b"f", b"v", 0, b"g", b"w"))),
    "inside_hash_time": inside(25, bytes(8) + string(listpack(b"f", b"v", b"soon"))),
    "inside_hash_twice": inside(4, strings([b"f", b"1", b"f", b"2"]).replace(b"\x04", b"\x02", 1)),
    "inside_hash_without_template": inside(30, string(listpack(b"field", b"value")), TEMPLATE),
    "inside_hash_with_unknown_template": inside(30, string(listpack(6, b"value")), TEMPLATE),
    "inside_set_twice": inside(2, strings([b"a", b"b", b"a"])),
    "inside_zset_twice": inside(17, string(listpack(b"m", 1, b"m", 2))),
    "inside_score": inside(3, b"\x01" + string(b"member") + b"\x031,5"),
    "inside_lzf": inside(0, b"\xc3\x02\x14\x05a"),
    "inside_stream_head": stream_node(b"one", *NODE[1:]),
    "inside_stream_entry": stream_node(*NODE[:-1], 7),
    "inside_stream_count": stream_node(2, *NODE[1:]),
    "inside_stream_cut": stream_node(*NODE[:-2]),
    "inside_stream_groups": inside(21, stream(3, groups=[group(3, b"g"), group(3, b"g")])),
    "inside_stream_consumers": inside(21, stream(3, groups=[group(3, b"g", consumers=[consumer(3, b"c", ONE)])])),
    "inside_stream_producers": inside(26, stream(4)[:-3] + b"\x02" + (string(b"p") + b"\x00") * 2 + bytes(2)),
    "inside_array_twice": inside(28, b"\x02\x00" + (b"\x07\x00" + string(b"a")) * 2),
}
HASH = string(listpack(b"f", b"v", 2_000_000_000_000, b"g", b"w", 0))
ARRAY = b"\x01\x00" + b"\x07\x00" + string(b"a")
# Sound, and refused for an older target.
UNFIT: dict[str, bytes] = {
    "unfit_array": one(14, record(28, b"array", ARRAY)),
    "unfit_hash_field_expiry": one(12, record(25, b"hash", bytes(8) + HASH)),
    "unfit_function": rdb(10, function(LIBRARY), select(0), entry(b"good")),
    "unfit_key_metadata": one(13, record(0, b"key", string(b"v"), attributes=META)),
    "unfit_stream_producers": one(13, record(26, b"stream", stream(4, producers={b"p": {b"1": ONE}}, iids=(1, 0)))),
    "unfit_stream_without_owner": one(
        14, record(27, b"stream", stream(5, groups=[group(5, b"g", pending=[(ONE, 1, 1)], nacked=[ONE])]))
    ),
    "unfit_several": rdb(14, function(LIBRARY), select(3), *(record(28, b"array:%02d" % n, ARRAY) for n in range(11))),
}
# Accepted, with a warning.
ODD: dict[str, bytes] = {
    "odd_trailing_garbage": WHOLE + b"garbage",
    "odd_checksum_off": WHOLE[:-8] + bytes(8),
    "odd_aof_base": rdb(11, aux(b"aof-base", b"1"), select(0), entry(b"k")),
    "odd_empty_collections": one(11, record(1, b"list", length(0)), record(2, b"set", length(0))),
    "odd_db_number": rdb(11, select(16), entry(b"k")),
}

ALL = BROKEN | INSIDE | UNFIT | ODD


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, data in ALL.items():
        (FOLDER / f"{name}.rdb").write_bytes(data)
    if "--texts" in sys.argv:
        from broken import text_beside, told

        for name in ALL:
            path = FOLDER / f"{name}.rdb"
            text_beside(path).write_text(told(path))


if __name__ == "__main__":
    main()
