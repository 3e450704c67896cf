# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Unpacks LZF (rdb-format.md 2). Knows nothing of where the packed bytes come from.

Compiled when it can be, interpreted as it stands when not.
"""

from __future__ import annotations

try:
    import cython  # the Cython compiler must see this very import
except ModuleNotFoundError:
    from rdbmerge import _cython as cython

COMPILED: bool = cython.compiled


def unpack(packed: cython.const[cython.uchar][::1], out: cython.uchar[::1]) -> cython.bint:
    """Fill `out`, whose size is what the file claims, from `packed`. False: the bytes are damaged."""
    i: cython.Py_ssize_t = 0
    o: cython.Py_ssize_t = 0
    back: cython.Py_ssize_t
    count: cython.Py_ssize_t
    control: cython.Py_ssize_t
    k: cython.Py_ssize_t
    in_size: cython.Py_ssize_t = len(packed)
    out_size: cython.Py_ssize_t = len(out)
    while i < in_size:
        control = packed[i]
        i += 1
        if control < 32:
            count = control + 1
            if count > in_size - i or count > out_size - o:
                return False
            if cython.compiled:
                for k in range(count):
                    out[o + k] = packed[i + k]
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
        for k in range(count):  # byte by byte: the source may overlap what is being written
            out[o + k] = out[o + k - back]
        o += count
    return o == out_size
