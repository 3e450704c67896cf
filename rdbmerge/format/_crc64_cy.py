# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""The CRC-64 of Redis for the many small values of a batch (rdb-format.md 1): a call into Python each is too slow.

Compiled, it is written out here, eight bytes a step; interpreted, it is the library `anycrc`, which also sums whole
files: it is faster by far on long runs. The tests hold the two equal. Knows nothing of what it sums.
"""

from __future__ import annotations

from array import array

try:
    import cython  # the Cython compiler must see this very import
except ModuleNotFoundError:
    from rdbmerge import _cython as cython

import anycrc

COMPILED: bool = cython.compiled

_POLYNOMIAL = 0x95AC9329AC4BC9B5  # reflected
_LIBRARY = anycrc.Model("CRC64-REDIS")


def _crc64_tables() -> array[int]:
    """8 x 256 numbers: what a byte does to the checksum after none to seven more bytes."""
    tables = [[0] * 256 for _ in range(8)]
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (_POLYNOMIAL if crc & 1 else 0)
        tables[0][byte] = crc
    for byte in range(256):
        for further in range(1, 8):
            crc = tables[further - 1][byte]
            tables[further][byte] = crc >> 8 ^ tables[0][crc & 0xFF]
    return array("Q", [crc for table in tables for crc in table])


_TABLES = cython.declare(cython.const[cython.ulonglong][::1], _crc64_tables())


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
@cython.nogil
@cython.exceptval(check=False)
def _crc64_compiled(p: cython.p_const_uchar, size: cython.Py_ssize_t, crc: cython.ulonglong) -> cython.ulonglong:
    i: cython.Py_ssize_t = 0
    while i + 8 <= size:
        crc ^= _load64(p + i)
        crc = (
            _TABLES[1792 + (crc & 0xFF)]
            ^ _TABLES[1536 + ((crc >> 8) & 0xFF)]
            ^ _TABLES[1280 + ((crc >> 16) & 0xFF)]
            ^ _TABLES[1024 + ((crc >> 24) & 0xFF)]
            ^ _TABLES[768 + ((crc >> 32) & 0xFF)]
            ^ _TABLES[512 + ((crc >> 40) & 0xFF)]
            ^ _TABLES[256 + ((crc >> 48) & 0xFF)]
            ^ _TABLES[crc >> 56]
        )
        i += 8
    while i < size:
        crc = (crc >> 8) ^ _TABLES[(crc ^ p[i]) & 0xFF]
        i += 1
    return crc


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def crc64(
    p: cython.p_const_uchar, start: cython.Py_ssize_t, size: cython.Py_ssize_t, crc: cython.ulonglong
) -> cython.ulonglong:
    """Of `size` bytes from `p[start]` on, continuing from the sum `crc` of those before (0: none)."""
    if not cython.compiled:
        return _LIBRARY.calc(p[start : start + size], crc)
    return _crc64_compiled(p + start, size, crc)


def crc64_of(view: cython.const[cython.uchar][::1], crc: cython.ulonglong = 0) -> int:
    """Of all bytes of `view`, continuing from `crc`."""
    if len(view) == 0:
        return crc
    if cython.compiled:
        return crc64(cython.address(view[0]), 0, len(view), crc)
    return crc64(view, 0, len(view), crc)
