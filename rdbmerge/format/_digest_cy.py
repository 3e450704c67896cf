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
    from cython.cimports.rdbmerge.format._hash_cy import bytes_hash, mix, xxh64
    from cython.cimports.rdbmerge.format._meaning_cy import Meaning
else:
    from rdbmerge.format._hash_cy import bytes_hash, mix, xxh64
    from rdbmerge.format._meaning_cy import Meaning

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
_MASK = cython.declare(cython.ulonglong, 0xFFFFFFFFFFFFFFFF)
# Added to the logical type where the meaning of a value counts, so that no type number is equal to it.
_BY_MEANING = cython.declare(cython.int, 256)


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
        h = mix((h + mix(hint & _MASK)) & _MASK)
    return mix(((h ^ _FACTS) + mix(expire_at_ms & _MASK)) & _MASK)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _lane_a(key: cython.ulonglong, facts: cython.ulonglong, value: cython.ulonglong) -> cython.ulonglong:
    return mix((value + mix((key ^ facts) ^ _LANE_A)) & _MASK)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _lane_b(key: cython.ulonglong, facts: cython.ulonglong, value: cython.ulonglong) -> cython.ulonglong:
    return mix(mix((facts + _LANE_B) & _MASK) ^ mix((value ^ mix((key + _LANE_B) & _MASK))))


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
    by_meaning: cython.const[cython.uchar][::1],
    meaning: Meaning,
    ignored_flags: cython.int,
    lane_a: cython.ulonglong[::1],
    lane_b: cython.ulonglong[::1],
) -> cython.bint:
    """The two numbers of each row into `lane_a` and `lane_b`, 0 where `left_out` is not 0. False: `meaning` has failed.

    Fills `key_hash` for every row; those with an encoded key must hold theirs already. Keys are hashed without
    `prefix`, so that a file with prefixed keys compares with one without. `by_meaning`, 256 cells: 0 for types whose
    values count as the bytes they are; as what they mean: 1 with their type, 2 in any form. `ignored_flags`: hints that
    do not count.
    """
    if rows == 0:
        return True
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
        columns = key_hash, lane_a, lane_b
        key_hash, lane_a, lane_b = key_hash[:rows].tolist(), [0] * rows, [0] * rows
    key: cython.ulonglong
    facts: cython.ulonglong
    value: cython.ulonglong
    kind: cython.int
    row: cython.Py_ssize_t
    fine: cython.bint = True
    with cython.nogil:
        for row in range(rows):
            if flags[row] & _KEY_ENCODED:
                key = key_hash[row]
            else:
                key = _key_hash(p, value_start[row] - key_len[row], key_len[row], q, prefix_len)
                key_hash[row] = key
            if left_out[row]:
                lane_a[row] = 0
                lane_b[row] = 0
                continue
            kind = types[row]
            if by_meaning[kind]:
                value = meaning.value_hash(kind, value_start[row], ends[row], key)
                if meaning.failed:
                    fine = False
                    break
                if by_meaning[kind] == 2:
                    kind = _BY_MEANING + meaning.items.logical_of(kind)
            else:
                value = bytes_hash(p, value_start[row], ends[row] - value_start[row], key)
            facts = _facts(kind, flags[row] & ~ignored_flags, _shifted(expire_at_ms[row], ttl_offset_ms), hints[row])
            lane_a[row] = _lane_a(key, facts, value)
            lane_b[row] = _lane_b(key, facts, value)
    if not cython.compiled:
        for column, cells in zip(columns, (key_hash, lane_a, lane_b), strict=True):
            column[:rows] = cells
    return fine


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
