# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Turns rows of columns back into the bytes of an RDB, with expiries shifted and keys prefixed on the way.

Compiled when it can be, interpreted as it stands when not. Stops at a row that must be written anew (`format.emit` does
that) or that does not fit. Takes no decision: what to leave out, and how the rest is written, is told.
"""

from __future__ import annotations

try:
    import cython  # the Cython compiler must see this very import
except ModuleNotFoundError:
    from rdbmerge import _cython as cython

if cython.compiled:
    from cython.cimports.libc.string import memcpy
    from cython.cimports.rdbmerge.format._fields_cy import FieldSurvey
    from cython.cimports.rdbmerge.format._recode_cy import Recoder
else:
    from rdbmerge.format._fields_cy import FieldSurvey
    from rdbmerge.format._recode_cy import Recoder

from rdbmerge.format import codes

COMPILED: bool = cython.compiled

_EXPIRY_SECONDS = cython.declare(cython.int, codes.EXPIRY_SECONDS)
_HINTS = cython.declare(cython.int, codes.HAS_IDLE | codes.HAS_FREQ)
_SHIFTED = cython.declare(cython.int, codes.SHIFTED)
_RECODED = cython.declare(cython.int, codes.RECODED)
_NO_EXPIRY = cython.declare(cython.longlong, codes.NO_EXPIRY)
_LATEST = cython.declare(cython.longlong, codes.LATEST_EXPIRY_MS)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _copy(
    out: cython.p_uchar,
    at: cython.Py_ssize_t,
    view: cython.p_const_uchar,
    start: cython.Py_ssize_t,
    stop: cython.Py_ssize_t,
) -> cython.Py_ssize_t:
    if cython.compiled:
        memcpy(out + at, view + start, stop - start)
    else:
        out[at : at + stop - start] = view[start:stop]
    return at + stop - start


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _put_expiry(out: cython.p_uchar, at: cython.Py_ssize_t, expire_at_ms: cython.longlong) -> cython.Py_ssize_t:
    i: cython.int
    out[at] = 252
    if cython.compiled:
        for i in range(8):
            out[at + 1 + i] = (expire_at_ms >> (8 * i)) & 0xFF
    else:
        out[at + 1 : at + 9] = expire_at_ms.to_bytes(8, "little", signed=True)
    return at + 9


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _put_length(out: cython.p_uchar, at: cython.Py_ssize_t, number: cython.ulonglong) -> cython.Py_ssize_t:
    """A length below 2^32 in its shortest form."""
    if number < 0x40:
        out[at] = number
        return at + 1
    if number < 0x4000:
        out[at] = 0x40 | (number >> 8)
        out[at + 1] = number & 0xFF
        return at + 2
    out[at] = 0x80
    out[at + 1] = (number >> 24) & 0xFF
    out[at + 2] = (number >> 16) & 0xFF
    out[at + 3] = (number >> 8) & 0xFF
    out[at + 4] = number & 0xFF
    return at + 5


def emit_rows(
    view_of_file: cython.const[cython.uchar][::1],
    types: cython.const[cython.uchar][::1],
    flags: cython.const[cython.uchar][::1],
    expire_at_ms: cython.const[cython.longlong][::1],
    entry_start: cython.const[cython.longlong][::1],
    key_start: cython.const[cython.longlong][::1],
    key_len: cython.const[cython.uint][::1],
    value_start: cython.const[cython.longlong][::1],
    ends: cython.const[cython.longlong][::1],
    left_out: cython.const[cython.uchar][::1],
    treatments: cython.const[cython.uchar][::1],
    row: cython.Py_ssize_t,
    rows: cython.Py_ssize_t,
    ttl_offset_ms: cython.longlong,
    key_prefix: cython.const[cython.uchar][::1],
    drop_hints: cython.bint,
    survey: FieldSurvey,
    field_shapes: cython.const[cython.uchar][::1],
    recoder: Recoder,
    buffer: cython.uchar[::1],
) -> tuple[int, int]:
    """Write rows from `row` on into `buffer`; rows with `left_out` != 0 are passed over.

    `treatments` tell how (`codes.COPIED` to `ANEW`); `survey` and `field_shapes` are those that found rows SHIFTED.
    Returns the first row that was not done (`rows` when all were) and the bytes written: that row must be written anew,
    or there was no room for it, or the recoder has failed at it.
    """
    if rows == 0:
        return 0, 0
    view: cython.p_const_uchar
    out: cython.p_uchar
    prefix: cython.p_const_uchar
    prefix_len: cython.Py_ssize_t = len(key_prefix)
    if cython.compiled:
        view = cython.address(view_of_file[0])
        out = cython.address(buffer[0])
        prefix = cython.address(key_prefix[0]) if prefix_len else cython.NULL
    else:
        view, out, prefix = view_of_file, buffer, key_prefix
        # Cells as Python's own integers: those of NumPy overflow, and know no `to_bytes`.
        types, flags, expire_at_ms, entry_start, key_start, key_len, value_start, ends, left_out, treatments = map(
            memoryview,
            (types, flags, expire_at_ms, entry_start, key_start, key_len, value_start, ends, left_out, treatments),
        )
    used: cython.Py_ssize_t = 0
    room: cython.Py_ssize_t = len(buffer)
    start: cython.Py_ssize_t
    size: cython.Py_ssize_t
    moved: cython.longlong
    treatment: cython.int
    with cython.nogil:
        while row < rows:
            if left_out[row]:
                row += 1
                continue
            treatment = treatments[row]
            if treatment > _RECODED:
                break
            start = entry_start[row]
            size = ends[row] - value_start[row]
            if treatment == _RECODED:
                size = recoder.survey(types[row], value_start[row], ends[row])
                if size < 0:
                    break
            # 9: a longer length of the key, and 4 bytes of seconds that become 8 of milliseconds
            if value_start[row] - start + prefix_len + 9 + size > room - used:
                break
            moved = expire_at_ms[row]
            if moved != _NO_EXPIRY:
                # No sum here can leave 64 bits: offsets are far smaller (`units`) than these limits are apart.
                moved = (_LATEST if moved > _LATEST else moved) + ttl_offset_ms
                if moved > _LATEST:
                    moved = _LATEST
                if moved < 1:
                    moved = 1  # 0 or less would mean something else to a server than "dead"
                used = _put_expiry(out, used, moved)
                start += 5 if flags[row] & _EXPIRY_SECONDS else 9
            if drop_hints and flags[row] & _HINTS:
                start = key_start[row] - 1
            if treatment == _RECODED:
                used = _copy(out, used, view, start, key_start[row] - 1)
                out[used] = recoder.form
                used += 1
                start = key_start[row]
            if prefix_len:
                used = _copy(out, used, view, start, key_start[row])
                used = _put_length(out, used, prefix_len + key_len[row])
                used = _copy(out, used, prefix, 0, prefix_len)
                start = value_start[row] - key_len[row]
            if treatment == _RECODED:
                used = _copy(out, used, view, start, value_start[row])
                if recoder.begin(types[row], value_start[row], ends[row]) == 0:
                    used = recoder.fill(out, used, room)
                if recoder.failed:  # what could be measured can be written, unless memory ran out
                    used = 0
                    break
            else:
                used = _copy(out, used, view, start, ends[row])
                if treatment == _SHIFTED:
                    survey.patch(field_shapes[types[row]], value_start[row], ends[row], out, used - size)
            row += 1
    return row, used
