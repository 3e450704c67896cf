# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Finds where values end, by their shape, without decoding them (rdb-format.md 6).

Compiled when it can be, interpreted as it stands when not. Knows nothing of keys, expiries or columns.
"""

from __future__ import annotations

try:
    import cython  # the Cython compiler must see this very import
except ModuleNotFoundError:
    from rdbmerge import _cython as cython

if cython.compiled:
    from cython.cimports.rdbmerge.format._cursor_cy import Cursor
    from cython.cimports.rdbmerge.format._element_cy import Element
else:
    from rdbmerge.format._cursor_cy import Cursor
    from rdbmerge.format._element_cy import Element

from rdbmerge.format import codes

COMPILED: bool = cython.compiled

_TRUNCATED = cython.declare(cython.int, codes.TRUNCATED)
_BAD_SCORE = cython.declare(cython.int, codes.BAD_SCORE)
_BAD_CONTAINER = cython.declare(cython.int, codes.BAD_CONTAINER)
_BAD_MODULE_OPCODE = cython.declare(cython.int, codes.BAD_MODULE_OPCODE)
_BAD_ARRAY_TAG = cython.declare(cython.int, codes.BAD_ARRAY_TAG)
_BAD_STREAM_ID = cython.declare(cython.int, codes.BAD_STREAM_ID)
_BAD_TEMPLATE = cython.declare(cython.int, codes.BAD_TEMPLATE)


@cython.final
@cython.cclass
class Templates:
    """The field names of a file's hash templates by their ids (rdb-format.md 6.7). Rare, so plain Python will do."""

    def __init__(self) -> None:
        self.names = {}

    def add(self, number: int, names: list[bytes]) -> bool:
        """Take in a template; False if its id has other names already."""
        return self.names.setdefault(number, names) == names  # type: ignore[no-any-return]

    @cython.cfunc
    @cython.with_gil
    @cython.exceptval(check=False)
    def count(self, number: cython.ulonglong) -> cython.Py_ssize_t:
        """How many names a template has; -1 if there is none of that id."""
        found = self.names.get(number)
        return -1 if found is None else len(found)

    @cython.cfunc
    @cython.with_gil
    @cython.exceptval(check=False)
    def name(self, number: cython.ulonglong, place: cython.Py_ssize_t, element: Element) -> cython.void:
        """Make `element` a name of a template that is there; the template keeps the bytes alive."""
        text: bytes = self.names[number][place]
        if cython.compiled:
            element.set_bytes(cython.cast(cython.p_const_uchar, cython.cast(cython.p_char, text)), 0, len(text))
        else:
            element.set_bytes(text, 0, len(text))


