# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Asks for many keys at once, and takes what a server answers: keys out of SCAN, entries out of DUMP and expiries.

Works on bytes of commands and replies, one call a batch; who carries them is not known here. Each DUMP is checked
(stamp and CRC-64, rdb-format.md 10) and written out as the entry of an RDB. Compiled when it can be, interpreted as it
stands when not.
"""

from __future__ import annotations

try:
    import cython  # the Cython compiler must see this very import
except ModuleNotFoundError:
    from rdbmerge import _cython as cython

if cython.compiled:
    from cython.cimports.libc.string import memcpy
    from cython.cimports.rdbmerge.format._crc64_cy import crc64
else:
    from rdbmerge.format._crc64_cy import crc64

from rdbmerge.format import codes

COMPILED: bool = cython.compiled

_TAKEN = cython.declare(cython.int, codes.TAKEN)
_GONE = cython.declare(cython.int, codes.GONE)
_REFUSED = cython.declare(cython.int, codes.REFUSED)
_DAMAGED = cython.declare(cython.int, codes.DAMAGED)
_WITH_META = cython.declare(cython.int, codes.WITH_META)
_INCOMPLETE = cython.declare(cython.Py_ssize_t, codes.INCOMPLETE)
_GARBLED = cython.declare(cython.Py_ssize_t, codes.GARBLED)
_OP_EXPIRETIME_MS = cython.declare(cython.int, codes.OP_EXPIRETIME_MS)
_OP_KEY_META = cython.declare(cython.int, codes.OP_KEY_META)
_LATEST = cython.declare(cython.longlong, codes.LATEST_EXPIRY_MS)
_NO_EXPIRY = cython.declare(cython.longlong, codes.NO_EXPIRY)
_FOOTER_BYTES = cython.declare(cython.Py_ssize_t, 10)  # stamp and CRC-64


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _number_at(
    p: cython.p_const_uchar, start: cython.Py_ssize_t, end: cython.Py_ssize_t, value: cython.p_longlong
) -> cython.Py_ssize_t:
    """The number from `start` to its line's end into `value[0]`; where the next line begins, or what is wrong."""
    pos: cython.Py_ssize_t = start
    found: cython.longlong = 0
    below: cython.bint = False
    digits: cython.int = 0
    if pos < end and p[pos] == 45:
        below = True
        pos += 1
    while pos < end and 48 <= p[pos] <= 57:
        if digits == 18:  # no length and no time is longer
            return _GARBLED
        found = found * 10 + (p[pos] - 48)
        digits += 1
        pos += 1
    if pos >= end:
        return _INCOMPLETE
    if digits == 0 or p[pos] != 13:
        return _GARBLED
    if pos + 1 >= end:
        return _INCOMPLETE
    if p[pos + 1] != 10:
        return _GARBLED
    value[0] = -found if below else found
    return pos + 2


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _line_end(p: cython.p_const_uchar, start: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.Py_ssize_t:
    """Where the line after this one begins."""
    pos: cython.Py_ssize_t = start
    while pos < end and p[pos] != 10:
        pos += 1
    return pos + 1 if pos < end else _INCOMPLETE


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _put_bytes(
    out: cython.p_uchar,
    at: cython.Py_ssize_t,
    p: cython.p_const_uchar,
    start: cython.Py_ssize_t,
    size: cython.Py_ssize_t,
) -> cython.Py_ssize_t:
    if cython.compiled:
        memcpy(out + at, p + start, size)
    else:
        out[at : at + size] = p[start : start + size]
    return at + size


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _put_number(out: cython.p_uchar, at: cython.Py_ssize_t, number: cython.Py_ssize_t) -> cython.Py_ssize_t:
    """Decimal digits."""
    size: cython.Py_ssize_t = 1
    rest: cython.Py_ssize_t = number
    while rest > 9:
        rest = rest // 10
        size += 1
    at += size
    rest = at
    while size > 0:
        rest -= 1
        out[rest] = 48 + number % 10
        number = number // 10
        size -= 1
    return at


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _put_length(out: cython.p_uchar, at: cython.Py_ssize_t, number: cython.Py_ssize_t) -> cython.Py_ssize_t:
    """The length of a string in an RDB (rdb-format.md 2)."""
    shift: cython.int
    if number < 0x40:
        out[at] = number
        return at + 1
    if number < 0x4000:
        out[at] = 0x40 | number >> 8
        out[at + 1] = number & 0xFF
        return at + 2
    shift = 24 if number >> 32 == 0 else 56
    out[at] = 0x80 if shift == 24 else 0x81
    at += 1
    while shift >= 0:
        out[at] = (number >> shift) & 0xFF
        at += 1
        shift -= 8
    return at


def write_asks(
    keys: cython.const[cython.uchar][::1],
    starts: cython.const[cython.longlong][::1],
    ends: cython.const[cython.longlong][::1],
    first: cython.Py_ssize_t,
    last: cython.Py_ssize_t,
    heads: tuple[bytes, ...],
    out: cython.uchar[::1],
) -> int:
    """For each key from `first` to before `last`, one command a head into `out`; how many bytes were written.

    A head is a command up to its last argument, which is the key: `*2\\r\\n$4\\r\\nDUMP\\r\\n`. `out` must have room:
    a head and the key with 24 bytes each.
    """
    if last <= first:
        return 0
    number: cython.Py_ssize_t = len(heads)
    one: bytes = heads[0]
    two: bytes = heads[number - 1]
    one_len: cython.Py_ssize_t = len(one)
    two_len: cython.Py_ssize_t = len(two)
    p: cython.p_const_uchar
    a: cython.p_const_uchar
    b: cython.p_const_uchar
    q: cython.p_uchar
    if cython.compiled:
        p = cython.address(keys[0]) if len(keys) else cython.NULL
        a = one
        b = two
        q = cython.address(out[0])
    else:
        p, a, b, q = memoryview(keys), one, two, out
        starts, ends = starts.tolist(), ends.tolist()
    at: cython.Py_ssize_t = 0
    row: cython.Py_ssize_t
    again: cython.Py_ssize_t
    size: cython.Py_ssize_t
    with cython.nogil:
        for row in range(first, last):
            size = ends[row] - starts[row]
            for again in range(number):
                if again == 0:
                    at = _put_bytes(q, at, a, 0, one_len)
                else:
                    at = _put_bytes(q, at, b, 0, two_len)
                q[at] = 36
                at = _put_number(q, at + 1, size)
                q[at] = 13
                q[at + 1] = 10
                at = _put_bytes(q, at + 2, p, starts[row], size)
                q[at] = 13
                q[at + 1] = 10
                at += 2
    return at


def read_keys(
    view: cython.const[cython.uchar][::1],
    start: cython.Py_ssize_t,
    end: cython.Py_ssize_t,
    count: cython.Py_ssize_t,
    starts: cython.longlong[::1],
    ends: cython.longlong[::1],
) -> int:
    """Where `count` bulk strings from `start` on lie; where they end, or codes.INCOMPLETE or codes.GARBLED."""
    p: cython.p_const_uchar
    value: cython.longlong[1]
    if cython.compiled:
        p = cython.address(view[0]) if len(view) else cython.NULL
    else:
        p, value = view, [0]
    pos: cython.Py_ssize_t = start
    row: cython.Py_ssize_t
    with cython.nogil:
        for row in range(count):
            if pos >= end:
                pos = _INCOMPLETE
                break
            if p[pos] != 36:
                pos = _GARBLED
                break
            pos = _number_at(p, pos + 1, end, value)
            if pos < 0:
                break
            if value[0] < 0:
                pos = _GARBLED
                break
            if value[0] > end - pos - 2:
                pos = _INCOMPLETE
                break
            starts[row] = pos
            pos += value[0]
            ends[row] = pos
            if p[pos] != 13 or p[pos + 1] != 10:
                pos = _GARBLED
                break
            pos += 2
    return pos


def take_dumps(
    view: cython.const[cython.uchar][::1],
    start: cython.Py_ssize_t,
    end: cython.Py_ssize_t,
    keys: cython.const[cython.uchar][::1],
    starts: cython.const[cython.longlong][::1],
    ends: cython.const[cython.longlong][::1],
    first: cython.Py_ssize_t,
    last: cython.Py_ssize_t,
    now_ms: cython.longlong,
    out: cython.uchar[::1],
    out_start: cython.Py_ssize_t,
    status: cython.uchar[::1],
    entry_start: cython.longlong[::1],
    reply_start: cython.longlong[::1],
    stamps: cython.ushort[::1],
) -> tuple[int, int, int]:
    """Takes the pairs of replies (DUMP, then a time) to the keys from `first` on, as far as they are there.

    Gives the first row that was not taken, where the bytes begin that are not used yet, and where `out` ends now. The
    second is codes.GARBLED when what stands at `reply_start` of that row is no reply; when the rest of the row is not
    there yet, `reply_start` of that row holds how many more bytes are known to be needed.

    A time is a remaining life (PTTL) where `now_ms` is the server's clock, or the expiry itself where it is 0. Each
    row gets its status: TAKEN (an entry in `out` from `entry_start` on), GONE, REFUSED (the error is at
    `reply_start`), DAMAGED or WITH_META (the payload is at `reply_start`, its size in `entry_start`; nothing in `out`).
    `out` must have room for the bytes of view, the keys, and 19 bytes a key.
    """
    p: cython.p_const_uchar
    k: cython.p_const_uchar
    q: cython.p_uchar
    value: cython.longlong[1]
    if cython.compiled:
        p = cython.address(view[0]) if len(view) else cython.NULL
        k = cython.address(keys[0]) if len(keys) else cython.NULL
        q = cython.address(out[0]) if len(out) else cython.NULL
    else:
        p, k, q, value = view, memoryview(keys), out, [0]
    pos: cython.Py_ssize_t = start
    at: cython.Py_ssize_t = out_start
    after: cython.Py_ssize_t = 0
    payload: cython.Py_ssize_t
    size: cython.Py_ssize_t
    row: cython.Py_ssize_t = first
    kind: cython.int
    shift: cython.int
    life: cython.longlong
    stamp: cython.int
    with cython.nogil:
        while row < last:
            reply_start[row] = pos
            if pos >= end:
                break
            kind = p[pos]
            payload = pos
            size = -1
            if kind == 36:
                after = _number_at(p, pos + 1, end, value)
                if after >= 0 and value[0] >= 0:
                    payload = after
                    if value[0] > end - after - 2:
                        reply_start[row] = value[0] - (end - after - 2)
                        break
                    size = value[0]
                    after += size + 2
            elif kind == 45:
                after = _line_end(p, pos + 1, end)
            else:
                after = _GARBLED
            if after == _GARBLED:
                pos = _GARBLED
                break
            if after == _INCOMPLETE or after >= end:
                reply_start[row] = 1
                break
            life = _NO_EXPIRY
            if p[after] == 58:
                after = _number_at(p, after + 1, end, value)
                life = value[0]
            elif p[after] == 45:
                if kind != 45:
                    payload = after
                    kind = 45
                after = _line_end(p, after + 1, end)
            else:
                after = _GARBLED
            if after == _GARBLED:
                pos = _GARBLED
                break
            if after == _INCOMPLETE:
                reply_start[row] = 1
                break
            reply_start[row] = payload
            pos = after
            row += 1
            if kind == 45:
                status[row - 1] = _REFUSED
                continue
            if size < 0 or life < _NO_EXPIRY:
                status[row - 1] = _GONE
                continue
            entry_start[row - 1] = size
            if size <= _FOOTER_BYTES:
                status[row - 1] = _DAMAGED
                continue
            size -= _FOOTER_BYTES
            stamp = p[payload + size] | p[payload + size + 1] << 8
            stamps[row - 1] = stamp
            if not _is_whole(p, payload, size + 2):
                status[row - 1] = _DAMAGED
                continue
            if p[payload] == _OP_KEY_META and stamp < 80:
                status[row - 1] = _WITH_META
                continue
            status[row - 1] = _TAKEN
            entry_start[row - 1] = at
            if life != _NO_EXPIRY:
                life = _LATEST if life > _LATEST - now_ms else life + now_ms
                q[at] = _OP_EXPIRETIME_MS
                at += 1
                for shift in range(8):
                    q[at + shift] = (life >> (8 * shift)) & 0xFF
                at += 8
            q[at] = p[payload]
            at = _put_length(q, at + 1, ends[row - 1] - starts[row - 1])
            at = _put_bytes(q, at, k, starts[row - 1], ends[row - 1] - starts[row - 1])
            at = _put_bytes(q, at, p, payload + 1, size - 1)
    return row, pos, at


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _is_whole(p: cython.p_const_uchar, start: cython.Py_ssize_t, size: cython.Py_ssize_t) -> cython.bint:
    """Whether the eight bytes after these are their CRC-64."""
    there: cython.ulonglong = 0
    i: cython.int
    for i in range(8):
        there |= cython.cast(cython.ulonglong, p[start + size + i]) << (8 * i)
    return crc64(p, start, size, 0) == there
