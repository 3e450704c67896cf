# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""One element of a value as it is decoded: an integer or bytes, and how either becomes the other.

Owns the room that an LZF string is unpacked into. Compiled when it can be, interpreted as it stands when not. Knows
nothing of where elements come from.
"""

from __future__ import annotations

try:
    import cython  # the Cython compiler must see this very import
except ModuleNotFoundError:
    from rdbmerge import _cython as cython

if cython.compiled:
    from cython.cimports.cpython.mem import PyMem_RawFree, PyMem_RawMalloc
    from cython.cimports.libc.string import memcpy
    from cython.cimports.rdbmerge.format._hash_cy import bytes_hash
    from cython.cimports.rdbmerge.format._lzf_cy import unpack_lzf
else:
    from struct import unpack

    from rdbmerge.format._hash_cy import bytes_hash
    from rdbmerge.format._lzf_cy import unpack_lzf

from rdbmerge.format import codes

COMPILED: bool = cython.compiled

_NOT_UNPACKED = cython.declare(cython.int, codes.NOT_UNPACKED)
_NO_MEMORY = cython.declare(cython.int, codes.NO_MEMORY)
_INFINITY = cython.declare(cython.double, float("inf"))
# Decimal texts of so many digits and powers of ten are doubles without rounding, and so is one division of two.
_EXACT_DIGITS = cython.declare(cython.int, 15)
_EXACT_POWER = cython.declare(cython.int, 22)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def load_le(base: cython.p_const_uchar, at: cython.Py_ssize_t, size: cython.int) -> cython.longlong:
    """A signed little-endian integer of `size` bytes."""
    if cython.compiled:
        raw: cython.ulonglong = 0
        i: cython.int
        for i in range(size):
            raw |= cython.cast(cython.ulonglong, base[at + i]) << (8 * i)
        if size < 8 and raw >> (8 * size - 1):
            raw -= cython.cast(cython.ulonglong, 1) << (8 * size)
        return cython.cast(cython.longlong, raw)
    else:
        return int.from_bytes(base[at : at + size], "little", signed=True)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def load_u32(base: cython.p_const_uchar, at: cython.Py_ssize_t) -> cython.longlong:
    """An unsigned little-endian integer of 4 bytes."""
    high: cython.longlong = base[at + 3]
    return high << 24 | base[at + 2] << 16 | base[at + 1] << 8 | base[at]


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def load_double(base: cython.p_const_uchar, at: cython.Py_ssize_t) -> cython.double:
    """The IEEE-754 number in the 8 little-endian bytes at `at`."""
    if cython.compiled:
        value: cython.double = 0.0
        bits: cython.longlong = load_le(base, at, 8)
        memcpy(cython.address(value), cython.address(bits), 8)
        return value
    else:
        return unpack("<d", base[at : at + 8])[0]


@cython.final
@cython.cclass
class Element:
    """What one element holds: an integer (`is_number`), or `size` bytes at `base[at]`; `spell` makes bytes of both."""

    def __init__(self) -> None:
        self.at = 0
        self.size = 0
        self.is_number = False
        self.number = 0
        self.real = 0.0
        self.room_size = 0
        if cython.compiled:
            self.room = cython.NULL
            self.base = cython.NULL

    def __dealloc__(self) -> None:
        PyMem_RawFree(self.room)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def set_bytes(self, base: cython.p_const_uchar, at: cython.Py_ssize_t, size: cython.Py_ssize_t) -> cython.void:
        self.base = base
        self.at = at
        self.size = size
        self.is_number = False

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def set_number(self, number: cython.longlong) -> cython.void:
        self.number = number
        self.is_number = True

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def unpack(
        self, packed: cython.p_const_uchar, start: cython.Py_ssize_t, stop: cython.Py_ssize_t, size: cython.Py_ssize_t
    ) -> cython.int:
        """Hold the `size` bytes that the LZF bytes from `start` to `stop` stand for; 0, or the code of an error."""
        if cython.compiled:
            if size > self.room_size:
                PyMem_RawFree(self.room)
                self.room_size = 0
                self.room = cython.cast(cython.p_uchar, PyMem_RawMalloc(size))
                if self.room == cython.NULL:
                    return _NO_MEMORY
                self.room_size = size
        else:
            self.room = bytearray(size)
        if not unpack_lzf(packed, start, stop, self.room, size):
            return _NOT_UNPACKED
        self.set_bytes(self.room, 0, size)
        return 0

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def spell(self) -> cython.void:
        """Make the decimal text of an integer what the bytes are."""
        if not self.is_number:
            return
        if cython.compiled:
            at: cython.int = 24
            left: cython.ulonglong = self.number
            if self.number < 0:
                left = 0 - left
            while True:
                at -= 1
                self.text[at] = 48 + left % 10
                left //= 10
                if left == 0:
                    break
            if self.number < 0:
                at -= 1
                self.text[at] = 45
            self.base = self.text
            self.at = at
            self.size = 24 - at
        else:
            self.base = str(self.number).encode()
            self.at = 0
            self.size = len(self.base)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def hash(self, seed: cython.ulonglong) -> cython.ulonglong:
        """Of the bytes; an integer counts as its text."""
        self.spell()
        return bytes_hash(self.base, self.at, self.size, seed)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def measure_real(self) -> cython.bint:
        """Make `real` the number that the element stands for, as a score; False if it is none.

        Accepts what servers write: decimal text with or without exponent, inf and -inf.
        """
        pos: cython.Py_ssize_t
        stop: cython.Py_ssize_t
        mantissa: cython.ulonglong = 0
        power: cython.int = 0
        digits: cython.int = 0
        significant: cython.int = 0
        scale: cython.int = 0
        negative: cython.bint = False
        if self.is_number:
            self.real = 1.0 * self.number
            return True
        base = self.base
        pos = self.at
        stop = pos + self.size
        if pos < stop and (base[pos] == 45 or base[pos] == 43):
            negative = base[pos] == 45
            pos += 1
        if stop - pos == 3 and base[pos] == 105 and base[pos + 1] == 110 and base[pos + 2] == 102:
            self.real = -_INFINITY if negative else _INFINITY
            return True
        while pos < stop and 48 <= base[pos] <= 57:
            digits += 1
            if base[pos] != 48 or significant > 0:
                significant += 1
            if significant <= _EXACT_DIGITS:
                mantissa = mantissa * 10 + (base[pos] - 48)
            pos += 1
        if pos < stop and base[pos] == 46:
            pos += 1
            while pos < stop and 48 <= base[pos] <= 57:
                digits += 1
                if base[pos] != 48 or significant > 0:
                    significant += 1
                if significant <= _EXACT_DIGITS:
                    mantissa = mantissa * 10 + (base[pos] - 48)
                if scale < 1_000:
                    scale += 1
                pos += 1
        if digits == 0:
            return False
        if pos < stop and (base[pos] == 101 or base[pos] == 69):
            pos += 1
            if pos < stop and (base[pos] == 45 or base[pos] == 43):
                pos += 1
            power = 1  # its size does not matter: Python reads it
            if pos >= stop:
                return False
            while pos < stop and 48 <= base[pos] <= 57:
                pos += 1
        if pos != stop:
            return False
        if not cython.compiled or significant > _EXACT_DIGITS or power > 0 or scale > _EXACT_POWER:
            self.real = self.slow_real(self.at, stop)
            return True
        real: cython.double = mantissa
        divisor: cython.double = 1.0
        while scale > 0:
            divisor *= 10.0
            scale -= 1
        real /= divisor
        self.real = -real if negative else real
        return True

    @cython.cfunc
    @cython.with_gil
    @cython.exceptval(check=False)
    def slow_real(self, start: cython.Py_ssize_t, stop: cython.Py_ssize_t) -> cython.double:
        """Python's own reading of a decimal text that was checked, whatever the locale."""
        if cython.compiled:
            text: bytes = (cython.cast(cython.p_const_char, self.base) + start)[: stop - start]
            return float(text)
        else:
            return float(bytes(self.base[start:stop]))

    @cython.ccall
    def as_bytes(self) -> bytes:
        """The element's bytes, a copy."""
        if self.is_number:
            self.spell()
        if cython.compiled:
            return (cython.cast(cython.p_const_char, self.base) + self.at)[: self.size]
        else:
            return bytes(self.base[self.at : self.at + self.size])
