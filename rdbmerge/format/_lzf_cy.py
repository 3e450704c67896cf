# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Unpacks LZF (rdb-format.md 2). Knows nothing of where the packed bytes come from.

Compiled when it can be, interpreted as it stands when not.
"""

from __future__ import annotations

try:
    import cython  # the Cython compiler must see this very import
except ModuleNotFoundError:
    from rdbmerge import _cython as cython

if cython.compiled:
    from cython.cimports.libc.string import memcpy

COMPILED: bool = cython.compiled

# Most pieces are short: copying a fixed number of bytes is then quicker than exactly so many, where there is room.
_SHORT = cython.declare(cython.Py_ssize_t, 16)


def unpack(packed: cython.const[cython.uchar][::1], out: cython.uchar[::1]) -> cython.bint:
    """Fill `out`, whose size is what the file claims, from `packed`. False: the bytes are damaged."""
    if cython.compiled:
        if len(packed) == 0 or len(out) == 0:
            return len(packed) == len(out)
        return unpack_lzf(cython.address(packed[0]), 0, len(packed), cython.address(out[0]), len(out))
    else:
        return unpack_lzf(packed, 0, len(packed), out, len(out))


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def unpack_lzf(
    packed: cython.p_const_uchar,
    i: cython.Py_ssize_t,
    in_size: cython.Py_ssize_t,
    out: cython.p_uchar,
    out_size: cython.Py_ssize_t,
) -> cython.bint:
    """The same for the bytes of `packed` from `i` to `in_size`."""
    o: cython.Py_ssize_t = 0
    back: cython.Py_ssize_t
    count: cython.Py_ssize_t
    control: cython.Py_ssize_t
    source: cython.Py_ssize_t
    size: cython.Py_ssize_t
    while i < in_size:
        control = packed[i]
        i += 1
        if control < 32:
            count = control + 1
            if count > in_size - i or count > out_size - o:
                return False
            if cython.compiled:
                if count <= _SHORT and in_size - i >= _SHORT and out_size - o >= _SHORT:
                    memcpy(out + o, packed + i, 16)
                else:
                    memcpy(out + o, packed + i, count)
            else:
                out[o : o + count] = packed[i : i + count]
            i += count
            o += count
            continue
        count = control >> 5
        if count == 7:
            if i >= in_size:
                return False
            count += packed[i]
            i += 1
        if i >= in_size:
            return False
        back = ((control & 31) << 8) + packed[i] + 1
        i += 1
        count += 2
        if back > o or count > out_size - o:
            return False
        source = o - back
        if cython.compiled and count <= _SHORT and back >= _SHORT and out_size - o >= _SHORT:
            memcpy(out + o, out + source, 16)
            o += count
            continue
        while count > 0:  # what is copied may begin with itself: then it repeats, and twice as much is there each time
            size = o - source if o - source < count else count
            if cython.compiled:
                memcpy(out + o, out + source, size)
            else:
                out[o : o + size] = out[source : source + size]
            o += size
            count -= size
    return o == out_size
