"""One small value of every form that a file can hold, made by hand, with what it decodes to."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from blobbytes import (
    DELETED,
    STREAM_TYPES,
    consumer,
    group,
    intset,
    listpack,
    lzf,
    node,
    node_head,
    own,
    same,
    stream,
    ziplist,
    zipmap,
)
from decoded import REDIS, VALKEY, templates
from rdbbytes import length, pairs, string, strings

from rdbmerge.format.dialects import Dialect
from rdbmerge.format.logical import (
    Array,
    Consumer,
    Group,
    Hash,
    Idempotence,
    ModuleValue,
    Pending,
    Stream,
    StreamEntry,
    StreamId,
)

AT = 2_000_000_000_000
TEMPLATES = {7: [b"a", b"b", b"id"], 300: [b"f"]}


@dataclass(frozen=True)
class Form:
    """A value type's form: `wrap(inside)` is the payload; what is in `inside` is seen by decoding only, if `packed`."""

    name: str
    number: int
    inside: bytes
    value: Any
    wrap: Callable[[bytes], bytes] = bytes
    dialect: Dialect = REDIS

    @property
    def payload(self) -> bytes:
        return self.wrap(self.inside)

    @property
    def packed(self) -> bool:
        return self.wrap is not bytes


def held_templates() -> Any:
    return templates(**{f"t{number}": names for number, names in TEMPLATES.items()})


def time(at_ms: int) -> bytes:
    return at_ms.to_bytes(8, "little", signed=True)


def double(number: float) -> bytes:
    return struct.pack("<d", number)


def text_score(text: bytes) -> bytes:
    return bytes([len(text)]) + text


def _nodes(container: bytes, blob: bytes) -> bytes:
    return length(3) + b"".join(container + string(each) for each in (blob, blob, blob))


PAIR = ziplist(b"f", 300, b"g", b"")
LIST = ziplist(b"a", 5, -70_000, b"b" * 70)
MEMBERS = listpack(b"m", 1, b"n", b"2.5", b"o", 2_000_000)
FIELDS = listpack(b"f", b"v", b"g", -5)
EXPIRING = listpack(b"f", 1, AT, b"g", b"w", 0)
NODE = listpack(
    *node_head(3, 1, b"temp", b"hum"),
    *same(0, 1, b"20.5", 60),
    *own(5, -1, b"k", b"v", b"k", 1),
    *same(6, 0, b"gone", 0, flags=DELETED),
    *same(7, 0, 21, b""),
)
ENTRIES = [
    StreamEntry(StreamId(5, 2), [(b"temp", b"20.5"), (b"hum", b"60")]),
    StreamEntry(StreamId(10, 0), [(b"k", b"v"), (b"k", b"1")]),
    StreamEntry(StreamId(12, 1), [(b"temp", b"21"), (b"hum", b"")]),
]
HASH_TTL = Hash({b"f": b"1", b"g": b"w"}, {b"f": AT})
MODULE = (
    b"\x81" + bytes.fromhex("BDE72DA2BB1EB401") + b"\x01\x81" + b"\xff" * 8 + b"\x02\x05"
    b"\x03" + struct.pack("<f", 0.5) + b"\x04" + double(1e300) + b"\x05\x02hi" + b"\x05\xc0\x07" + b"\x00"
)  # fmt: skip


def stream_of(level: int, blob: bytes) -> bytes:
    return stream(
        level,
        [node((5, 1), blob)],
        live=3,
        last_id=(13, 0),
        first_id=(5, 2),
        max_deleted_id=(11, 1),
        added=9,
        groups=[
            group(
                level,
                b"readers",
                last_id=(10, 0),
                entries_read=2,
                pending=[((5, 2), AT, 3), ((10, 0), AT + 1, 1)],
                consumers=[
                    consumer(level, b"alice", (5, 2), *([] if level == 5 else [(10, 0)])),
                    consumer(level, b"", seen_at_ms=5, active_at_ms=-1),
                ],
                nacked=[(10, 0)],
            ),
            group(level, b"idle"),
        ],
        idmp=(60, 50),
        producers={b"p": {b"1": (5, 2), b"2": (10, 0)}, b"q": {}},
        iids=(7, 1),
    )


def stream_value(level: int) -> Stream:
    owner = None if level == 5 else b"alice"
    first, second = StreamId(5, 2), StreamId(10, 0)
    active = level >= 3
    readers = Group(
        second,
        2 if level > 1 else None,
        {first: Pending(b"alice", AT, 3), second: Pending(owner, AT + 1, 1)},
        {
            b"alice": Consumer(100, 90 if active else None, [first, second][: 1 if level == 5 else 2]),
            b"": Consumer(5, -1 if active else None, []),
        },
    )
    idle = Group(StreamId(5, 1), -1 if level > 1 else None, {}, {})
    memory = Idempotence(60, 50, {b"p": {b"1": first, b"2": second}, b"q": {}}, 7, 1)
    return Stream(
        entries=ENTRIES,
        length=3,
        last_id=StreamId(13, 0),
        first_id=first if level > 1 else None,
        max_deleted_id=StreamId(11, 1) if level > 1 else None,
        entries_added=9 if level > 1 else None,
        groups={b"readers": readers, b"idle": idle},
        idempotence=memory if level > 3 else None,
    )


