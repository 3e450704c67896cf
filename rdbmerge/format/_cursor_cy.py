# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Finds where lengths and strings end, without decoding them (rdb-format.md 2).

Compiled when it can be, interpreted as it stands when not; both ways give the same answers and the same errors.
Every length from the file is compared with what remains before it moves the position. A method returns the position
after the thing, or -1 with `error_code`, `error_pos` and `error_detail` set; `explain` in `format.scan` makes words of
them. Knows nothing of values (`_values_cy`).
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
_BAD_LZF = cython.declare(cython.int, codes.BAD_LZF)
_LZF_MOST_GROWTH = cython.declare(cython.int, codes.LZF_MOST_GROWTH)


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
        self.long_lengths = 0  # lengths of 64 bits that were met
        if cython.compiled:
            window: cython.const[cython.uchar][::1] = view
            self.p = cython.address(window[0]) if len(view) else cython.NULL
        else:
            self.p = view

    def limit(self) -> cython.Py_ssize_t:
        """Where the bytes stop that it may read."""
        return self.end

    def length(self, pos: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """The position after the length at `pos` (its value in `value`), -1 on error."""
        return self.skip_len(pos)

    def string(self, pos: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """The position after the string at `pos` (its decoded size in `value`), -1 on error."""
        return self.skip_string(pos)

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
            self.long_lengths += 1
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
        """`count` strings; the commonest form, raw and below 64 bytes, is passed over without a call."""
        first: cython.int
        p = self.p
        end: cython.Py_ssize_t = self.end
        while count > 0:
            first = p[pos] if pos < end else 0xFF
            if first < 0x40:
                pos += 1
                if first > end - pos:
                    return self.fail(_TRUNCATED, pos, first)
                pos += first
            else:
                pos = self.skip_string(pos)
                if pos < 0:
                    return -1
            count -= 1
        return pos
