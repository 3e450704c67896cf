# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Finds where things end: lengths, strings and whole values, without decoding them (rdb-format.md 2 and 6).

Compiled when it can be, interpreted as it stands when not; both ways give the same answers and the same errors.
Every length from the file is compared with what remains before it moves the position. A method returns the position
after the thing, or -1 with `error_code`, `error_pos` and `error_detail` set; `explain` in `format.scan` makes words of
them. Knows nothing of keys, expiries or columns.
"""

from __future__ import annotations

try:
    import cython  # the Cython compiler must see this very import
except ModuleNotFoundError:
    from rdbmerge import _cython as cython

from rdbmerge.format import codes

COMPILED: bool = cython.compiled

_TRUNCATED = cython.declare(cython.int, codes.TRUNCATED)
_BAD_LENGTH = cython.declare(cython.int, codes.BAD_LENGTH)
_BAD_STRING = cython.declare(cython.int, codes.BAD_STRING)
_BAD_SCORE = cython.declare(cython.int, codes.BAD_SCORE)
_BAD_CONTAINER = cython.declare(cython.int, codes.BAD_CONTAINER)
_BAD_MODULE_OPCODE = cython.declare(cython.int, codes.BAD_MODULE_OPCODE)
_BAD_LZF = cython.declare(cython.int, codes.BAD_LZF)
_BAD_ARRAY_TAG = cython.declare(cython.int, codes.BAD_ARRAY_TAG)
_BAD_STREAM_ID = cython.declare(cython.int, codes.BAD_STREAM_ID)
_LZF_MOST_GROWTH = cython.declare(cython.int, codes.LZF_MOST_GROWTH)


@cython.final
@cython.cclass
class Cursor:
    """Walks `view` (a contiguous buffer of bytes) up to `end`."""

    def __init__(self, view: memoryview, end: cython.Py_ssize_t) -> None:
        if not 0 <= end <= len(view):
            raise ValueError("end lies outside the buffer")
        self.view = view
        self.end = end
        self.error_code = 0
        self.error_pos = 0
        self.error_detail = 0
        self.value = 0
        if cython.compiled:
            window: cython.const[cython.uchar][::1] = view
            self.p = cython.address(window[0]) if len(view) else cython.NULL
        else:
            self.p = view

    def length(self, pos: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """The position after the length at `pos` (its value in `value`), -1 on error."""
        return self.skip_len(pos)

    def string(self, pos: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """The position after the string at `pos` (its decoded size in `value`), -1 on error."""
        return self.skip_string(pos)

    def payload(self, pos: cython.Py_ssize_t, shape: cython.int) -> cython.Py_ssize_t:
        """The position after the value of `shape` at `pos`, -1 on error."""
        return self.skip_value(pos, shape)

    def module(self, pos: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """The position after the module opcodes at `pos` and the 0 that closes them, -1 on error."""
        return self.skip_module(pos)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def fail(self, code: cython.int, pos: cython.Py_ssize_t, detail: cython.ulonglong) -> cython.Py_ssize_t:
        self.error_code = code
        self.error_pos = pos
        self.error_detail = detail
        return -1

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def need(self, pos: cython.Py_ssize_t, count: cython.ulonglong) -> cython.Py_ssize_t:
        room: cython.ulonglong = self.end - pos
        if count > room:
            return self.fail(_TRUNCATED, pos, count)
        step: cython.Py_ssize_t = count
        return pos + step

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def skip_len(self, pos: cython.Py_ssize_t) -> cython.Py_ssize_t:
        first: cython.int
        wide: cython.ulonglong
        i: cython.Py_ssize_t
        p = self.p
        if pos >= self.end:
            return self.fail(_TRUNCATED, pos, 1)
        first = p[pos]
        if first < 0x40:
            self.value = first
            return pos + 1
        if first < 0x80:
            if self.end - pos < 2:
                return self.fail(_TRUNCATED, pos, 2)
            self.value = ((first & 0x3F) << 8) | p[pos + 1]
            return pos + 2
        if first == 0x80:
            if self.end - pos < 5:
                return self.fail(_TRUNCATED, pos, 5)
            wide = 0
            for i in range(1, 5):
                wide = (wide << 8) | p[pos + i]
            self.value = wide
            return pos + 5
        if first == 0x81:
            if self.end - pos < 9:
                return self.fail(_TRUNCATED, pos, 9)
            wide = 0
            for i in range(1, 9):
                wide = (wide << 8) | p[pos + i]
            self.value = wide
            return pos + 9
        return self.fail(_BAD_LENGTH, pos, first)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def skip_lens(self, pos: cython.Py_ssize_t, count: cython.int) -> cython.Py_ssize_t:
        i: cython.int
        for i in range(count):  # noqa: B007 (C wants it declared)
            pos = self.skip_len(pos)
            if pos < 0:
                return -1
        return pos

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def skip_string(self, pos: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """`value` becomes the size of the string when decoded; 0 for an integer (at most 11 digits, see the bytes)."""
        first: cython.int
        packed: cython.ulonglong
        p = self.p
        if pos >= self.end:
            return self.fail(_TRUNCATED, pos, 1)
        first = p[pos]
        if first < 0xC0:
            pos = self.skip_len(pos)
            if pos < 0:
                if self.error_code == _BAD_LENGTH:
                    self.error_code = _BAD_STRING
                return -1
            return self.need(pos, self.value)
        if first < 0xC3:
            self.value = 0
            return self.need(pos, 2 if first == 0xC0 else 3 if first == 0xC1 else 5)
        if first > 0xC3:
            return self.fail(_BAD_STRING, pos, first)
        start: cython.Py_ssize_t = pos
        pos = self.skip_len(pos + 1)
        if pos < 0:
            return -1
        packed = self.value
        pos = self.skip_len(pos)
        if pos < 0:
            return -1
        pos = self.need(pos, packed)
        if pos >= 0 and self.value // _LZF_MOST_GROWTH > packed:
            return self.fail(_BAD_LZF, start, self.value)
        return pos

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def skip_strings(self, pos: cython.Py_ssize_t, count: cython.ulonglong) -> cython.Py_ssize_t:
        while count > 0:
            pos = self.skip_string(pos)
            if pos < 0:
                return -1
            count -= 1
        return pos

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
        if shape == 12:
            pos = self.need(pos, 8)
            if pos < 0:
                return -1
        return self.skip_counted(pos, shape)
