"""One entry of each kind that some targets cannot hold, or cannot hold whole, made by hand; and what is left of it."""

from __future__ import annotations

from dataclasses import dataclass

from blobbytes import group, stream
from forms import BY_NAME
from rdbbytes import function, record, string

META = b"\xf3\x01" + b"\0\0\0\1" + b"\x02\x07\x00"  # key metadata of one class: an unsigned 7
LIBRARY = function(b"#!lua name=lib\nreturn 1")
MODULE_DATA = b"\xf7\x81" + bytes.fromhex("BDE72DA2BB1EB400") + b"\x02\x01\x02\x05\x00"  # of vectorset, before the keys


@dataclass(frozen=True)
class Thing:
    """An entry, a target that cannot hold it, and why. `whole`: it cannot be held at all, and so not be stripped."""

    name: str
    entry: bytes
    target: str
    why: str
    whole: bool = False
    version: int = 15  # of the file it may stand in


def of_form(name: str, key: bytes | None = None) -> bytes:
    """The entry of a form of `forms`, under its name."""
    form = BY_NAME[name]
    return record(form.number, name.encode() if key is None else key, form.payload)


def nacked(level: int = 5) -> bytes:
    """A stream one of whose pending entries nobody owns; its producers sent nothing."""
    held = group(level, b"g", pending=[((5, 1), 100, 2)], consumers=[], nacked=[(5, 1)])
    return stream(level, groups=[held])


def remembering(level: int) -> bytes:
    """A stream that remembers what a producer sent, and of which nothing is pending."""
    return stream(level, producers={b"p": {b"1": (5, 1)}}, iids=(1, 0))


FIELDS = "has no expiries of hash fields (1 here)"
THINGS = [
    Thing("hash_listpack_ex", of_form("hash_listpack_ex"), "redis-7.2", FIELDS),
    Thing("hash_metadata", of_form("hash_metadata"), "redis-2.6", FIELDS),
    Thing("hash_metadata_pre_ga", of_form("hash_metadata_pre_ga"), "valkey-8.1", FIELDS),
    Thing("hash_listpack_ex_pre_ga", of_form("hash_listpack_ex_pre_ga"), "elasticache-redis-7.1", FIELDS),
    Thing("array", of_form("array"), "redis-8.6", "has no arrays", whole=True),
    Thing("module_2", of_form("module_2"), "redis-3.2", "has no values of modules", whole=True),
    Thing("module_2", of_form("module_2"), "memorydb-redis-7.1", "has no values of modules", whole=True),
    Thing("stream-1", of_form("stream-1"), "redis-4.0", "has no streams", whole=True),
    Thing("stream-5", of_form("stream-5"), "redis-3.2", "has no streams", whole=True),
    Thing("nacked", record(27, b"nacked", nacked()), "redis-8.6", "has no pending entries without an owner (1 here)"),
    Thing("nacked", record(27, b"nacked", nacked()), "redis-5.0", "has no pending entries without an owner (1 here)"),
    Thing("producers", record(26, b"producers", remembering(4)), "redis-7.2", "has no memory of a stream's producers"),
    Thing("producers", record(27, b"producers", remembering(5)), "valkey-9.1", "has no memory of a stream's producers"),
    Thing("stream-5", of_form("stream-5"), "redis-7.4",
          "has no pending entries without an owner (1 here) and no memory of a stream's producers"),
    Thing("meta", record(0, b"meta", string(b"v"), attributes=META), "redis-8.4", "has no metadata of modules at keys"),
    Thing("meta", record(25, b"meta", BY_NAME["hash_listpack_ex"].payload, attributes=META), "valkey-8.1",
          "has no metadata of modules at keys and no expiries of hash fields (1 here)"),
    Thing("hash_2", of_form("hash_2"), "redis-7.2", FIELDS, version=80),
]  # fmt: skip
IDS = [f"{thing.name}-{thing.target}" for thing in THINGS]
