# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Fills a batch of columns with the entries of an RDB, until a record turns up that is not an entry (rdb-format.md 4).

Compiled when it can be, interpreted as it stands when not. Handles value types and the opcodes that belong to the next
key (expiry, idle, freq, key metadata); stops at every other opcode and lets `format.scan` deal with it.
Knows nothing of dbs, of files or of what values mean.
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

_FULL = cython.declare(cython.int, codes.FULL)
_RECORD = cython.declare(cython.int, codes.RECORD)
_FAILED = cython.declare(cython.int, codes.FAILED)
_UNKNOWN_TYPE = cython.declare(cython.int, codes.UNKNOWN_TYPE)
_META_OUT_OF_PLACE = cython.declare(cython.int, codes.META_OUT_OF_PLACE)
_TRUNCATED = cython.declare(cython.int, codes.TRUNCATED)
_KEY_ENCODED = cython.declare(cython.int, codes.KEY_ENCODED)
_EXPIRY_SECONDS = cython.declare(cython.int, codes.EXPIRY_SECONDS)
_HAS_IDLE = cython.declare(cython.int, codes.HAS_IDLE)
_HAS_FREQ = cython.declare(cython.int, codes.HAS_FREQ)
_IRREGULAR = cython.declare(cython.int, codes.IRREGULAR)
_EMPTY = cython.declare(cython.int, codes.EMPTY)
_HAS_META = cython.declare(cython.int, codes.HAS_META)
_INTERRUPTED = cython.declare(cython.int, 128)  # only while pending: another record stands between the attributes
_NO_EXPIRY = cython.declare(cython.int, codes.NO_EXPIRY)
_NO_HINT = cython.declare(cython.int, codes.NO_HINT)


