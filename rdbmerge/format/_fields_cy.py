# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Looks into hashes whose fields have expiries, and shifts those expiries where the form lets them keep their size.

Compiled when it can be, interpreted as it stands when not. What is unusual (compressed, damaged, of another size after
the shift) is left to `format.fields`, which understands everything. Knows nothing of keys.
"""

from __future__ import annotations

try:
    import cython  # the Cython compiler must see this very import
except ModuleNotFoundError:
    from rdbmerge import _cython as cython

if cython.compiled:
    from cython.cimports.rdbmerge.format._values_cy import ValueCursor
else:
    from rdbmerge.format._values_cy import ValueCursor

from rdbmerge.format import codes

COMPILED: bool = cython.compiled

_NO_FIELDS = cython.declare(cython.int, codes.NO_FIELDS)
_IN_PLACE = cython.declare(cython.int, codes.IN_PLACE)
_ANEW = cython.declare(cython.int, codes.ANEW)
_SOME_DEAD = cython.declare(cython.int, codes.SOME_DEAD)
_ALL_DEAD = cython.declare(cython.int, codes.ALL_DEAD)
_LATEST_FIELD = cython.declare(cython.longlong, codes.LATEST_FIELD_EXPIRY_MS)
_LATEST = cython.declare(cython.longlong, codes.LATEST_EXPIRY_MS)

# A time below this may take another size once it is shifted (rdb-format.md 2 and 7.2): those are written anew.
_SMALLEST_FIXED_MS = cython.declare(cython.longlong, 1 << 33)


@cython.final
@cython.cclass
class FieldSurvey:
    """Looks at one payload after the other; `first_ms` to `fixed` tell of the last one."""

    def __init__(self, view: memoryview, dead_before_ms: cython.longlong, ttl_offset_ms: cython.longlong) -> None:
        self.cursor = ValueCursor(view, len(view))
        self.p = self.cursor.p
        self.end = 0
        self.dead_before_ms = dead_before_ms
        self.ttl_offset_ms = ttl_offset_ms
        self.first_ms = 0
        self.last_ms = 0
        self.dead = 0
        self.alive = 0
        self.fixed = True
        self.writing = False
        self.delta = 0

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def load(self, pos: cython.Py_ssize_t, size: cython.int) -> cython.longlong:
        """A signed little-endian integer of `size` bytes."""
        if cython.compiled:
            raw: cython.ulonglong = 0
            i: cython.int
            for i in range(size):
                raw |= cython.cast(cython.ulonglong, self.p[pos + i]) << (8 * i)
            if size < 8 and raw >> (8 * size - 1):
                raw -= cython.cast(cython.ulonglong, 1) << (8 * size)
            return cython.cast(cython.longlong, raw)
        else:
            return int.from_bytes(self.p[pos : pos + size], "little", signed=True)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def store(self, pos: cython.Py_ssize_t, at_ms: cython.longlong) -> cython.void:
        """Put a time, 8 bytes little-endian, where the copy has what stands at `pos`."""
        if cython.compiled:
            i: cython.int
            for i in range(8):
                self.out[pos + self.delta + i] = (at_ms >> (8 * i)) & 0xFF
        else:
            self.out[pos + self.delta : pos + self.delta + 8] = at_ms.to_bytes(8, "little", signed=True)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def store_length(self, pos: cython.Py_ssize_t, at_ms: cython.longlong) -> cython.void:
        """The same, big-endian, as in a length of nine bytes."""
        if cython.compiled:
            i: cython.int
            for i in range(8):
                self.out[pos + self.delta + i] = (at_ms >> (56 - 8 * i)) & 0xFF
        else:
            self.out[pos + self.delta : pos + self.delta + 8] = at_ms.to_bytes(8, "big")

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def book(self, expire_at_ms: cython.longlong, never: cython.bint) -> cython.void:
        if never:
            self.alive += 1
            return
        if expire_at_ms < self.first_ms:
            self.first_ms = expire_at_ms
        if expire_at_ms > self.last_ms:
            self.last_ms = expire_at_ms
        if expire_at_ms < self.dead_before_ms:
            self.dead += 1
        else:
            self.alive += 1

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def listpack_end(self, pos: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Where the elements of the raw listpack string at `pos` start; `end` becomes its last byte. -1: not plain."""
        if pos >= self.end or self.p[pos] >= 0xC0:
            return -1
        start: cython.Py_ssize_t = self.cursor.skip_len(pos)
        size: cython.ulonglong = self.cursor.value
        room: cython.ulonglong
        if start < 0 or start > self.end:
            return -1
        room = self.end - start
        if size != room or size < 7:
            return -1
        total: cython.longlong = self.load(start, 4)
        if total != self.end - start or self.p[self.end - 1] != 0xFF:
            return -1  # 2 GB and more read as negative here: left to the other way as well
        self.end -= 1
        return start + 6

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def element(self, pos: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """The position after the listpack element at `pos`, backlen included; -1: it runs over the end."""
        first: cython.int = self.p[pos]
        size: cython.Py_ssize_t
        if self.end - pos < 6 and not (first < 0xE0):
            return -1
        if first < 0x80:
            size = 1
        elif first < 0xC0:
            size = 1 + (first & 0x3F)
        elif first < 0xE0:
            size = 2
        elif first < 0xF0:
            size = 2 + ((first & 0x0F) << 8) + self.p[pos + 1]
        elif first == 0xF0:
            size = self.load(pos + 1, 4)
            if size < 0:
                return -1
            size += 5
        elif first < 0xF4:
            size = 2 + (first & 0x0F)
        elif first == 0xF4:
            size = 9
        else:
            return -1
        size += 1 if size < 128 else 2 if size < 16383 else 3 if size < 2097151 else 4 if size < 268435455 else 5
        return pos + size if size <= self.end - pos else -1

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def element_expiry(self, pos: cython.Py_ssize_t) -> cython.bint:
        """Book the time that the listpack element at `pos` (checked) stands for. False: it is none."""
        first: cython.int = self.p[pos]
        if first < 0x80:
            self.book(first, first == 0)
            self.fixed = self.fixed and first == 0
            return True
        if first == 0xF4:
            self.book(self.load(pos + 1, 8), False)
            return True
        return False

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def walk_listpack(self, pos: cython.Py_ssize_t) -> cython.bint:
        """Book every third element, or shift it in the copy while `writing`. False: not understood."""
        after: cython.Py_ssize_t
        third: cython.int = 0
        pos = self.listpack_end(pos)
        if pos < 0:
            return False
        while pos < self.end:
            after = self.element(pos)
            if after < 0:
                return False
            third += 1
            if third == 3:
                third = 0
                if not self.writing:
                    if not self.element_expiry(pos):
                        return False
                elif self.p[pos] == 0xF4:
                    self.store(pos + 1, self.load(pos + 1, 8) + self.ttl_offset_ms)
            pos = after
        return third == 0

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def walk_counted(self, pos: cython.Py_ssize_t, shape: cython.int) -> cython.bint:
        """The same for the forms with a count: 12 (relative), 13 (absolute), 14 (Valkey)."""
        base: cython.longlong = 0
        at: cython.Py_ssize_t
        count: cython.ulonglong
        ttl: cython.ulonglong
        if shape == 12:
            if self.end - pos < 8:
                return False
            base = self.load(pos, 8)
            if self.writing:
                self.store(pos, base + self.ttl_offset_ms)
                return True
            if base < 0 or base >> 50 != 0:
                return False
            pos += 8
        pos = self.cursor.skip_len(pos)
        if pos < 0:
            return False
        count = self.cursor.value
        while count > 0:
            at = pos
            ttl = 0
            if shape != 14:
                pos = self.cursor.skip_len(pos)
                if pos < 0:
                    return False
                ttl = self.cursor.value
                if ttl >> 50 != 0:
                    return False
            pos = self.cursor.skip_string(pos)
            if pos >= 0:
                pos = self.cursor.skip_string(pos)
            if pos < 0 or pos > self.end:
                return False
            if shape == 14:
                at = pos
                pos += 8
                if pos > self.end:
                    return False
                base = self.load(at, 8)
                if not self.writing:
                    self.book(base, base == -1)
                elif base != -1:
                    self.store(at, base + self.ttl_offset_ms)
            elif not self.writing:
                self.book(base + ttl - 1 if shape == 12 else ttl, ttl == 0)
                if shape == 13 and ttl != 0 and self.p[at] != 0x81:
                    self.fixed = False
            elif ttl != 0:
                self.store_length(at + 1, ttl + self.ttl_offset_ms)
            count -= 1
        if shape == 12 and base != self.first_ms:
            self.fixed = False  # not the base a server would write: the shift makes a right one
        return pos == self.end

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def judge(
        self, shape: cython.int, start: cython.Py_ssize_t, stop: cython.Py_ssize_t, short_times: cython.bint
    ) -> cython.int:
        """What the payload at `start` to `stop` needs: IN_PLACE, ANEW, SOME_DEAD or ALL_DEAD.

        `short_times`: its line allows no more than LATEST_FIELD_EXPIRY_MS. ANEW also for what is not understood here.
        """
        latest: cython.longlong = _LATEST_FIELD if short_times else _LATEST
        self.first_ms = _LATEST
        self.last_ms = 0
        self.dead = 0
        self.alive = 0
        self.fixed = True
        self.end = stop
        if 12 <= shape <= 14:
            if not self.walk_counted(start, shape):
                return _ANEW
        elif not self.walk_listpack(start + (8 if shape == 15 else 0)):
            return _ANEW
        if self.dead > 0:
            return _SOME_DEAD if self.alive > 0 else _ALL_DEAD
        if self.first_ms > self.last_ms:  # no field expires
            return _IN_PLACE if shape != 12 or self.ttl_offset_ms == 0 else _ANEW
        if (
            self.fixed
            and self.first_ms >= _SMALLEST_FIXED_MS
            and self.first_ms + self.ttl_offset_ms >= _SMALLEST_FIXED_MS
            and self.last_ms <= latest - (self.ttl_offset_ms if self.ttl_offset_ms > 0 else 0)
        ):
            return _IN_PLACE
        return _ANEW if self.ttl_offset_ms != 0 else _IN_PLACE

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def patch(
        self,
        shape: cython.int,
        start: cython.Py_ssize_t,
        stop: cython.Py_ssize_t,
        out: cython.p_uchar,
        at: cython.Py_ssize_t,
    ) -> cython.void:
        """Shift the expiries of the copy at `out[at]` of a payload that was judged IN_PLACE."""
        first_ms: cython.longlong
        if self.ttl_offset_ms == 0:
            return
        self.out = out
        self.delta = at - start
        self.writing = True
        self.end = stop
        if 12 <= shape <= 14:
            self.walk_counted(start, shape)
        else:
            if shape == 15:
                first_ms = self.load(start, 8)
                if first_ms != 0:
                    self.store(start, first_ms + self.ttl_offset_ms)
            self.walk_listpack(start + (8 if shape == 15 else 0))
        self.writing = False


def judge_rows(
    survey: FieldSurvey,
    types: cython.const[cython.uchar][::1],
    value_start: cython.const[cython.longlong][::1],
    ends: cython.const[cython.longlong][::1],
    rows: cython.Py_ssize_t,
    field_shapes: cython.const[cython.uchar][::1],
    short_times: cython.bint,
    verdicts: cython.uchar[::1],
) -> None:
    """A verdict for each of the first `rows` rows: NO_FIELDS where `field_shapes[type]` is 255, else as `judge`."""
    row: cython.Py_ssize_t
    shape: cython.int
    with cython.nogil:
        for row in range(rows):
            shape = field_shapes[types[row]]
            if shape == 255:
                verdicts[row] = _NO_FIELDS
            else:
                verdicts[row] = survey.judge(shape, value_start[row], ends[row], short_times)
