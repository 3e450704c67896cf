# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Writes lengths, strings and numbers of the file into buffers of any size (rdb-format.md 2).

What does not fit into one buffer goes on in the next, from the very byte. Compiled when it can be, interpreted as it
stands when not. Knows nothing of values.
"""

from __future__ import annotations

try:
    import cython  # the Cython compiler must see this very import
except ModuleNotFoundError:
    from rdbmerge import _cython as cython

if cython.compiled:
    from cython.cimports.libc.string import memcpy
    from cython.cimports.rdbmerge.format._element_cy import Element
else:
    from struct import pack

    from rdbmerge.format._element_cy import Element

COMPILED: bool = cython.compiled


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def length_size(number: cython.ulonglong) -> cython.Py_ssize_t:
    """Bytes of a length in its shortest form."""
    return 1 if number < 0x40 else 2 if number < 0x4000 else 5 if number >> 32 == 0 else 9


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def string_size(element: Element) -> cython.Py_ssize_t:
    """Bytes of an element as a string of the file: integers of up to 32 bits as such, the rest raw."""
    number: cython.longlong
    if element.is_number:
        number = element.number
        if -128 <= number < 128:
            return 2
        if -32768 <= number < 32768:
            return 3
        if number >> 31 == 0 or number >> 31 == -1:
            return 5
        element.spell()
    return length_size(element.size) + element.size


@cython.cclass
class PieceWriter:
    """Writes one part after the other. For each: `resume`, then puts, always the same ones, until it is `whole`."""

    def __init__(self) -> None:
        self.full = False
        self.done = 0
        self.skip = 0
        self.before = 0
        self.used = 0
        self.room = 0
        if cython.compiled:
            self.out = cython.NULL
        else:
            self.head = bytearray(32)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def open(self, out: cython.p_uchar, used: cython.Py_ssize_t, room: cython.Py_ssize_t) -> cython.void:
        """Write on at `out[used]`, at most to `out[room]`."""
        self.out = out
        self.used = used
        self.room = room

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def resume(self) -> cython.void:
        """Begin a part, or go on with the one that was not whole."""
        self.before = self.used
        self.skip = self.done

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def whole(self) -> cython.bint:
        """Whether the part is written to its end; else the buffer is full."""
        if self.full:
            self.full = False
            self.done += self.used - self.before
            return False
        self.done = 0
        return True

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def put(self, base: cython.p_const_uchar, at: cython.Py_ssize_t, size: cython.Py_ssize_t) -> cython.void:
        """Add `size` bytes to the part, as far as they were not written before and there is room."""
        if self.skip >= size:
            self.skip -= size
            return
        at += self.skip
        size -= self.skip
        self.skip = 0
        if size > self.room - self.used:
            size = self.room - self.used
            self.full = True
        if cython.compiled:
            memcpy(self.out + self.used, base + at, size)
        else:
            self.out[self.used : self.used + size] = base[at : at + size]
        self.used += size

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def put_length(self, number: cython.ulonglong) -> cython.void:
        """A length in its shortest form."""
        size: cython.Py_ssize_t = length_size(number)
        i: cython.Py_ssize_t
        if size == 1:
            self.head[0] = number & 0x3F
        elif size == 2:
            self.head[0] = 0x40 | (number >> 8)
            self.head[1] = number & 0xFF
        else:
            self.head[0] = 0x80 if size == 5 else 0x81
            for i in range(1, size):
                self.head[i] = (number >> (8 * (size - 1 - i))) & 0xFF
        self.put(self.head, 0, size)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def put_le64(self, number: cython.ulonglong) -> cython.void:
        i: cython.int
        for i in range(8):
            self.head[i] = (number >> (8 * i)) & 0xFF
        self.put(self.head, 0, 8)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def put_string(self, element: Element) -> cython.void:
        """An element as a string of the file; see `string_size`."""
        size: cython.Py_ssize_t = element.size
        length: cython.ulonglong
        i: cython.Py_ssize_t
        if cython.compiled:  # the commonest case, at once
            if not element.is_number and size < 0x40 and self.skip == 0 and size < self.room - self.used:
                self.out[self.used] = size
                memcpy(self.out + self.used + 1, element.base + element.at, size)
                self.used += 1 + size
                return
        size = string_size(element)
        if element.is_number and size <= 5:  # the text of a larger one takes more
            self.head[0] = 0xC0 if size == 2 else 0xC1 if size == 3 else 0xC2
            for i in range(size - 1):
                self.head[1 + i] = (element.number >> (8 * i)) & 0xFF
            self.put(self.head, 0, size)
            return
        length = element.size
        self.put_length(length)
        self.put(element.base, element.at, element.size)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def put_double(self, number: cython.double) -> cython.void:
        """A number in 8 bytes."""
        if cython.compiled:
            bits: cython.ulonglong = 0
            memcpy(cython.address(bits), cython.address(number), 8)
            self.put_le64(bits)
        else:
            self.put(pack("<d", number), 0, 8)
