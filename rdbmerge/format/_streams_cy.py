# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Reads the entries of a stream one after the other out of the listpacks of its nodes (rdb-format.md 6.4).

What follows the nodes (groups and their pending entries) is not read here: `pos` is where it starts. Compiled when it
can be, interpreted as it stands when not.
"""

from __future__ import annotations

try:
    import cython  # the Cython compiler must see this very import
except ModuleNotFoundError:
    from rdbmerge import _cython as cython

if cython.compiled:
    from cython.cimports.rdbmerge.format._element_cy import Element
    from cython.cimports.rdbmerge.format._items_cy import ItemReader
    from cython.cimports.rdbmerge.format._packs_cy import Pack
    from cython.cimports.rdbmerge.format._values_cy import ValueCursor
else:
    from rdbmerge.format._element_cy import Element
    from rdbmerge.format._items_cy import ItemReader
    from rdbmerge.format._packs_cy import Pack
    from rdbmerge.format._values_cy import ValueCursor

from rdbmerge.format import codes
from rdbmerge.format.values import Packing

COMPILED: bool = cython.compiled

_BAD_ID = cython.declare(cython.int, codes.BAD_STREAM_ID)
_BAD_NODE = cython.declare(cython.int, codes.BAD_STREAM_NODE)
_HEAD = cython.declare(cython.int, codes.NODE_HEAD)
_ENTRY = cython.declare(cython.int, codes.NODE_ENTRY)
_COUNT = cython.declare(cython.int, codes.NODE_COUNT)
_CUT = cython.declare(cython.int, codes.NODE_CUT)
_LISTPACK = cython.declare(cython.int, int(Packing.LISTPACK))
_MASK = cython.declare(cython.ulonglong, 0xFFFFFFFFFFFFFFFF)
_ID_BYTES = cython.declare(cython.int, 16)
_DELETED = cython.declare(cython.int, 1)
_SAME_FIELDS = cython.declare(cython.int, 2)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def load_be64(base: cython.p_const_uchar, at: cython.Py_ssize_t) -> cython.ulonglong:
    """An unsigned big-endian integer of 8 bytes."""
    value: cython.ulonglong = 0
    i: cython.int
    for i in range(8):
        value = value << 8 | base[at + i]
    return value


@cython.final
@cython.cclass
class StreamReader:
    """`begin` a stream, then `step` until it says 0: `ms`, `seq` and `deleted` tell of an entry.

    `step_field` then gives its fields in `field` and `value`; those not asked for are passed over. Uses the cursor and
    the blob of `items`, which must not be used for a value of its own meanwhile.
    """

    def __init__(self, items: ItemReader) -> None:
        self.items = items
        self.cursor = items.cursor
        self.pack = Pack()
        self.master = Pack()
        self.master_fields = Pack()
        self.field = Element()
        self.value = Element()
        self.number = Element()
        self.nodes = 0
        self.entries = 0
        self.master_ms = 0
        self.master_seq = 0
        self.master_count = 0
        self.fields = 0
        self.told = 0
        self.ms = 0
        self.seq = 0
        self.deleted = False
        self.same = False
        self.pos = 0

    def start(self, start: cython.Py_ssize_t, end: cython.Py_ssize_t) -> bool:
        """Stand before the first entry of the stream at `start` to `end`; False: the cursor's error says why not."""
        return self.begin(start, end) == 0

    def walk(self, start: cython.Py_ssize_t, end: cython.Py_ssize_t) -> int:
        """Where the nodes of the stream at `start` to `end` end, every entry of them sound; -1 on error."""
        got: cython.int = self.begin(start, end)
        if got == 0:
            got = 1
        with cython.nogil:
            while got > 0:
                got = self.step()
        return self.pos if got == 0 else -1

    def next_entry(self) -> tuple[int, int, list[tuple[bytes, bytes]]] | None | bool:
        """The next entry that is not deleted: ms, seq, fields. None after the last one, False on error."""
        got: cython.int
        while True:
            got = self.step()
            if got <= 0:
                return None if got == 0 else False
            if not self.deleted:
                break
        fields: list[tuple[bytes, bytes]] = []
        while True:
            got = self.step_field()
            if got <= 0:
                break
            fields.append((self.field.as_bytes(), self.value.as_bytes()))
        return False if got < 0 else (self.ms, self.seq, fields)

    def get_cursor(self) -> ValueCursor:
        """The cursor, with the error."""
        return self.cursor

    def where(self) -> int:
        """Where the reader stands; after the last entry: where the length of the stream stands."""
        return self.pos

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def fail(self, what: cython.int) -> cython.int:
        self.cursor.fail(_BAD_NODE, self.items.blob_at, what)
        return -1

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def element(self, element: Element) -> cython.int:
        """The next element of the node: 1; 0 after the last one, -1 on error."""
        got: cython.int = self.pack.step(element)
        if got < 0:
            self.cursor.fail(self.pack.error_code, self.items.blob_at, self.pack.error_detail)
        return got

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def whole(self, what: cython.int) -> cython.int:
        """The next element, which must be a number, into `number`: 1, or -1."""
        got: cython.int = self.element(self.number)
        if got < 0:
            return -1
        if got == 0:
            return self.fail(_CUT)
        return 1 if self.number.is_number else self.fail(what)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def begin(self, start: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.int:
        """0, or -1."""
        self.cursor.end = end
        self.items.end = end
        self.entries = 0
        self.fields = 0
        self.nodes = 0
        self.told = 0
        self.pos = self.cursor.skip_len(start)
        if self.pos < 0:
            return -1
        self.nodes = self.cursor.value
        return 0

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def open_node(self) -> cython.int:
        """Read the key and the head of the next node: 1, or -1."""
        at: cython.Py_ssize_t = self.pos
        size: cython.ulonglong
        self.pos = self.items.string(self.number, at)
        if self.pos < 0:
            return -1
        self.number.spell()
        if self.number.size != _ID_BYTES:
            size = self.number.size
            return self.cursor.fail(_BAD_ID, at, size)
        self.master_ms = load_be64(self.number.base, self.number.at)
        self.master_seq = load_be64(self.number.base, self.number.at + 8)
        self.items.packing = _LISTPACK
        if self.items.open_blob(self.pos) < 0:
            return -1
        self.pos = self.items.pos
        self.pack.stand_at(self.items.pack)
        if self.whole(_HEAD) < 0:
            return -1
        if self.number.number < 0 or self.number.number >> 40 != 0:
            return self.fail(_HEAD)
        self.entries = self.number.number
        if self.whole(_HEAD) < 0:
            return -1
        if self.number.number < 0 or self.number.number >> 40 != 0:
            return self.fail(_HEAD)
        self.entries += self.number.number
        if self.whole(_HEAD) < 0:
            return -1
        self.master_count = self.number.number
        if self.master_count < 0:
            return self.fail(_HEAD)
        self.master_fields.stand_at(self.pack)
        left: cython.longlong = self.master_count
        got: cython.int
        while left > 0:
            got = self.element(self.field)
            if got <= 0:
                return self.fail(_CUT) if got == 0 else got
            left -= 1
        if self.whole(_HEAD) < 0:
            return -1
        return 1 if self.number.number == 0 else self.fail(_HEAD)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def step(self) -> cython.int:
        """The next entry, deleted ones too: 1; 0 after the last one, -1 on error."""
        got: cython.int
        flags: cython.longlong
        while self.fields > 0:  # what was not asked for
            got = self.step_field()
            if got < 0:
                return -1
        if self.told > 0:
            if self.whole(_ENTRY) < 0:
                return -1
            if self.number.number != self.told:
                return self.fail(_ENTRY)
            self.told = 0
            if self.entries == 0:
                got = self.element(self.number)
                if got != 0:
                    return self.fail(_COUNT) if got > 0 else got
        while self.entries == 0:
            if self.nodes == 0:
                return 0
            self.nodes -= 1
            if self.open_node() < 0:
                return -1
            if self.entries == 0:
                got = self.element(self.number)
                if got != 0:
                    return self.fail(_COUNT) if got > 0 else got
        self.entries -= 1
        got = self.element(self.number)
        if got <= 0:
            return self.fail(_COUNT) if got == 0 else got
        flags = self.number.number
        if not self.number.is_number or flags < 0 or flags > 3:
            return self.fail(_ENTRY)
        self.deleted = flags & _DELETED != 0
        self.same = flags & _SAME_FIELDS != 0
        if self.whole(_ENTRY) < 0:
            return -1
        self.ms = (self.master_ms + self.number.number) & _MASK
        if self.whole(_ENTRY) < 0:
            return -1
        self.seq = (self.master_seq + self.number.number) & _MASK
        if self.same:
            self.fields = self.master_count
            self.told = 3 + self.fields
            self.master.stand_at(self.master_fields)
            return 1
        if self.whole(_ENTRY) < 0:
            return -1
        self.fields = self.number.number
        if self.fields < 0 or self.fields >> 40 != 0:
            return self.fail(_ENTRY)
        self.told = 4 + 2 * self.fields
        return 1

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def step_field(self) -> cython.int:
        """The next field of the entry: 1; 0 after the last one, -1 on error."""
        got: cython.int
        if self.fields == 0:
            return 0
        self.fields -= 1
        if self.same:
            self.master.step(self.field)  # these elements were walked before: they are sound
        else:
            got = self.element(self.field)
            if got <= 0:
                return self.fail(_CUT) if got == 0 else got
        got = self.element(self.value)
        if got <= 0:
            return self.fail(_CUT) if got == 0 else got
        return 1
