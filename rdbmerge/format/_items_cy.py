# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Reads the items of a value one after the other, whatever form it is stored in (rdb-format.md 6 and 7).

An item is an element of a list or set, a member with its score, or a field with its value and expiry; a string is one
item. What decodes, hashes and re-encodes values sees items only, never their forms. Nothing is built: an item lives
until the next step. Streams, modules and arrays have readers of their own. Compiled when it can be, interpreted as it
stands when not.
"""

from __future__ import annotations

try:
    import cython  # the Cython compiler must see this very import
except ModuleNotFoundError:
    from rdbmerge import _cython as cython

if cython.compiled:
    from cython.cimports.libc.math import isnan
    from cython.cimports.rdbmerge.format._element_cy import Element, load_double, load_le
    from cython.cimports.rdbmerge.format._packs_cy import Pack
    from cython.cimports.rdbmerge.format._values_cy import ValueCursor
else:
    from math import isnan

    from rdbmerge.format._element_cy import Element, load_double, load_le
    from rdbmerge.format._packs_cy import Pack
    from rdbmerge.format._values_cy import ValueCursor

from rdbmerge.format import codes
from rdbmerge.format.values import Logical, Packing, Shape

COMPILED: bool = cython.compiled

_NO_EXPIRY = cython.declare(cython.longlong, codes.NO_EXPIRY)
_BAD_CONTAINER = cython.declare(cython.int, codes.BAD_CONTAINER)
_BAD_TIME = cython.declare(cython.int, codes.BAD_FIELD_TIME)
_BAD_NUMBER = cython.declare(cython.int, codes.BAD_NUMBER)
_BAD_TEMPLATE = cython.declare(cython.int, codes.BAD_TEMPLATE)
_ODD = cython.declare(cython.int, codes.ODD_ELEMENTS)
_GOES_ON = cython.declare(cython.int, codes.VALUE_GOES_ON)
_TRUNCATED = cython.declare(cython.int, codes.TRUNCATED)
_INFINITY = cython.declare(cython.double, float("inf"))

_HASH = cython.declare(cython.int, int(Logical.HASH))
_ZSET = cython.declare(cython.int, int(Logical.ZSET))
_NO_PACKING = cython.declare(cython.int, int(Packing.NONE))
_STRING = cython.declare(cython.int, int(Shape.STRING))
_PAIRS = cython.declare(cython.int, int(Shape.PAIRS))
_SCORED_TEXT = cython.declare(cython.int, int(Shape.SCORED_TEXT))
_SCORED_BINARY = cython.declare(cython.int, int(Shape.SCORED_BINARY))
_CONTAINERS = cython.declare(cython.int, int(Shape.CONTAINERS))
_FIELDS_RELATIVE = cython.declare(cython.int, int(Shape.FIELDS_RELATIVE))
_FIELDS_VALKEY = cython.declare(cython.int, int(Shape.FIELDS_VALKEY))
_MIN_AND_STRING = cython.declare(cython.int, int(Shape.MIN_AND_STRING))
_TEMPLATE_PACK = cython.declare(cython.int, int(Shape.TEMPLATE_PACK))
_TEMPLATE_STRINGS = cython.declare(cython.int, int(Shape.TEMPLATE_STRINGS))


@cython.final
@cython.cclass
class ItemReader:
    """Reads values of `view`; `tables` is `values.item_tables` of the dialect, `templates` those of the file or None.

    `begin` a value, then `step` until it says 0: an item is in `a` (element, member, field), `b` (a field's value),
    `score` and `time` (expiry of a field, Unix ms; NO_EXPIRY). -1: the cursor's error says what and where; inside a
    blob the place is that of the blob.
    """

    def __init__(self, view: memoryview, tables: bytes, templates: object = None) -> None:
        self.view = view
        # Holds the mapping for as long as this reader lives, though its file be closed.
        self.window = view
        self.cursor = ValueCursor(view, len(view), templates)
        self.tables = tables
        if cython.compiled:
            self.table = cython.cast(cython.p_const_uchar, cython.cast(cython.p_char, tables))
        else:
            self.table = tables
        self.pack = Pack()
        self.a = Element()
        self.b = Element()
        self.blob = Element()
        self.shape = 0
        self.packing = 0
        self.logical = 0
        self.expiring = False
        self.in_pack = False
        self.left = 0
        self.template = 0
        self.name = 0
        self.begun = 0
        self.pos = 0
        self.end = 0
        self.blob_at = 0
        self.unpacked_at = -1
        self.unpacked_size = 0
        self.base_ms = 0
        self.time = _NO_EXPIRY
        self.score = 0.0

    def get_cursor(self) -> ValueCursor:
        """The cursor, with the error."""
        return self.cursor

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def logical_of(self, number: cython.int) -> cython.int:
        """The logical type of a type number (`values.Logical`)."""
        return self.table[512 + number]

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def shape_of(self, number: cython.int) -> cython.int:
        """The shape of a type number (`values.Shape`)."""
        return self.table[number]

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def begin(self, number: cython.int, start: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.int:
        """Stand before the first item of the value of type `number` at `start` to `end`; 0, or -1."""
        tables = self.table
        self.shape = tables[number]
        self.packing = tables[256 + number]
        self.logical = tables[512 + number]
        self.expiring = tables[768 + number] != 0
        self.cursor.end = end
        self.end = end
        self.begun = start
        self.pos = start
        self.time = _NO_EXPIRY
        self.in_pack = False
        self.left = 1
        if self.shape == _TEMPLATE_PACK or self.shape == _TEMPLATE_STRINGS:
            return self.begin_template()
        if self.shape == _STRING:
            if self.packing == _NO_PACKING:
                return 0
            self.left = 0
            return self.open_blob(start)
        if self.shape == _MIN_AND_STRING:
            self.left = 0
            start = self.cursor.need(start, 8)
            return self.open_blob(start) if start >= 0 else -1
        if self.shape == _FIELDS_RELATIVE:
            start = self.cursor.need(start, 8)
            if start < 0:
                return -1
            self.base_ms = load_le(self.cursor.p, start - 8, 8)
            if self.base_ms < 0 or self.base_ms >> 62 != 0:
                return self.cursor.fail(_BAD_TIME, start - 8, 0)
        self.pos = self.cursor.skip_len(start)
        if self.pos < 0:
            return -1
        self.left = self.cursor.value
        return 0

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def begin_template(self) -> cython.int:
        """Hashes whose field names stand elsewhere: find the template (rdb-format.md 6.7)."""
        self.name = 0
        if self.shape == _TEMPLATE_STRINGS:
            self.blob_at = self.pos
            self.pos = self.cursor.skip_len(self.pos)
            if self.pos < 0:
                return -1
            self.template = self.cursor.value
        else:
            if self.open_blob(self.pos) < 0:
                return -1
            got: cython.int = self.packed_next(self.a)
            if got < 0:
                return -1
            if got == 0 or not self.a.is_number or self.a.number < 0:
                return self.cursor.fail(_ODD, self.blob_at, 1)
            self.template = self.a.number
        names: cython.Py_ssize_t = self.cursor.template_names(self.template)
        if names < 0:
            return self.cursor.fail(_BAD_TEMPLATE, self.blob_at, self.template)
        self.left = names
        return 0

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def string(self, element: Element, pos: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Make `element` the string at `pos`; the position after it, or -1."""
        p = self.cursor.p
        first: cython.int
        code: cython.int
        packed_at: cython.Py_ssize_t
        start: cython.Py_ssize_t = pos
        if pos < self.end:
            first = p[pos]
            if first < 0x40:
                pos += 1
                if first > self.end - pos:
                    return self.cursor.fail(_TRUNCATED, pos, first)
                element.set_bytes(p, pos, first)
                return pos + first
        pos = self.cursor.skip_string(start)
        if pos < 0:
            return -1
        first = p[start]
        if first < 0xC0:
            size: cython.Py_ssize_t = self.cursor.value
            element.set_bytes(p, pos - size, size)
            return pos
        if first < 0xC3:
            element.set_number(load_le(p, start + 1, pos - start - 1))
            return pos
        packed_at = self.cursor.skip_len(start + 1)
        packed_at = self.cursor.skip_len(packed_at)
        if element is self.blob and start == self.unpacked_at:
            element.set_bytes(element.room, 0, self.unpacked_size)
            return pos
        code = element.unpack(p, packed_at, pos, self.cursor.value)
        if element is self.blob:  # values are often read twice in a row: measured, then written
            self.unpacked_at = start if code == 0 else -1
            self.unpacked_size = element.size
        return pos if code == 0 else self.cursor.fail(code, start, self.cursor.value)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def open_blob(self, pos: cython.Py_ssize_t) -> cython.int:
        """Go on inside the blob that is the string at `pos`; 0, or -1."""
        self.blob_at = pos
        self.pos = self.string(self.blob, pos)
        if self.pos < 0:
            return -1
        self.blob.spell()  # an integer is no blob, but its text is what stands there
        if not self.pack.open(self.packing, self.blob.base, self.blob.at, self.blob.size):
            return self.cursor.fail(self.pack.error_code, pos, self.pack.error_detail)
        self.in_pack = True
        return 0

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def step(self) -> cython.int:
        """The next item: 1; 0 after the last one, -1 on error."""
        got: cython.int
        at: cython.Py_ssize_t
        while True:
            if self.in_pack:
                got = self.packed()
                if got != 0:
                    return got
                self.in_pack = False
            if self.left == 0:
                if self.pos != self.end:
                    at = self.end - self.pos
                    return self.cursor.fail(_GOES_ON, self.pos, at)
                return 0
            self.left -= 1
            if self.packing == _NO_PACKING or self.shape == _TEMPLATE_STRINGS:
                return self.stored()
            # A node of a list.
            if self.shape == _CONTAINERS:
                at = self.pos
                self.pos = self.cursor.skip_len(at)
                if self.pos < 0:
                    return -1
                if self.cursor.value == 1:
                    self.pos = self.string(self.a, self.pos)
                    return 1 if self.pos >= 0 else -1
                if self.cursor.value != 2:
                    return self.cursor.fail(_BAD_CONTAINER, at, self.cursor.value)
            if self.open_blob(self.pos) < 0:
                return -1

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def packed_next(self, element: Element) -> cython.int:
        """The next element of the blob: 1; 0 after the last one, -1 on error."""
        got: cython.int = self.pack.step(element)
        if got < 0:
            self.cursor.fail(self.pack.error_code, self.blob_at, self.pack.error_detail)
        return got

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def packed(self) -> cython.int:
        """The next item of the blob: 1; 0 after the last one, -1 on error."""
        got: cython.int
        if self.shape == _TEMPLATE_PACK:
            if self.left == 0:
                got = self.packed_next(self.b)
                return self.cursor.fail(_ODD, self.blob_at, 2) if got > 0 else got
            self.cursor.template_name(self.template, self.name, self.a)
            self.name += 1
            self.left -= 1
            got = self.packed_next(self.b)
            return self.cursor.fail(_ODD, self.blob_at, 2) if got == 0 else got
        got = self.packed_next(self.a)
        if got <= 0 or (self.logical != _HASH and self.logical != _ZSET):
            return got
        got = self.packed_next(self.b)
        if got <= 0:
            return self.cursor.fail(_ODD, self.blob_at, 3 if self.expiring else 2) if got == 0 else got
        if self.logical == _ZSET:
            if not self.b.measure_real():
                return self.cursor.fail(_BAD_NUMBER, self.blob_at, 0)
            self.score = self.b.real
        elif self.expiring:
            # The third element is only looked at, so the blob's own bytes can stay where they are.
            got = self.packed_next(self.blob)
            if got <= 0:
                return self.cursor.fail(_ODD, self.blob_at, 3) if got == 0 else got
            if not self.blob.is_number or self.blob.number < 0:
                return self.cursor.fail(_BAD_TIME, self.blob_at, 0)
            self.time = self.blob.number if self.blob.number != 0 else _NO_EXPIRY
        return 1

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def stored(self) -> cython.int:
        """The next item where elements are strings of the file: 1, or -1."""
        if self.shape >= _FIELDS_RELATIVE and self.shape <= _FIELDS_VALKEY:
            return self.stored_fields()
        if self.shape == _TEMPLATE_STRINGS:
            self.cursor.template_name(self.template, self.name, self.a)
            self.name += 1
            self.pos = self.string(self.b, self.pos)
            return 1 if self.pos >= 0 else -1
        self.pos = self.string(self.a, self.pos)
        if self.pos < 0:
            return -1
        if self.shape == _PAIRS:
            self.pos = self.string(self.b, self.pos)
            return 1 if self.pos >= 0 else -1
        if self.shape == _SCORED_TEXT or self.shape == _SCORED_BINARY:
            return self.stored_score()
        return 1

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def stored_score(self) -> cython.int:
        at: cython.Py_ssize_t = self.pos
        size: cython.int
        if self.shape == _SCORED_BINARY:
            self.pos = self.cursor.need(at, 8)
            if self.pos < 0:
                return -1
            self.score = load_double(self.cursor.p, at)
            if isnan(self.score):
                return self.cursor.fail(_BAD_NUMBER, at, 0)
            return 1
        self.pos = self.cursor.skip_score(at)
        if self.pos < 0:
            return -1
        size = self.cursor.p[at]
        if size >= 254:
            self.score = _INFINITY if size == 254 else -_INFINITY
            return 1
        self.b.set_bytes(self.cursor.p, at + 1, size)
        if not self.b.measure_real():
            return self.cursor.fail(_BAD_NUMBER, at, 0)
        self.score = self.b.real
        return 1

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def stored_fields(self) -> cython.int:
        """Fields with expiries: the time stands before them, or, in Valkey's form, behind."""
        ttl: cython.ulonglong = 0
        at: cython.Py_ssize_t = self.pos
        self.time = _NO_EXPIRY
        if self.shape != _FIELDS_VALKEY:
            self.pos = self.cursor.skip_len(at)
            if self.pos < 0:
                return -1
            ttl = self.cursor.value
            if ttl >> 62 != 0:
                return self.cursor.fail(_BAD_TIME, at, 0)
            if ttl != 0:
                self.time = ttl
                if self.shape == _FIELDS_RELATIVE:
                    self.time += self.base_ms - 1
        self.pos = self.string(self.a, self.pos)
        if self.pos >= 0:
            self.pos = self.string(self.b, self.pos)
        if self.pos >= 0 and self.shape == _FIELDS_VALKEY:
            at = self.pos
            self.pos = self.cursor.need(at, 8)
            if self.pos >= 0:
                self.time = load_le(self.cursor.p, at, 8)
                if self.time < _NO_EXPIRY:
                    return self.cursor.fail(_BAD_TIME, at, 0)
        return 1 if self.pos >= 0 else -1
