# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""XXH64 and XXH3, the hashes of keys and values, what mixes their bits, and the hashing of a batch of keys.

Interpreted, a hash is the library `xxhash`; compiled, the same function is written out here, because a call into
Python for each key costs more than the whole walk. The tests hold the two equal.
Knows nothing of dbs or of expiries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

try:
    import cython  # the Cython compiler must see this very import
except ModuleNotFoundError:
    from rdbmerge import _cython as cython

if cython.compiled:
    from cython.cimports.rdbmerge.format._xxh3 import rdbm_xxh3
else:
    from xxhash import xxh3_64_intdigest

from xxhash import xxh64_intdigest

if TYPE_CHECKING:
    import numpy as np

from rdbmerge.format import codes

COMPILED: bool = cython.compiled
_KEY_ENCODED = cython.declare(cython.int, codes.KEY_ENCODED)
_XXH3_BYTES = cython.declare(cython.Py_ssize_t, 240)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _load64(p: cython.p_const_uchar) -> cython.ulonglong:
    value: cython.ulonglong = 0
    i: cython.int
    # Compilers make one load of this on little-endian machines; it is right on the others too.
    for i in range(8):
        value |= cython.cast(cython.ulonglong, p[i]) << (8 * i)
    return value


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _rotate(value: cython.ulonglong, bits: cython.int) -> cython.ulonglong:
    return (value << bits) | (value >> (64 - bits))


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _round(lane: cython.ulonglong, word: cython.ulonglong) -> cython.ulonglong:
    p1: cython.ulonglong = 0x9E3779B185EBCA87
    p2: cython.ulonglong = 0xC2B2AE3D27D4EB4F
    return _rotate(lane + word * p2, 31) * p1


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _merge(h: cython.ulonglong, lane: cython.ulonglong) -> cython.ulonglong:
    p1: cython.ulonglong = 0x9E3779B185EBCA87
    p4: cython.ulonglong = 0x85EBCA77C2B2AE63
    return (h ^ _round(0, lane)) * p1 + p4


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _xxh64_compiled(p: cython.p_const_uchar, size: cython.Py_ssize_t, seed: cython.ulonglong) -> cython.ulonglong:
    p1: cython.ulonglong = 0x9E3779B185EBCA87
    p2: cython.ulonglong = 0xC2B2AE3D27D4EB4F
    p3: cython.ulonglong = 0x165667B19E3779F9
    p4: cython.ulonglong = 0x85EBCA77C2B2AE63
    p5: cython.ulonglong = 0x27D4EB2F165667C5
    h: cython.ulonglong
    v1: cython.ulonglong
    v2: cython.ulonglong
    v3: cython.ulonglong
    v4: cython.ulonglong
    word: cython.ulonglong
    left: cython.Py_ssize_t = size
    i: cython.int
    if left >= 32:
        v1 = seed + p1 + p2
        v2 = seed + p2
        v3 = seed
        v4 = seed - p1
        while left >= 32:
            v1 = _round(v1, _load64(p))
            v2 = _round(v2, _load64(p + 8))
            v3 = _round(v3, _load64(p + 16))
            v4 = _round(v4, _load64(p + 24))
            p += 32
            left -= 32
        h = _rotate(v1, 1) + _rotate(v2, 7) + _rotate(v3, 12) + _rotate(v4, 18)
        h = _merge(_merge(_merge(_merge(h, v1), v2), v3), v4)
    else:
        h = seed + p5
    h += cython.cast(cython.ulonglong, size)
    while left >= 8:
        h = _rotate(h ^ _round(0, _load64(p)), 27) * p1 + p4
        p += 8
        left -= 8
    if left >= 4:
        word = 0
        for i in range(4):
            word |= cython.cast(cython.ulonglong, p[i]) << (8 * i)
        h = _rotate(h ^ (word * p1), 23) * p2 + p3
        p += 4
        left -= 4
    while left > 0:
        h = _rotate(h ^ (cython.cast(cython.ulonglong, p[0]) * p5), 11) * p1
        p += 1
        left -= 1
    h = (h ^ (h >> 33)) * p2
    h = (h ^ (h >> 29)) * p3
    return h ^ (h >> 32)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def xxh64(
    p: cython.p_const_uchar, start: cython.Py_ssize_t, size: cython.Py_ssize_t, seed: cython.ulonglong
) -> cython.ulonglong:
    """XXH64 of the `size` bytes at `p[start]`."""
    if cython.compiled:
        return _xxh64_compiled(p + start, size, seed)
    else:
        return xxh64_intdigest(p[start : start + size], seed)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def mix(h: cython.ulonglong) -> cython.ulonglong:
    """Spread every bit of `h` over all 64 (the finaliser of splitmix64); interpreted, the same with masks."""
    if cython.compiled:
        h = (h ^ (h >> 30)) * cython.cast(cython.ulonglong, 0xBF58476D1CE4E5B9)
        h = (h ^ (h >> 27)) * cython.cast(cython.ulonglong, 0x94D049BB133111EB)
    else:
        h = ((h ^ (h >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        h = ((h ^ (h >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return h ^ (h >> 31)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def bytes_hash(
    p: cython.p_const_uchar, start: cython.Py_ssize_t, size: cython.Py_ssize_t, seed: cython.ulonglong
) -> cython.ulonglong:
    """XXH3 where values are small, which is twice as fast there; XXH64 for the others."""
    if size > _XXH3_BYTES:
        return xxh64(p, start, size, seed)
    if cython.compiled:
        return rdbm_xxh3(p + start, size, seed)
    else:
        return xxh3_64_intdigest(p[start : start + size], seed)


def mixed(h: cython.ulonglong) -> int:
    """Every bit of `h` spread over all 64."""
    return mix(h)


def xxh64_of(data: cython.const[cython.uchar][::1], seed: cython.ulonglong = 0) -> int:
    """XXH64 of `data`, 0 .. 2^64 - 1."""
    if cython.compiled:
        if len(data) == 0:
            return _xxh64_compiled(cython.NULL, 0, seed)
        return _xxh64_compiled(cython.address(data[0]), len(data), seed)
    else:
        return xxh64_intdigest(data, seed)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _int_text_hash(p: cython.p_const_uchar, pos: cython.Py_ssize_t) -> cython.ulonglong:
    """Hash of the decimal text of the integer string at `p[pos]` (rdb-format.md 2); compiled only."""
    text: cython.uchar[12]  # noqa: F842
    at: cython.int = 12
    size: cython.int = 1 << (p[pos] & 3)
    raw: cython.longlong = 0
    left: cython.ulonglong
    i: cython.int
    for i in range(size):
        raw |= cython.cast(cython.longlong, p[pos + 1 + i]) << (8 * i)
    if raw >= cython.cast(cython.longlong, 1) << (8 * size - 1):
        raw -= cython.cast(cython.longlong, 1) << (8 * size)
    left = -raw if raw < 0 else raw
    while True:
        at -= 1
        text[at] = 48 + left % 10  # noqa: F821
        left //= 10
        if left == 0:
            break
    if raw < 0:
        at -= 1
        text[at] = 45  # noqa: F821
    return _xxh64_compiled(cython.address(text[at]), 12 - at, 0)  # noqa: F821


def hash_keys(
    view: cython.const[cython.uchar][::1],
    flags: cython.const[cython.uchar][::1],
    key_start: cython.const[cython.longlong][::1],
    key_len: cython.const[cython.uint][::1],
    value_start: cython.const[cython.longlong][::1],
    key_hash: cython.ulonglong[::1],
    rows: cython.Py_ssize_t,
) -> cython.Py_ssize_t:
    """Hash the decoded key of each of the first `rows` rows into `key_hash`.

    Returns the number of keys that are stored as LZF: their rows hold 0 and are for the caller (`columns.hash_keys`),
    as are all encoded keys when interpreted.
    """
    if not cython.compiled:
        return _hash_keys_interpreted(view, flags, key_len, value_start, key_hash, rows)
    left_over: cython.Py_ssize_t = 0
    i: cython.Py_ssize_t
    if rows == 0:
        return 0
    p: cython.p_const_uchar = cython.address(view[0])
    with cython.nogil:
        for i in range(rows):
            if flags[i] & _KEY_ENCODED == 0:
                key_hash[i] = _xxh64_compiled(p + value_start[i] - key_len[i], key_len[i], 0)
            elif p[key_start[i]] == 0xC3:
                key_hash[i] = 0
                left_over += 1
            else:
                key_hash[i] = _int_text_hash(p, key_start[i])
    return left_over


def _hash_keys_interpreted(
    view: memoryview,
    flags: np.ndarray,
    key_len: np.ndarray,
    value_start: np.ndarray,
    key_hash: np.ndarray,
    rows: int,
) -> int:
    """The same for the interpreter: bulk conversions first, then one library call a key."""
    ends = value_start[:rows].tolist()
    sizes = key_len[:rows].tolist()
    key_hash[:rows] = [xxh64_intdigest(view[end - size : end]) for end, size in zip(ends, sizes, strict=True)]
    encoded = (flags[:rows] & _KEY_ENCODED) != 0
    key_hash[:rows][encoded] = 0
    return int(encoded.sum())