@cython.cclass
class Scanner:
    """Walks the entries of `view` from `pos` to `end`; `shapes` and `empties` are `values.shape_table/empty_table`."""

    cursor: ValueCursor
    pos: cython.Py_ssize_t
    shapes: bytes
    empties: bytes
    redis_meta: cython.bint
    attrs_start: cython.Py_ssize_t
    attrs: cython.int
    expire_at: cython.longlong
    hint: cython.longlong

    def __init__(
        self,
        view: memoryview,
        pos: cython.Py_ssize_t,
        end: cython.Py_ssize_t,
        shapes: bytes,
        empties: bytes,
        redis_meta: cython.bint,
        templates: object = None,
    ) -> None:
        self.cursor = ValueCursor(view, end, templates)
        self.pos = pos
        self.shapes = shapes
        self.empties = empties
        self.redis_meta = redis_meta
        self.attrs_start = -1
        self.attrs = 0
        self.expire_at = _NO_EXPIRY
        self.hint = _NO_HINT

    def get_cursor(self) -> ValueCursor:
        """The cursor, with the error if `fill` returned FAILED."""
        return self.cursor

    def get_pos(self) -> cython.Py_ssize_t:
        """Where the next record starts."""
        return self.pos

    def last_end(self) -> cython.Py_ssize_t:
        """Where the last whole entry or record ended; -1 while attributes of a key not yet seen are pending."""
        return -1 if self.attrs_start >= 0 else self.pos

    def move_to(self, pos: cython.Py_ssize_t) -> None:
        """Continue at `pos`, after a record that was handled outside. Pending attributes stay, as in servers."""
        self.pos = pos
        self.attrs |= (_IRREGULAR | _INTERRUPTED) if self.attrs_start >= 0 else 0

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _attribute(self, opcode: cython.int, pos: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Take in the attribute whose opcode stands at `pos`; the position after it, or -1."""
        raw: cython.ulonglong = 0
        wide: cython.ulonglong
        seconds: cython.longlong
        i: cython.Py_ssize_t
        after: cython.Py_ssize_t
        p = self.cursor.p
        if opcode == 243:
            return self._key_meta(pos)
        if self.attrs & _HAS_META:
            return self.cursor.fail(_META_OUT_OF_PLACE, pos, 0)
        if self.attrs_start < 0:
            self.attrs_start = pos
        elif opcode == 252 or opcode == 253 or self.attrs & (_HAS_IDLE | _HAS_FREQ):
            self.attrs |= _IRREGULAR  # an expiry after something else, or two hints
        pos += 1
        if opcode == 252:
            after = self.cursor.need(pos, 8)
            if after < 0:
                return -1
            if cython.compiled:
                for i in range(8):
                    raw |= cython.cast(cython.ulonglong, p[pos + i]) << (8 * i)
                self.expire_at = cython.cast(cython.longlong, raw)
            else:
                self.expire_at = int.from_bytes(p[pos:after], "little", signed=True)
            self.attrs &= ~_EXPIRY_SECONDS
            if self.expire_at < 0:
                self.attrs |= _IRREGULAR
        elif opcode == 253:
            after = self.cursor.need(pos, 4)
            if after < 0:
                return -1
            seconds = p[pos] | p[pos + 1] << 8 | p[pos + 2] << 16 | cython.cast(cython.longlong, p[pos + 3]) << 24
            seconds -= (seconds >> 31) << 32  # as a signed 32-bit number
            self.expire_at = seconds * 1000
            self.attrs |= _EXPIRY_SECONDS
            if seconds < 0:
                self.attrs |= _IRREGULAR
        elif opcode == 249:
            after = self.cursor.need(pos, 1)
            if after < 0:
                return -1
            self.hint = p[pos]
            self.attrs = (self.attrs & ~_HAS_IDLE) | _HAS_FREQ
        else:
            after = self.cursor.skip_len(pos)
            if after < 0:
                return -1
            wide = self.cursor.value
            if wide >> 63 != 0:
                wide = 0  # no such time; written anew as none
                self.attrs |= _IRREGULAR
            elif after - pos != (1 if wide < 0x40 else 2 if wide < 0x4000 else 5 if wide >> 32 == 0 else 9):
                self.attrs |= _IRREGULAR  # longer than need be: written anew it has another size
            self.hint = wide
            self.attrs = (self.attrs & ~_HAS_FREQ) | _HAS_IDLE
        return after

    @cython.cfunc
    @cython.inline
    @cython.nogil
    @cython.exceptval(check=False)
    def _forget(self) -> cython.void:
        """The attributes belonged to the entry just seen."""
        self.attrs_start = -1
        self.attrs = 0
        self.expire_at = _NO_EXPIRY
        self.hint = _NO_HINT

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def _key_meta(self, pos: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Skip the metadata record at `pos`: len n, n x (4 bytes, module opcodes)."""
        count: cython.ulonglong
        if self.attrs_start < 0:
            self.attrs_start = pos
        if self.attrs & (_HAS_META | _INTERRUPTED):
            return self.cursor.fail(_META_OUT_OF_PLACE, pos, 0)
        pos = self.cursor.skip_len(pos + 1)
        if pos < 0:
            return -1
        count = self.cursor.value
        while count > 0:
            pos = self.cursor.need(pos, 4)
            if pos >= 0:
                pos = self.cursor.skip_module(pos)
            if pos < 0:
                return -1
            count -= 1
        self.attrs |= _HAS_META
        return pos

    def fill(
        self,
        row: cython.Py_ssize_t,
        types: cython.uchar[::1],
        flags: cython.uchar[::1],
        expire_at_ms: cython.longlong[::1],
        hints: cython.longlong[::1],
        entry_start: cython.longlong[::1],
        key_start: cython.longlong[::1],
        key_len: cython.uint[::1],
        value_start: cython.longlong[::1],
        ends: cython.longlong[::1],
        capacity: cython.Py_ssize_t,
        most_bytes: cython.Py_ssize_t,
    ) -> tuple[int, int]:
        """Fill rows from `row` on, to `capacity` rows or until they span `most_bytes`.

        Returns what stopped it (FULL, RECORD, FAILED) and the number of rows now."""
        status: cython.int = _FULL
        shapes: cython.p_const_uchar
        empties: cython.p_const_uchar
        if cython.compiled:
            shapes = cython.cast(cython.p_const_uchar, cython.cast(cython.p_char, self.shapes))
            empties = cython.cast(cython.p_const_uchar, cython.cast(cython.p_char, self.empties))
        else:
            shapes = self.shapes
            empties = self.empties
        cursor: ValueCursor = self.cursor
        p = cursor.p
        end: cython.Py_ssize_t = cursor.end
        pos: cython.Py_ssize_t = self.pos
        record: cython.Py_ssize_t = pos
        enough: cython.Py_ssize_t = (entry_start[0] if row > 0 else pos) + most_bytes
        start: cython.Py_ssize_t = self.attrs_start
        key: cython.Py_ssize_t
        value: cython.Py_ssize_t
        step: cython.Py_ssize_t
        count_at: cython.Py_ssize_t
        opcode: cython.int
        first: cython.int
        shape: cython.int
        flag: cython.int
        size: cython.ulonglong
        with cython.nogil:
            while row < capacity:
                record = pos
                if pos >= enough and row > 0 and start < 0:
                    break
                if pos >= end:
                    cursor.fail(_TRUNCATED, pos, 1)
                    status = _FAILED
                    break
                opcode = p[pos]
                shape = shapes[opcode]
                if shape == 255:
                    if opcode < 242:
                        cursor.fail(_UNKNOWN_TYPE, pos, opcode)
                        status = _FAILED
                        break
                    if not (
                        opcode == 252
                        or opcode == 253
                        or opcode == 248
                        or opcode == 249
                        or (opcode == 243 and self.redis_meta)
                    ):
                        status = _RECORD
                        if self.attrs & _HAS_META:
                            cursor.fail(_META_OUT_OF_PLACE, pos, 0)
                            status = _FAILED
                        break
                    pos = self._attribute(opcode, pos)
                    if pos < 0:
                        status = _FAILED
                        break
                    start = self.attrs_start
                    continue
                key = pos + 1
                # The key, and then the value: the two commonest forms of a length are read without a call.
                first = p[key] if end - key >= 2 else 0xFF
                if first < 0x40:
                    size = first
                    value = key + 1 + first
                elif first < 0x80:
                    step = ((first & 0x3F) << 8) | p[key + 1]
                    size = step
                    value = key + 2 + step
                else:
                    value = cursor.skip_string(key)
                    size = cursor.value
                    if value >= 0 and size >> 32 != 0:
                        value = cursor.fail(_TRUNCATED, key, size)
                    if value < 0:
                        status = _FAILED
                        break
                flag = _KEY_ENCODED if first >= 0xC0 and p[key] >= 0xC0 else 0
                if value > end:
                    step = size
                    cursor.fail(_TRUNCATED, value - step, size)
                    status = _FAILED
                    break
                key_len[row] = size
                first = p[value] if end - value >= 2 else 0xFF
                if shape == 0 and first < 0x80:
                    if first < 0x40:
                        size = first
                        pos = value + 1 + first
                    else:
                        step = ((first & 0x3F) << 8) | p[value + 1]
                        size = step
                        pos = value + 2 + step
                    if pos > end:
                        step = size
                        cursor.fail(_TRUNCATED, pos - step, size)
                        status = _FAILED
                        break
                    if empties[opcode] != 0 and size <= empties[opcode]:
                        flag |= _EMPTY
                else:
                    pos = cursor.skip_value(value, shape)
                    if pos < 0:
                        status = _FAILED
                        break
                    if empties[opcode] != 0:
                        if cursor.value <= empties[opcode]:  # the decoded size of the blob
                            flag |= _EMPTY
                    elif 1 <= shape <= 5 or 12 <= shape <= 14:
                        count_at = value + (8 if shape == 12 else 0)
                        if p[count_at] == 0:
                            flag |= _EMPTY
                        elif p[count_at] >= 0x40:  # a count in a longer form than servers write
                            cursor.skip_len(count_at)
                            if cursor.value == 0:
                                flag |= _EMPTY
                types[row] = opcode
                entry_start[row] = record
                key_start[row] = key
                value_start[row] = value
                ends[row] = pos
                if start >= 0:
                    entry_start[row] = start
                    flags[row] = flag | (self.attrs & ~_INTERRUPTED)
                    expire_at_ms[row] = self.expire_at
                    hints[row] = self.hint
                    start = -1
                    self._forget()
                else:
                    flags[row] = flag
                    expire_at_ms[row] = _NO_EXPIRY
                    hints[row] = _NO_HINT
                row += 1
        self.pos = record if status == _FAILED else pos
        return status, row