@cython.final
@cython.cclass
class ValueCursor(Cursor):
    """A cursor that knows the shapes of values (`values.Shape`), and the hash templates of its file, if there are."""

    def __init__(self, view: memoryview, end: cython.Py_ssize_t, templates: Templates | None = None) -> None:
        Cursor.__init__(self, view, end)
        self.templates = templates

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def template_names(self, number: cython.ulonglong) -> cython.Py_ssize_t:
        """How many names a hash template has; -1 if there is none of that id."""
        return -1 if self.templates is None else self.templates.count(number)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def template_name(self, number: cython.ulonglong, place: cython.Py_ssize_t, element: Element) -> cython.void:
        self.templates.name(number, place, element)

    def payload(self, pos: cython.Py_ssize_t, shape: cython.int) -> cython.Py_ssize_t:
        """The position after the value of `shape` at `pos`, -1 on error."""
        return self.skip_value(pos, shape)

    def module(self, pos: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """The position after the module opcodes at `pos` and the 0 that closes them, -1 on error."""
        return self.skip_module(pos)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def skip_score(self, pos: cython.Py_ssize_t) -> cython.Py_ssize_t:
        size: cython.int
        if pos >= self.end:
            return self.fail(_TRUNCATED, pos, 1)
        size = self.p[pos]
        if size > 253:
            return pos + 1
        if size == 253 or size == 0:
            return self.fail(_BAD_SCORE, pos, size)
        return self.need(pos + 1, size)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def skip_counted(self, pos: cython.Py_ssize_t, shape: cython.int) -> cython.Py_ssize_t:
        """Shapes 3 to 5 and 12 to 14: `len n`, then n elements of one form."""
        count: cython.ulonglong
        at: cython.Py_ssize_t
        pos = self.skip_len(pos)
        if pos < 0:
            return -1
        count = self.value
        while count > 0:
            at = pos
            if shape == 12 or shape == 13 or shape == 5:
                pos = self.skip_len(pos)
                if pos < 0:
                    return -1
                if shape == 5 and self.value != 1 and self.value != 2:
                    return self.fail(_BAD_CONTAINER, at, self.value)
            pos = self.skip_string(pos)
            if pos < 0:
                return -1
            if shape == 3:
                pos = self.skip_score(pos)
            elif shape == 4:
                pos = self.need(pos, 8)
            elif shape >= 12:
                pos = self.skip_string(pos)
                if pos >= 0 and shape == 14:
                    pos = self.need(pos, 8)
            if pos < 0:
                return -1
            count -= 1
        return pos

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def skip_module(self, pos: cython.Py_ssize_t) -> cython.Py_ssize_t:
        at: cython.Py_ssize_t
        while True:
            at = pos
            pos = self.skip_len(pos)
            if pos < 0 or self.value == 0:
                return pos
            if self.value == 1 or self.value == 2:
                pos = self.skip_len(pos)
            elif self.value == 3:
                pos = self.need(pos, 4)
            elif self.value == 4:
                pos = self.need(pos, 8)
            elif self.value == 5:
                pos = self.skip_string(pos)
            else:
                return self.fail(_BAD_MODULE_OPCODE, at, self.value)
            if pos < 0:
                return -1

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def skip_raw_ids(self, pos: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """A count and that many raw stream IDs of 16 bytes."""
        pos = self.skip_len(pos)
        if pos < 0:
            return -1
        if self.value >> 60 != 0:  # times 16 would wrap in C
            return self.fail(_TRUNCATED, pos, self.value)
        return self.need(pos, self.value * 16)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def skip_stream(self, pos: cython.Py_ssize_t, level: cython.int) -> cython.Py_ssize_t:
        """`level` 1 to 5: the columns of the table in rdb-format.md 6.4."""
        count: cython.ulonglong
        at: cython.Py_ssize_t
        pos = self.skip_len(pos)
        if pos < 0:
            return -1
        count = self.value
        while count > 0:
            at = pos
            pos = self.skip_string(pos)
            if pos < 0:
                return -1
            if self.value != 16:
                return self.fail(_BAD_STREAM_ID, at, self.value)
            pos = self.skip_string(pos)
            if pos < 0:
                return -1
            count -= 1
        pos = self.skip_lens(pos, 3 if level == 1 else 8)
        if pos >= 0:
            pos = self.skip_stream_groups(pos, level)
        if pos >= 0 and level >= 4:
            pos = self.skip_stream_idmp(pos)
        return pos

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def skip_stream_groups(self, pos: cython.Py_ssize_t, level: cython.int) -> cython.Py_ssize_t:
        groups: cython.ulonglong
        count: cython.ulonglong
        pos = self.skip_len(pos)
        if pos < 0:
            return -1
        groups = self.value
        while groups > 0:
            pos = self.skip_string(pos)
            if pos >= 0:
                pos = self.skip_lens(pos, 2 if level == 1 else 3)
            if pos >= 0:
                pos = self.skip_len(pos)
            if pos < 0:
                return -1
            count = self.value
            while count > 0:  # the group's pending entries
                pos = self.need(pos, 24)
                if pos >= 0:
                    pos = self.skip_len(pos)
                if pos < 0:
                    return -1
                count -= 1
            pos = self.skip_len(pos)
            if pos < 0:
                return -1
            count = self.value
            while count > 0:  # its consumers
                pos = self.skip_string(pos)
                if pos >= 0:
                    pos = self.need(pos, 8 if level < 3 else 16)
                if pos >= 0:
                    pos = self.skip_raw_ids(pos)
                if pos < 0:
                    return -1
                count -= 1
            if level >= 5:
                pos = self.skip_raw_ids(pos)
                if pos < 0:
                    return -1
            groups -= 1
        return pos

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def skip_stream_idmp(self, pos: cython.Py_ssize_t) -> cython.Py_ssize_t:
        producers: cython.ulonglong
        count: cython.ulonglong
        pos = self.skip_lens(pos, 3)
        if pos < 0:
            return -1
        producers = self.value
        while producers > 0:
            pos = self.skip_string(pos)
            if pos >= 0:
                pos = self.skip_len(pos)
            if pos < 0:
                return -1
            count = self.value
            while count > 0:
                pos = self.skip_string(pos)
                if pos >= 0:
                    pos = self.skip_lens(pos, 2)
                if pos < 0:
                    return -1
                count -= 1
            producers -= 1
        return self.skip_lens(pos, 2)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def skip_array(self, pos: cython.Py_ssize_t) -> cython.Py_ssize_t:
        count: cython.ulonglong
        at: cython.Py_ssize_t
        pos = self.skip_len(pos)
        if pos < 0:
            return -1
        count = self.value
        at = pos
        pos = self.skip_len(pos)
        if pos < 0:
            return -1
        if self.value > 1:
            return self.fail(_BAD_ARRAY_TAG, at, self.value)
        pos = self.skip_lens(pos, 1 if self.value == 1 else 0)
        while pos >= 0 and count > 0:
            pos = self.skip_len(pos)
            if pos < 0:
                return -1
            at = pos
            pos = self.skip_len(pos)
            if pos < 0:
                return -1
            if self.value == 0 or self.value == 3:
                pos = self.skip_string(pos)
            elif self.value == 1 or self.value == 2:
                pos = self.need(pos, 8)
            else:
                return self.fail(_BAD_ARRAY_TAG, at, self.value)
            count -= 1
        return pos

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def skip_template_strings(self, pos: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """As many strings as the hash template has names whose id comes first."""
        at: cython.Py_ssize_t = pos
        names: cython.Py_ssize_t
        pos = self.skip_len(pos)
        if pos < 0:
            return -1
        names = self.template_names(self.value)
        if names < 0:
            return self.fail(_BAD_TEMPLATE, at, self.value)
        return self.skip_strings(pos, names)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def skip_value(self, pos: cython.Py_ssize_t, shape: cython.int) -> cython.Py_ssize_t:
        """`shape` is a number of `values.Shape`."""
        if shape == 0:
            return self.skip_string(pos)
        if shape == 1 or shape == 2:
            pos = self.skip_len(pos)
            if pos < 0:
                return -1
            if self.value >> 63 != 0:  # twice as many would wrap in C
                return self.fail(_TRUNCATED, pos, self.value)
            return self.skip_strings(pos, self.value * shape)
        if shape == 6:
            pos = self.skip_len(pos)
            return self.skip_module(pos) if pos >= 0 else -1
        if 7 <= shape <= 11:
            return self.skip_stream(pos, shape - 6)
        if shape == 15:
            pos = self.need(pos, 8)
            return self.skip_string(pos) if pos >= 0 else -1
        if shape == 16:
            return self.skip_array(pos)
        if shape == 17:
            return self.skip_string(pos)
        if shape == 18:
            return self.skip_template_strings(pos)
        if shape == 12:
            pos = self.need(pos, 8)
            if pos < 0:
                return -1
        return self.skip_counted(pos, shape)


def find_long_lengths(
    cursor: ValueCursor,
    shapes: cython.const[cython.uchar][::1],
    types: cython.const[cython.uchar][::1],
    key_start: cython.const[cython.longlong][::1],
    rows: cython.Py_ssize_t,
    found: cython.uchar[::1],
) -> None:
    """Set `found` to 1 for rows whose key or value has a length in the form of 64 bits, which Redis 3.2 cannot read."""
    row: cython.Py_ssize_t
    pos: cython.Py_ssize_t
    with cython.nogil:
        for row in range(rows):
            cursor.long_lengths = 0
            pos = cursor.skip_string(key_start[row])
            if pos >= 0:
                cursor.skip_value(pos, shapes[types[row]])
            found[row] = cursor.long_lengths > 0
