# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Digests of entries that do not depend on their order, and the comparison of spans of two files.

Compiled when it can be, interpreted as it stands when not; both ways give the same numbers. One call a batch.
Knows nothing of dbs, of rules or of which file is which.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

try:
    import cython  # the Cython compiler must see this very import
except ModuleNotFoundError:
    from rdbmerge import _cython as cython

if cython.compiled:
    from cython.cimports.libc.string import memcmp
    from cython.cimports.rdbmerge.format._hash_cy import xxh64
    from cython.cimports.rdbmerge.format._xxh3 import rdbm_xxh3
else:
    from xxhash import xxh3_64_intdigest

    from rdbmerge.format._hash_cy import xxh64

if TYPE_CHECKING:
    from collections.abc import Sequence

from rdbmerge.format import codes

COMPILED: bool = cython.compiled

_KEY_ENCODED = cython.declare(cython.int, codes.KEY_ENCODED)
_HAS_IDLE = cython.declare(cython.int, codes.HAS_IDLE)
_HAS_FREQ = cython.declare(cython.int, codes.HAS_FREQ)
_NO_EXPIRY = cython.declare(cython.longlong, codes.NO_EXPIRY)
_FIRST = cython.declare(cython.longlong, codes.FIRST_EXPIRY_MS)
_LATEST = cython.declare(cython.longlong, codes.LATEST_EXPIRY_MS)
# Odd numbers without meaning, so that the facts of an entry and its two sums are mixed differently.
_FACTS = cython.declare(cython.ulonglong, 0xA0761D6478BD642F)
_LANE_A = cython.declare(cython.ulonglong, 0xE7037ED1A0B428DB)
_LANE_B = cython.declare(cython.ulonglong, 0x8EBC6AF09C88C6E3)
_XXH3_BYTES = cython.declare(cython.Py_ssize_t, 240)
_MASK = cython.declare(cython.ulonglong, 0xFFFFFFFFFFFFFFFF)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _mix(h: cython.ulonglong) -> cython.ulonglong:
    """Spread every bit of `h` over all 64 (the finaliser of splitmix64); interpreted, the same with masks."""
    if cython.compiled:
        h = (h ^ (h >> 30)) * cython.cast(cython.ulonglong, 0xBF58476D1CE4E5B9)
        h = (h ^ (h >> 27)) * cython.cast(cython.ulonglong, 0x94D049BB133111EB)
    else:
        h = ((h ^ (h >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        h = ((h ^ (h >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return h ^ (h >> 31)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _shifted(expire_at_ms: cython.longlong, ttl_offset_ms: cython.longlong) -> cython.longlong:
    """No sum here can leave 64 bits: offsets are far smaller (`units.parse_duration_ms`) than the limits are apart."""
    if expire_at_ms == _NO_EXPIRY:
        return expire_at_ms
    if expire_at_ms > _LATEST:
        expire_at_ms = _LATEST
    if expire_at_ms < -_LATEST:
        expire_at_ms = -_LATEST
    expire_at_ms += ttl_offset_ms
    if expire_at_ms > _LATEST:
        return _LATEST
    return _FIRST if expire_at_ms < _FIRST else expire_at_ms


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _facts(
    kind: cython.int, flag: cython.int, expire_at_ms: cython.longlong, hint: cython.longlong
) -> cython.ulonglong:
    """Type, expiry and hint in 64 bits."""
    h: cython.ulonglong = kind
    if flag & (_HAS_IDLE | _HAS_FREQ):
        h |= (flag & (_HAS_IDLE | _HAS_FREQ)) << 8
        h = _mix((h + _mix(hint & _MASK)) & _MASK)
    return _mix(((h ^ _FACTS) + _mix(expire_at_ms & _MASK)) & _MASK)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _lane_a(key: cython.ulonglong, facts: cython.ulonglong, value: cython.ulonglong) -> cython.ulonglong:
    return _mix((value + _mix((key ^ facts) ^ _LANE_A)) & _MASK)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _lane_b(key: cython.ulonglong, facts: cython.ulonglong, value: cython.ulonglong) -> cython.ulonglong:
    return _mix(_mix((facts + _LANE_B) & _MASK) ^ _mix((value ^ _mix((key + _LANE_B) & _MASK))))


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _value_hash(
    p: cython.p_const_uchar, start: cython.Py_ssize_t, size: cython.Py_ssize_t, seed: cython.ulonglong
) -> cython.ulonglong:
    """XXH3 where values are small, which is twice as fast there; XXH64 for the others."""
    if size > _XXH3_BYTES:
        return xxh64(p, start, size, seed)
    if cython.compiled:
        return rdbm_xxh3(p + start, size, seed)
    else:
        return xxh3_64_intdigest(p[start : start + size], seed)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _key_hash(
    p: cython.p_const_uchar,
    start: cython.Py_ssize_t,
    size: cython.Py_ssize_t,
    prefix: cython.p_const_uchar,
    prefix_len: cython.Py_ssize_t,
) -> cython.ulonglong:
    """Of the key behind `prefix`; of the whole key, in another way, if it does not start with it."""
    if prefix_len == 0:
        return xxh64(p, start, size, 0)
    if size >= prefix_len:
        if cython.compiled:
            if memcmp(p + start, prefix, prefix_len) == 0:
                return xxh64(p, start + prefix_len, size - prefix_len, 0)
        elif p[start : start + prefix_len] == prefix:
            return xxh64(p, start + prefix_len, size - prefix_len, 0)
    return xxh64(p, start, size, 1)


def digest_rows(
    view: cython.const[cython.uchar][::1],
    types: cython.const[cython.uchar][::1],
    flags: cython.const[cython.uchar][::1],
    expire_at_ms: cython.const[cython.longlong][::1],
    hints: cython.const[cython.longlong][::1],
    key_len: cython.const[cython.uint][::1],
    value_start: cython.const[cython.longlong][::1],
    ends: cython.const[cython.longlong][::1],
    key_hash: cython.ulonglong[::1],
    left_out: cython.const[cython.uchar][::1],
    rows: cython.Py_ssize_t,
    ttl_offset_ms: cython.longlong,
    prefix: cython.const[cython.uchar][::1],
) -> tuple[int, int]:
    """The two sums (modulo 2^64) over the rows whose `left_out` is 0.

    Fills `key_hash` for every row; those with an encoded key must hold theirs already. Keys are hashed without
    `prefix`, so that a file with prefixed keys compares with one without.
    """
    if rows == 0:
        return 0, 0
    p: cython.p_const_uchar
    q: cython.p_const_uchar
    prefix_len: cython.Py_ssize_t = len(prefix)
    if cython.compiled:
        p = cython.address(view[0])
        q = cython.address(prefix[0]) if prefix_len else cython.NULL
    else:
        p, q = view, prefix
        # Whole columns as Python's own integers: those of NumPy overflow, and each costs more than the sum it enters.
        types, flags, expire_at_ms, hints, key_len, value_start, ends, left_out = (
            column[:rows].tolist()
            for column in (types, flags, expire_at_ms, hints, key_len, value_start, ends, left_out)
        )
        hash_column, key_hash = key_hash, key_hash[:rows].tolist()
    sum_a: cython.ulonglong = 0
    sum_b: cython.ulonglong = 0
    key: cython.ulonglong
    facts: cython.ulonglong
    value: cython.ulonglong
    row: cython.Py_ssize_t
    with cython.nogil:
        for row in range(rows):
            if flags[row] & _KEY_ENCODED:
                key = key_hash[row]
            else:
                key = _key_hash(p, value_start[row] - key_len[row], key_len[row], q, prefix_len)
                key_hash[row] = key
            if left_out[row]:
                continue
            value = _value_hash(p, value_start[row], ends[row] - value_start[row], key)
            facts = _facts(types[row], flags[row], _shifted(expire_at_ms[row], ttl_offset_ms), hints[row])
            sum_a = (sum_a + _lane_a(key, facts, value)) & _MASK
            sum_b = (sum_b + _lane_b(key, facts, value)) & _MASK
    if not cython.compiled:
        hash_column[:rows] = key_hash
    return sum_a, sum_b


def digest_one(
    key: cython.ulonglong,
    value: cython.ulonglong,
    kind: cython.int,
    flag: cython.int,
    expire_at_ms: cython.longlong,
    hint: cython.longlong,
) -> tuple[int, int]:
    """The two numbers of one entry whose value was hashed elsewhere; its expiry is already shifted."""
    facts: cython.ulonglong = _facts(kind, flag, expire_at_ms, hint)
    return _lane_a(key, facts, value), _lane_b(key, facts, value)


def mixed(h: cython.ulonglong) -> int:
    """Every bit of `h` spread over all 64."""
    return _mix(h)


def shifted(expire_at_ms: cython.longlong, ttl_offset_ms: cython.longlong) -> int:
    """An expiry (NO_EXPIRY: none) moved by an offset, within what may be written."""
    return _shifted(expire_at_ms, ttl_offset_ms)


def same_spans(
    view: cython.const[cython.uchar][::1],
    starts: cython.const[cython.longlong][::1],
    ends: cython.const[cython.longlong][::1],
    other_view: cython.const[cython.uchar][::1],
    other_starts: cython.const[cython.longlong][::1],
    other_ends: cython.const[cython.longlong][::1],
    same: cython.uchar[::1],
) -> None:
    """Set `same` to 1 where the span of one file holds the bytes of the span of the other, to 0 elsewhere."""
    if len(same) == 0:
        return
    i: cython.Py_ssize_t
    size: cython.Py_ssize_t
    if not cython.compiled:
        _same_interpreted(view, starts, ends, other_view, other_starts, other_ends, same)
        return
    p: cython.p_const_uchar = cython.address(view[0])
    q: cython.p_const_uchar = cython.address(other_view[0])
    with cython.nogil:
        for i in range(len(same)):
            size = ends[i] - starts[i]
            same[i] = 0
            if size == other_ends[i] - other_starts[i]:
                same[i] = memcmp(p + starts[i], q + other_starts[i], size) == 0


def _same_interpreted(
    view: memoryview,
    starts: Sequence[int],
    ends: Sequence[int],
    other_view: memoryview,
    other_starts: Sequence[int],
    other_ends: Sequence[int],
    same: memoryview,
) -> None:
    for i in range(len(same)):
        same[i] = view[starts[i] : ends[i]] == other_view[other_starts[i] : other_ends[i]]
