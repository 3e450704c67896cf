# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Turns rows of columns into RESTORE commands: key, expiry, and the payload with stamp and CRC-64 (rdb-format.md 10).

Compiled when it can be, interpreted as it stands when not. Stops at a row that `format.commands` must do, or that does
not fit. Takes no decision: which rows are wanted, and how each is written, is told.
"""

from __future__ import annotations

try:
    import cython  # the Cython compiler must see this very import
except ModuleNotFoundError:
    from rdbmerge import _cython as cython

if cython.compiled:
    from cython.cimports.libc.string import memcpy
    from cython.cimports.rdbmerge.format._crc64_cy import crc64
    from cython.cimports.rdbmerge.format._element_cy import Element, load_le
    from cython.cimports.rdbmerge.format._fields_cy import FieldSurvey
    from cython.cimports.rdbmerge.format._recode_cy import Recoder
else:
    from rdbmerge.format._crc64_cy import crc64
    from rdbmerge.format._element_cy import Element, load_le
    from rdbmerge.format._fields_cy import FieldSurvey
    from rdbmerge.format._recode_cy import Recoder

from rdbmerge.format import codes

COMPILED: bool = cython.compiled

_KEY_ENCODED = cython.declare(cython.int, codes.KEY_ENCODED)
_HAS_IDLE = cython.declare(cython.int, codes.HAS_IDLE)
_HAS_FREQ = cython.declare(cython.int, codes.HAS_FREQ)
_SHIFTED = cython.declare(cython.int, codes.SHIFTED)
_RECODED = cython.declare(cython.int, codes.RECODED)
_NO_EXPIRY = cython.declare(cython.longlong, codes.NO_EXPIRY)
_LATEST = cython.declare(cython.longlong, codes.LATEST_EXPIRY_MS)
_LAPSED = cython.declare(cython.uchar, codes.LAPSED)
_ABSOLUTE = cython.declare(cython.int, codes.ABSOLUTE)
_REPLACE = cython.declare(cython.int, codes.REPLACE)
_HINTED = cython.declare(cython.int, codes.HINTED)
_ASKING = cython.declare(cython.int, codes.ASKING)
_DELETING = cython.declare(cython.int, codes.DELETING)

# The words of commands, one behind the other, and where each starts and how long it is.
_WORDS: bytes = (
    b"*1\r\n$6\r\nASKING\r\n*2\r\n$3\r\nDEL\r\n\r\n$7\r\nRESTORE\r\n"
    b"$7\r\nREPLACE\r\n$6\r\nABSTTL\r\n$8\r\nIDLETIME\r\n$4\r\nFREQ\r\n"
)
_ASKING_AT = cython.declare(cython.int, 0)
_ASKING_BYTES = cython.declare(cython.int, 16)
_DEL_AT = cython.declare(cython.int, 16)
_DEL_BYTES = cython.declare(cython.int, 13)
_RESTORE_AT = cython.declare(cython.int, 29)
_RESTORE_BYTES = cython.declare(cython.int, 15)
_REPLACE_AT = cython.declare(cython.int, 44)
_REPLACE_BYTES = cython.declare(cython.int, 13)
_ABSOLUTE_AT = cython.declare(cython.int, 57)
_ABSOLUTE_BYTES = cython.declare(cython.int, 12)
_IDLE_AT = cython.declare(cython.int, 69)
_IDLE_BYTES = cython.declare(cython.int, 14)
_FREQ_AT = cython.declare(cython.int, 83)
_FREQ_BYTES = cython.declare(cython.int, 10)
_FRAME_BYTES = cython.declare(cython.Py_ssize_t, 320)  # more than all words and numbers of one command take


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _put(
    out: cython.p_uchar,
    at: cython.Py_ssize_t,
    base: cython.p_const_uchar,
    start: cython.Py_ssize_t,
    size: cython.Py_ssize_t,
) -> cython.Py_ssize_t:
    if cython.compiled:
        memcpy(out + at, base + start, size)
    else:
        out[at : at + size] = base[start : start + size]
    return at + size


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _put_number(
    out: cython.p_uchar, at: cython.Py_ssize_t, mark: cython.int, number: cython.ulonglong
) -> cython.Py_ssize_t:
    """`$` or `*`, the decimal text, and the end of the line."""
    size: cython.Py_ssize_t = 1
    rest: cython.ulonglong = number
    i: cython.Py_ssize_t
    out[at] = mark
    while rest >= 10:
        rest //= 10
        size += 1
    for i in range(size):
        out[at + size - i] = 48 + number % 10
        number //= 10
    at += 1 + size
    out[at] = 13
    out[at + 1] = 10
    return at + 2


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _put_text_number(out: cython.p_uchar, at: cython.Py_ssize_t, number: cython.ulonglong) -> cython.Py_ssize_t:
    """A number as an argument."""
    size: cython.Py_ssize_t = 1
    rest: cython.ulonglong = number
    while rest >= 10:
        rest //= 10
        size += 1
    at = _put_number(out, at, 36, size) - 1
    # The mark of the number is the end of the line before it; it is put again as what it was.
    at = _put_number(out, at, 10, number)
    return at


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _length_step(first: cython.int) -> cython.Py_ssize_t:
    """Bytes of a length by its first one."""
    return 1 if first < 0x40 else 2 if first < 0x80 else 5 if first == 0x80 else 9


@cython.final
@cython.cclass
class RestoreWriter:
    """Writes the rows of one file for one target.

    `survey`, `field_shapes` and `recoder` are those that found how rows are treated. `options` are of `codes.ABSOLUTE`
    to `codes.DELETING`. `stamp` goes on every payload, but `valkey_stamp` on those of Valkey's own types.
    """

    survey: FieldSurvey
    recoder: Recoder
    key: Element
    shapes: bytes
    prefix: bytes
    words: bytes
    shapes_base: cython.p_const_uchar
    prefix_base: cython.p_const_uchar
    words_base: cython.p_const_uchar
    prefix_len: cython.Py_ssize_t
    ttl_offset_ms: cython.longlong
    valkey: cython.bint
    stamp: cython.int
    valkey_stamp: cython.int

    def __init__(
        self,
        survey: FieldSurvey,
        recoder: Recoder,
        field_shapes: bytes,
        key_prefix: bytes,
        ttl_offset_ms: cython.longlong,
        valkey: cython.bint,
        stamp: cython.int,
        valkey_stamp: cython.int,
    ) -> None:
        self.survey = survey
        self.recoder = recoder
        self.key = Element()
        self.shapes = field_shapes
        self.prefix = key_prefix
        self.prefix_len = len(key_prefix)
        self.words = _WORDS
        if cython.compiled:
            self.shapes_base = cython.cast(cython.p_const_uchar, cython.cast(cython.p_char, field_shapes))
            self.prefix_base = cython.cast(cython.p_const_uchar, cython.cast(cython.p_char, key_prefix))
            self.words_base = cython.cast(cython.p_const_uchar, cython.cast(cython.p_char, self.words))
        else:
            self.shapes_base, self.prefix_base, self.words_base = field_shapes, key_prefix, _WORDS
        self.ttl_offset_ms = ttl_offset_ms
        self.valkey = valkey
        self.stamp = stamp
        self.valkey_stamp = valkey_stamp

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def find_key(
        self, view: cython.p_const_uchar, start: cython.Py_ssize_t, stop: cython.Py_ssize_t, size: cython.Py_ssize_t
    ) -> cython.bint:
        """Make `key` the decoded key whose encoded string stands at `start`; False if it does not unpack."""
        first: cython.int = view[start]
        if first == 0xC3:
            start += 1
            start += _length_step(view[start])
            start += _length_step(view[start])
            return self.key.unpack(view, start, stop, size) == 0
        self.key.set_number(load_le(view, start + 1, 1 if first == 0xC0 else 2 if first == 0xC1 else 4))
        self.key.spell()
        return True

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def put_key(self, out: cython.p_uchar, used: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """The key as an argument, with its prefix."""
        used = _put_number(out, used, 36, self.prefix_len + self.key.size)
        used = _put(out, used, self.prefix_base, 0, self.prefix_len)
        used = _put(out, used, self.key.base, self.key.at, self.key.size)
        out[used] = 13
        out[used + 1] = 10
        return used + 2

    def write(
        self,
        view_of_file: cython.const[cython.uchar][::1],
        types: cython.const[cython.uchar][::1],
        flags: cython.const[cython.uchar][::1],
        expire_at_ms: cython.const[cython.longlong][::1],
        hints: cython.const[cython.longlong][::1],
        key_start: cython.const[cython.longlong][::1],
        key_len: cython.const[cython.uint][::1],
        value_start: cython.const[cython.longlong][::1],
        ends: cython.const[cython.longlong][::1],
        treatments: cython.const[cython.uchar][::1],
        wanted: cython.uchar[::1],
        row: cython.Py_ssize_t,
        rows: cython.Py_ssize_t,
        now_ms: cython.longlong,
        options: cython.int,
        sent: cython.int[::1],
        buffer: cython.uchar[::1],
    ) -> tuple[int, int, int]:
        """Write the wanted rows from `row` on into `buffer`, at most as many answers as `sent` has cells.

        `wanted` of a row that is dead at `now_ms` (Unix ms, the target's clock) becomes LAPSED, and it is not written.
        `sent` gets, for each answer to come, its row, or -1 for one that says nothing of a row.
        Returns the first row that was not done, the bytes written, and the answers to come: that row is for
        `format.commands`, or there was no room for it, or the recoder has failed at it.
        """
        if rows == 0:
            return 0, 0, 0
        view: cython.p_const_uchar
        out: cython.p_uchar
        words: cython.p_const_uchar = self.words_base
        shapes: cython.p_const_uchar = self.shapes_base
        if cython.compiled:
            view = cython.address(view_of_file[0])
            out = cython.address(buffer[0])
        else:
            view, out = view_of_file, buffer
            types, flags, expire_at_ms, hints, key_start, key_len, value_start, ends, treatments = map(
                memoryview, (types, flags, expire_at_ms, hints, key_start, key_len, value_start, ends, treatments)
            )
        used: cython.Py_ssize_t = 0
        room: cython.Py_ssize_t = len(buffer)
        count: cython.Py_ssize_t = 0
        most: cython.Py_ssize_t = len(sent) - 3  # answers of one row
        size: cython.Py_ssize_t
        body: cython.Py_ssize_t
        ttl: cython.longlong
        moved: cython.longlong
        crc: cython.ulonglong
        treatment: cython.int
        arguments: cython.int
        number: cython.int
        stamp: cython.int
        hinted: cython.int
        i: cython.int
        with cython.nogil:
            while row < rows and count <= most:
                if wanted[row] != 1:
                    row += 1
                    continue
                ttl = 0
                moved = expire_at_ms[row]
                if moved != _NO_EXPIRY:
                    # No sum here can leave 64 bits: offsets are far smaller (`units`) than these limits are apart.
                    if moved < -_LATEST:
                        moved = -_LATEST
                    moved = (_LATEST if moved > _LATEST else moved) + self.ttl_offset_ms
                    if moved > _LATEST:
                        moved = _LATEST
                    if moved < 1:
                        moved = 1
                    if moved <= now_ms:
                        wanted[row] = _LAPSED
                        row += 1
                        continue
                    ttl = moved if options & _ABSOLUTE else moved - now_ms
                treatment = treatments[row]
                if treatment > _RECODED:
                    break
                number = types[row]
                size = ends[row] - value_start[row]
                if treatment == _RECODED:
                    size = self.recoder.survey(number, value_start[row], ends[row])
                    if size < 0:
                        break
                    number = self.recoder.form
                # Twice the key: it may have to be deleted first.
                if size + 2 * (self.prefix_len + key_len[row]) + _FRAME_BYTES > room - used:
                    break
                if flags[row] & _KEY_ENCODED:
                    if not self.find_key(view, key_start[row], value_start[row], key_len[row]):
                        break
                else:
                    self.key.set_bytes(view, value_start[row] - key_len[row], key_len[row])
                if options & _DELETING:
                    if options & _ASKING:
                        used = _put(out, used, words, _ASKING_AT, _ASKING_BYTES)
                        sent[count] = -1
                        count += 1
                    used = _put(out, used, words, _DEL_AT, _DEL_BYTES)
                    used = self.put_key(out, used)
                    sent[count] = -1
                    count += 1
                if options & _ASKING:
                    used = _put(out, used, words, _ASKING_AT, _ASKING_BYTES)
                    sent[count] = -1
                    count += 1
                hinted = flags[row] & (_HAS_IDLE | _HAS_FREQ) if options & _HINTED else 0
                arguments = 4
                if options & _REPLACE:
                    arguments += 1
                if ttl and options & _ABSOLUTE:
                    arguments += 1
                if hinted:
                    arguments += 2
                out[used] = 42
                out[used + 1] = 48 + arguments
                used = _put(out, used + 2, words, _RESTORE_AT, _RESTORE_BYTES)
                used = self.put_key(out, used)
                used = _put_text_number(out, used, ttl)
                used = _put_number(out, used, 36, 1 + size + 10)
                body = used
                out[used] = number
                used += 1
                if treatment == _RECODED:
                    if self.recoder.begin(types[row], value_start[row], ends[row]) == 0:
                        used = self.recoder.fill(out, used, room)
                    if self.recoder.failed:  # what could be measured can be written, unless memory ran out
                        used = 0
                        count = 0
                        break
                else:
                    used = _put(out, used, view, value_start[row], size)
                    if treatment == _SHIFTED:
                        self.survey.patch(shapes[number], value_start[row], ends[row], out, used - size)
                stamp = self.valkey_stamp if self.valkey and number >= 22 else self.stamp
                out[used] = stamp & 0xFF
                out[used + 1] = stamp >> 8
                used += 2
                crc = crc64(out, body, used - body, 0)
                for i in range(8):
                    out[used + i] = (crc >> (8 * i)) & 0xFF
                out[used + 8] = 13
                out[used + 9] = 10
                used += 10
                if options & _REPLACE:
                    used = _put(out, used, words, _REPLACE_AT, _REPLACE_BYTES)
                if ttl and options & _ABSOLUTE:
                    used = _put(out, used, words, _ABSOLUTE_AT, _ABSOLUTE_BYTES)
                if hinted:
                    if hinted & _HAS_IDLE:
                        used = _put(out, used, words, _IDLE_AT, _IDLE_BYTES)
                    else:
                        used = _put(out, used, words, _FREQ_AT, _FREQ_BYTES)
                    used = _put_text_number(out, used, hints[row])
                sent[count] = row
                count += 1
                row += 1
        return row, used, count
