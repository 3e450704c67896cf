"""Small RDB files, byte by byte, for tests: written from rdb-format.md alone, with no code of rdbmerge.

rdb(9, select(0), entry(b"k", b"v", expire_at_ms=...), select(1), entry(...))
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

_TABLE: list[int] = []


def crc64(data: bytes) -> int:
    """CRC-64 as Redis has it, one byte after the other (rdb-format.md 1)."""
    if not _TABLE:
        for byte in range(256):
            value = byte
            for _ in range(8):
                value = value >> 1 ^ (0x95AC9329AC4BC9B5 if value & 1 else 0)
            _TABLE.append(value)
    crc = 0
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 255] ^ crc >> 8
    return crc


def length(number: int) -> bytes:
    if number < 64:
        return bytes([number])
    if number < 16384:
        return struct.pack(">H", 0x4000 | number)
    if number < 1 << 32:
        return b"\x80" + struct.pack(">I", number)
    return b"\x81" + struct.pack(">Q", number)


def string(text: bytes) -> bytes:
    return length(len(text)) + text


def select(db: int) -> bytes:
    return b"\xfe" + length(db)


def resize(keys: int, expires: int) -> bytes:
    return b"\xfb" + length(keys) + length(expires)


def aux(name: bytes, value: bytes) -> bytes:
    return b"\xfa" + string(name) + string(value)


def function(code: bytes) -> bytes:
    return b"\xf5" + string(code)


def expiry(at_ms: int) -> bytes:
    return b"\xfc" + struct.pack("<q", at_ms)


def expiry_seconds(at_s: int) -> bytes:
    return b"\xfd" + struct.pack("<i", at_s)


def idle(seconds: int) -> bytes:
    return b"\xf8" + length(seconds)


def freq(counter: int) -> bytes:
    return b"\xf9" + bytes([counter])


def record(
    value_type: int, key: bytes, payload: bytes, *, attributes: bytes = b"", key_bytes: bytes | None = None
) -> bytes:
    """An entry of any type; `key_bytes` is the key as it stands in the file, if not raw."""
    return attributes + bytes([value_type]) + (string(key) if key_bytes is None else key_bytes) + payload


def entry(key: bytes, value: bytes = b"v", *, expire_at_ms: int | None = None) -> bytes:
    """A string."""
    return record(0, key, string(value), attributes=b"" if expire_at_ms is None else expiry(expire_at_ms))


def strings(items: Iterable[bytes]) -> bytes:
    """A count and that many strings: the payload of lists and sets, and of hashes given flat."""
    items = list(items)
    return length(len(items)) + b"".join(map(string, items))


def pairs(items: dict[bytes, bytes]) -> bytes:
    return length(len(items)) + b"".join(string(name) + string(value) for name, value in items.items())


def rdb(
    version: int, *parts: bytes, magic: bytes | None = None, checksum: int | None = None, tail: bytes = b""
) -> bytes:
    """A whole file; `checksum` overrides the true one."""
    body = (magic or b"REDIS%04d" % version) + b"".join(parts) + b"\xff"
    if version >= 5:
        body += struct.pack("<Q", crc64(body) if checksum is None else checksum)
    return body + tail


def slot(key: bytes) -> int:
    """The slot of a cluster that a key is in: CRC16 (XMODEM) of its hash tag, or of all of it (rdb-format.md 12)."""
    _, brace, rest = key.partition(b"{")
    tag, closed, _ = rest.partition(b"}")
    crc = 0
    for byte in tag if brace and closed and tag else key:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc % 16_384