def after_time(blob: bytes) -> bytes:
    return time(AT) + string(blob)


FORMS = [
    Form("string", 0, string(b"hello"), b"hello"),
    Form("string-integer", 0, b"\xc2\x00\x00\x00\x80", b"-2147483648"),
    Form("string-lzf", 0, lzf(b"a" * 30 + b"bc"), b"a" * 30 + b"bc"),
    Form("list", 1, strings([b"a", b""]) + b"", [b"a", b""]),
    Form("set", 2, length(3) + b"\xc0\x05" + string(b"a") + lzf(b"x" * 20), {b"5", b"a", b"x" * 20}),
    Form(
        "zset", 3, length(3) + string(b"m") + text_score(b"1.5") + string(b"n") + b"\xff" + string(b"o") + b"\xfe",
        {b"n": float("-inf"), b"m": 1.5, b"o": float("inf")},
    ),
    Form("hash", 4, pairs({b"f": b"v", b"g": b""}), {b"f": b"v", b"g": b""}),
    Form("zset_2", 5, length(2) + string(b"m") + double(2.0) + string(b"n") + double(-0.5), {b"n": -0.5, b"m": 2.0}),
    Form("module_2", 7, MODULE, ModuleValue("vectorset", 1, [-1, 5, 0.5, 1e300, b"hi", b"7"])),
    Form("hash_zipmap", 9, zipmap({b"f": b"1", b"g": b"x" * 9}, free=2), {b"f": b"1", b"g": b"x" * 9}, string),
    Form("list_ziplist", 10, LIST, [b"a", b"5", b"-70000", b"b" * 70], string),
    Form("set_intset-2", 11, intset(2, -5, 0, 300), {b"-5", b"0", b"300"}, string),
    Form("set_intset-4", 11, intset(4, -70_000, 70_000), {b"-70000", b"70000"}, string),
    Form("set_intset-8", 11, intset(8, -1 << 63, (1 << 63) - 1), {b"%d" % (-1 << 63), b"%d" % ((1 << 63) - 1)}, string),
    Form("zset_ziplist", 12, ziplist(b"m", 1, b"n", b"2.5"), {b"m": 1.0, b"n": 2.5}, string),
    Form("hash_ziplist", 13, PAIR, {b"f": b"300", b"g": b""}, string),
    Form("list_quicklist", 14, ziplist(b"a", 1), [b"a", b"1"] * 3, partial(_nodes, b"")),
    Form("hash_listpack", 16, FIELDS, {b"f": b"v", b"g": b"-5"}, string),
    Form("zset_listpack", 17, MEMBERS, {b"m": 1.0, b"n": 2.5, b"o": 2e6}, string),
    Form("list_quicklist_2", 18, listpack(b"a", 1), [b"a", b"1"] * 3, partial(_nodes, b"\x02")),
    Form("list_quicklist_2-plain", 18, length(2) + b"\x01" + string(b"plain") + b"\x01" + lzf(b"y" * 40),
         [b"plain", b"y" * 40]),
    Form("set_listpack", 20, listpack(b"a", -1, 4_000), {b"a", b"-1", b"4000"}, string),
    Form("hash_metadata_pre_ga", 22, length(2) + length(AT) + string(b"f") + b"\xc0\x01" + b"\x00\x01g\x01w", HASH_TTL),
    Form("hash_listpack_ex_pre_ga", 23, EXPIRING, HASH_TTL, string),
    Form("hash_metadata", 24, time(AT) + length(2) + b"\x00\x01g\x01w" + b"\x01\x01f\xc0\x01", HASH_TTL),
    Form("hash_listpack_ex", 25, EXPIRING, HASH_TTL, after_time),
    *(
        Form(f"stream-{level}", number, NODE, stream_value(level), partial(stream_of, level))
        for level, number in STREAM_TYPES.items()
    ),
    Form(
        "array", 28,
        length(4) + b"\x01\x09" + b"\x00\x00\x03abc" + b"\x05\x01" + time(-12) + b"\x06\x02" + double(1.5)
        + b"\x07\x03\x01z",
        Array({0: b"abc", 5: b"-12", 6: b"1.5", 7: b"z"}, 10),
    ),
    Form("hash_template_pack", 30, listpack(7, b"x", 5, b"y"), {b"a": b"x", b"b": b"5", b"id": b"y"}, string),
    Form("hash_template_strings", 32, length(300) + lzf(b"z" * 30), {b"f": b"z" * 30}),
    Form("hash_2", 22, length(2) + b"\x01f\xc0\x01" + time(AT) + b"\x01g\x01w" + time(-1), HASH_TTL, dialect=VALKEY),
]  # fmt: skip
BY_NAME = {form.name: form for form in FORMS}
