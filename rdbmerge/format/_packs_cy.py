# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Reads the elements of compact blobs: ziplists, listpacks, intsets, zipmaps (rdb-format.md 7).

Compiled when it can be, interpreted as it stands when not; both ways give the same elements and the same errors.
A blob is believed in nothing: sizes, counts and links between elements are checked as careful servers check them.
Knows nothing of what elements mean.
"""

from __future__ import annotations

try:
    import cython  # the Cython compiler must see this very import
except ModuleNotFoundError:
    from rdbmerge import _cython as cython

if cython.compiled:
    from cython.cimports.rdbmerge.format._element_cy import Element, load_le, load_u32
else:
    from rdbmerge.format._element_cy import Element, load_le, load_u32

from rdbmerge.format import codes

COMPILED: bool = cython.compiled

_SIZE = cython.declare(cython.int, codes.BAD_PACK_SIZE)
_ELEMENT = cython.declare(cython.int, codes.BAD_PACK_ELEMENT)
_START = cython.declare(cython.int, codes.BAD_PACK_START)
_END = cython.declare(cython.int, codes.BAD_PACK_END)
_COUNT = cython.declare(cython.int, codes.BAD_PACK_COUNT)
_LINKS = cython.declare(cython.int, codes.BAD_PACK_LINKS)
_ORDER = cython.declare(cython.int, codes.BAD_PACK_ORDER)
_WIDTH = cython.declare(cython.int, codes.BAD_PACK_WIDTH)
_UNKNOWN_COUNT = cython.declare(cython.ulonglong, 65_535)


@cython.final
@cython.cclass
class Pack:
    """Walks one blob after the other; `packing` is a number of `values.Packing`."""

    def __init__(self) -> None:
        self.at = 0
        self.stop = 0
        self.start = 0
        self.previous = 0
        self.last_start = 0
        self.packing = 0
        self.width = 0
        self.told = 0
        self.seen = 0
        self.last_number = 0
        self.error_code = 0
        self.error_detail = 0

    def elements(self, packing: cython.int, blob: cython.const[cython.uchar][::1]) -> tuple[list[bytes], int, int]:
        """All elements of a blob, and the code and detail of what is wrong behind the last of them (0: nothing)."""
        element = Element()
        found: list[bytes] = []
        self.error_code = 0
        self.error_detail = 0
        got: cython.int
        if cython.compiled:
            got = self.open(packing, cython.address(blob[0]) if len(blob) else cython.NULL, 0, len(blob))
        else:
            got = self.open(packing, blob, 0, len(blob))
        while got:
            got = self.step(element)
            if got <= 0:
                break
            found.append(element.as_bytes())
        return found, self.error_code, self.error_detail

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def fail(self, code: cython.int, detail: cython.ulonglong) -> cython.int:
        self.error_code = code
        self.error_detail = detail
        return -1

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def open(
        self, packing: cython.int, base: cython.p_const_uchar, at: cython.Py_ssize_t, size: cython.Py_ssize_t
    ) -> cython.bint:
        """Stand before the first element of the blob of `size` bytes at `base[at]`. False: `error_code` says why."""
        head: cython.Py_ssize_t
        told: cython.longlong
        self.base = base
        self.packing = packing
        self.start = at
        self.seen = 0
        self.previous = 0
        self.last_start = 0
        if packing == 4:
            if size < 2 or base[at + size - 1] != 0xFF:
                self.fail(_SIZE, packing)
                return False
            self.told = base[at]
            self.at = at + 1
            self.stop = at + size - 1
            return True
        if packing == 3:
            if size < 8:
                self.fail(_SIZE, packing)
                return False
            told = load_u32(base, at)
            if told != 2 and told != 4 and told != 8:
                self.fail(_WIDTH, told)
                return False
            self.width = told
            self.told = load_u32(base, at + 4)
            self.at = at + 8
            self.stop = at + size
            room: cython.ulonglong = size - 8
            if self.told * self.width != room:
                self.fail(_SIZE, packing)
                return False
            return True
        head = 10 if packing == 1 else 6
        told = load_u32(base, at) if size > head else 0
        if size <= head or told != size or base[at + size - 1] != 0xFF:
            self.fail(_SIZE, packing)
            return False
        self.told = load_le(base, at + head - 2, 2) & 0xFFFF
        self.at = at + head
        self.stop = at + size - 1
        return True

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def stand_at(self, other: Pack) -> cython.void:
        """Go to where `other` is, in the same blob."""
        self.base = other.base
        self.at = other.at
        self.stop = other.stop
        self.start = other.start
        self.previous = other.previous
        self.last_start = other.last_start
        self.packing = other.packing
        self.width = other.width
        self.told = other.told
        self.seen = other.seen
        self.last_number = other.last_number

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def step(self, element: Element) -> cython.int:
        """Make `element` the next one: 1; 0 after the last one; -1: `error_code` says what is wrong."""
        if self.at >= self.stop:
            return self.finish()
        self.seen += 1
        if self.packing == 2:
            return self.step_listpack(element)
        if self.packing == 1:
            return self.step_ziplist(element)
        if self.packing == 3:
            return self.step_intset(element)
        return self.step_zipmap(element)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def finish(self) -> cython.int:
        """What the head says must agree with what was found."""
        count: cython.ulonglong = self.seen
        tail: cython.longlong
        if self.packing == 4:
            return 0 if self.told >= 254 or self.told * 2 == count else self.fail(_COUNT, self.packing)
        if count != self.told and (self.packing == 3 or self.told != _UNKNOWN_COUNT):
            return self.fail(_COUNT, self.packing)
        if self.packing == 1:
            tail = load_u32(self.base, self.start + 4)
            if tail != (self.last_start - self.start if count > 0 else 10):
                return self.fail(_LINKS, self.packing)
        return 0

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def step_listpack(self, element: Element) -> cython.int:
        base = self.base
        at: cython.Py_ssize_t = self.at
        left: cython.Py_ssize_t = self.stop - at
        first: cython.int = base[at]
        head: cython.Py_ssize_t = 1
        size: cython.Py_ssize_t = 0
        number: cython.longlong
        count: cython.int
        if first < 0x80:
            element.set_number(first)
        elif first < 0xC0:
            size = first & 0x3F
        elif first < 0xE0:
            head = 2
            if left < head:
                return self.fail(_ELEMENT, self.packing)
            number = (first & 0x1F) << 8 | base[at + 1]
            element.set_number(number - 0x2000 if number & 0x1000 else number)
        elif first < 0xF0:
            head = 2
            if left < head:
                return self.fail(_ELEMENT, self.packing)
            size = (first & 0x0F) << 8 | base[at + 1]
        elif first == 0xF0:
            head = 5
            if left < head:
                return self.fail(_ELEMENT, self.packing)
            number = load_u32(base, at + 1)
            if number > left:
                return self.fail(_ELEMENT, self.packing)
            size = number
        elif first <= 0xF4:
            head = 9 if first == 0xF4 else first - 0xEE
            if left < head:
                return self.fail(_ELEMENT, self.packing)
            element.set_number(load_le(base, at + 1, head - 1))
        elif first == 0xFF:
            return self.fail(_END, self.packing)
        else:
            return self.fail(_START, self.packing << 8 | first)
        if 0x80 <= first < 0xC0 or 0xE0 <= first <= 0xF0:
            element.base = base
            element.at = at + head
            element.size = size
            element.is_number = False
        size += head
        count = 1 if size < 128 else 2 if size < 16383 else 3 if size < 2097151 else 4 if size < 268435455 else 5
        if size > left - count:
            return self.fail(_ELEMENT, self.packing)
        if not (base[at + size] == size if count == 1 else self.backlen_is_right(at + size, size, count)):
            return self.fail(_LINKS, self.packing)
        self.at = at + size + count
        return 1

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def backlen_is_right(self, at: cython.Py_ssize_t, size: cython.Py_ssize_t, count: cython.int) -> cython.bint:
        """Whether the `count` bytes at `at` say `size`, base 128, most significant group first."""
        i: cython.int
        group: cython.int
        for i in range(count):
            group = (size >> (7 * (count - 1 - i))) & 0x7F
            if self.base[at + i] != (group if i == 0 else group | 0x80):
                return False
        return True

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def step_ziplist(self, element: Element) -> cython.int:
        base = self.base
        at: cython.Py_ssize_t = self.at
        start: cython.Py_ssize_t = at
        previous: cython.longlong
        first: cython.int = base[at]
        head: cython.Py_ssize_t = 1
        size: cython.longlong = 0
        if first == 0xFF:
            return self.fail(_END, self.packing)
        if first == 0xFE:
            if self.stop - at < 5:
                return self.fail(_ELEMENT, self.packing)
            previous = load_u32(base, at + 1)
            at += 5
        else:
            previous = first
            at += 1
        if previous != self.previous:
            return self.fail(_LINKS, self.packing)
        if at >= self.stop:
            return self.fail(_ELEMENT, self.packing)
        first = base[at]
        left: cython.Py_ssize_t = self.stop - at
        if first < 0xC0:
            head = 1 if first < 0x40 else 2 if first < 0x80 else 5
            if left < head:
                return self.fail(_ELEMENT, self.packing)
            if head == 1:
                size = first
            elif head == 2:
                size = (first & 0x3F) << 8 | base[at + 1]
            else:
                size = load_be32(base, at + 1)
            if size > left - head:
                return self.fail(_ELEMENT, self.packing)
            element.base = base
            element.at = at + head
            element.size = size
            element.is_number = False
        elif 0xF1 <= first <= 0xFD:
            element.set_number((first & 0x0F) - 1)
        else:
            if first == 0xC0:
                size = 2
            elif first == 0xD0:
                size = 4
            elif first == 0xE0:
                size = 8
            elif first == 0xF0:
                size = 3
            elif first == 0xFE:
                size = 1
            else:
                return self.fail(_START, self.packing << 8 | first)
            if size > left - head:
                return self.fail(_ELEMENT, self.packing)
            element.set_number(load_le(base, at + 1, size))
        self.last_start = start
        self.at = at + head + size
        self.previous = self.at - start
        return 1

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def step_intset(self, element: Element) -> cython.int:
        number: cython.longlong = load_le(self.base, self.at, self.width)
        if self.seen > 1 and number <= self.last_number:
            return self.fail(_ORDER, self.packing)
        self.last_number = number
        self.at += self.width
        element.set_number(number)
        return 1

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def step_zipmap(self, element: Element) -> cython.int:
        """A field, or a value with the unused bytes behind it."""
        base = self.base
        at: cython.Py_ssize_t = self.at
        size: cython.longlong = base[at]
        free: cython.Py_ssize_t = 0
        if size == 0xFF:
            return self.fail(_END, self.packing)
        at += 1
        if size == 0xFE:
            if self.stop - at < 4:
                return self.fail(_ELEMENT, self.packing)
            size = load_u32(base, at)
            at += 4
        if self.seen % 2 == 0:
            if at >= self.stop:
                return self.fail(_ELEMENT, self.packing)
            free = base[at]
            at += 1
        if size > self.stop - at - free:
            return self.fail(_ELEMENT, self.packing)
        element.set_bytes(base, at, size)
        self.at = at + size + free
        return 1


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def load_be32(base: cython.p_const_uchar, at: cython.Py_ssize_t) -> cython.longlong:
    """An unsigned big-endian integer of 4 bytes."""
    value: cython.longlong = base[at]
    return value << 24 | base[at + 1] << 16 | base[at + 2] << 8 | base[at + 3]
