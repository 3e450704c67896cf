# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""The slot of a cluster that a key belongs to: CRC16 of the key or of its hash tag (rdb-format.md 12).

Compiled when it can be, interpreted as it stands when not. Knows nothing of shards.
"""

from __future__ import annotations

from binascii import crc_hqx

try:
    import cython  # the Cython compiler must see this very import
except ModuleNotFoundError:
    from rdbmerge import _cython as cython

from rdbmerge.format import codes

COMPILED: bool = cython.compiled

_KEY_ENCODED = cython.declare(cython.int, codes.KEY_ENCODED)


def _crc16_table() -> bytes:
    """256 entries of two bytes, the lower one first: polynomial 0x1021, not reflected."""
    table = bytearray()
    for byte in range(256):
        crc = byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ (0x1021 if crc & 0x8000 else 0)) & 0xFFFF
        table += crc.to_bytes(2, "little")
    return bytes(table)


_TABLE_BYTES: bytes = _crc16_table()
_TABLE = cython.declare(cython.const[cython.uchar][::1], _TABLE_BYTES)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _byte(
    p: cython.p_const_uchar,
    start: cython.Py_ssize_t,
    prefix: cython.p_const_uchar,
    prefix_len: cython.Py_ssize_t,
    place: cython.Py_ssize_t,
) -> cython.int:
    """A byte of prefix and key together."""
    return prefix[place] if place < prefix_len else p[start + place - prefix_len]


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _slot(
    p: cython.p_const_uchar,
    start: cython.Py_ssize_t,
    size: cython.Py_ssize_t,
    prefix: cython.p_const_uchar,
    prefix_len: cython.Py_ssize_t,
) -> cython.int:
    """Of the key of `size` bytes at `p[start]` with `prefix` before it."""
    if not cython.compiled:
        return slot_of(bytes(prefix[:prefix_len]) + bytes(p[start : start + size]))
    first: cython.Py_ssize_t = 0
    last: cython.Py_ssize_t = prefix_len + size
    opening: cython.Py_ssize_t = 0
    closing: cython.Py_ssize_t
    crc: cython.int = 0
    at: cython.int
    while opening < last and _byte(p, start, prefix, prefix_len, opening) != 123:
        opening += 1
    closing = opening + 1
    while closing < last and _byte(p, start, prefix, prefix_len, closing) != 125:
        closing += 1
    if closing < last and closing > opening + 1:
        first = opening + 1
        last = closing
    while first < last:
        at = ((crc >> 8) ^ _byte(p, start, prefix, prefix_len, first)) & 0xFF
        crc = ((crc << 8) ^ (_TABLE[2 * at] | _TABLE[2 * at + 1] << 8)) & 0xFFFF
        first += 1
    return crc & 0x3FFF


def slot_of(key: bytes) -> int:
    """The slot of a key, 0 .. 16383, in plain Python."""
    opening = key.find(b"{")
    if opening >= 0:
        closing = key.find(b"}", opening + 1)
        if closing > opening + 1:
            key = key[opening + 1 : closing]
    return crc_hqx(key, 0) & 0x3FFF


def key_slots(
    view: cython.const[cython.uchar][::1],
    flags: cython.const[cython.uchar][::1],
    key_len: cython.const[cython.uint][::1],
    value_start: cython.const[cython.longlong][::1],
    rows: cython.Py_ssize_t,
    prefix: cython.const[cython.uchar][::1],
    slots: cython.ushort[::1],
) -> None:
    """The slot of each row's key, with `prefix` before it; rows with an encoded key are left to the caller."""
    row: cython.Py_ssize_t
    p: cython.p_const_uchar
    q: cython.p_const_uchar
    prefix_len: cython.Py_ssize_t = len(prefix)
    if rows == 0:
        return
    if cython.compiled:
        p = cython.address(view[0])
        q = cython.address(prefix[0]) if prefix_len else cython.NULL
    else:
        p, q = view, prefix
        flags, key_len, value_start = map(memoryview, (flags, key_len, value_start))
    with cython.nogil:
        for row in range(rows):
            if flags[row] & _KEY_ENCODED == 0:
                slots[row] = _slot(p, value_start[row] - key_len[row], key_len[row], q, prefix_len)
