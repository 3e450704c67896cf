# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Writes the items of a value in a plain form that older servers, or those of the other line, understand.

The plain forms (rdb-format.md 9): lists, sets and hashes as strings of the file; sorted sets with binary or textual
scores; hashes with field expiries as Redis (24) or as Valkey (22) has them. Two passes: `survey` counts and measures,
`fill` writes, in pieces of any size. Compiled when it can be, interpreted as it stands when not. Takes no decision:
which form is told by a table (`format.forms`).
"""

from __future__ import annotations

try:
    import cython  # the Cython compiler must see this very import
except ModuleNotFoundError:
    from rdbmerge import _cython as cython

if cython.compiled:
    from cython.cimports.rdbmerge.format._items_cy import ItemReader
    from cython.cimports.rdbmerge.format._pieces_cy import PieceWriter, length_size, string_size
else:
    from rdbmerge.format._items_cy import ItemReader
    from rdbmerge.format._pieces_cy import PieceWriter, length_size, string_size

from rdbmerge.format import codes

COMPILED: bool = cython.compiled

_NO_EXPIRY = cython.declare(cython.longlong, codes.NO_EXPIRY)
_FIRST = cython.declare(cython.longlong, codes.FIRST_EXPIRY_MS)
_STRING, _SCORED_TEXT, _HASH, _SCORED_BINARY, _VALKEY_TIMES, _REDIS_TIMES = 0, 3, 4, 5, 22, 24  # types written
_ZSET_TEXT = cython.declare(cython.int, _SCORED_TEXT)
_ZSET_BINARY = cython.declare(cython.int, _SCORED_BINARY)
_STRING_TYPE = cython.declare(cython.int, _STRING)
_HASH_TYPE = cython.declare(cython.int, _HASH)
_VALKEY_HASH = cython.declare(cython.int, _VALKEY_TIMES)
_REDIS_HASH = cython.declare(cython.int, _REDIS_TIMES)
_INFINITY = cython.declare(cython.double, float("inf"))
_LATEST = cython.declare(cython.longlong, codes.LATEST_EXPIRY_MS)


@cython.final
@cython.cclass
class Recoder(PieceWriter):
    """Re-encodes values for one kind of reader.

    `forms`: 256 cells, the type that each type is written as. Expiries of fields are shifted by `ttl_offset_ms`, at
    most to `latest_ms`; fields that expired before `dead_before_ms` are left out. Where the form holds no times,
    fields lose theirs; `timed` tells how many did.
    """

    def __init__(
        self,
        reader: ItemReader,
        forms: bytes,
        ttl_offset_ms: cython.longlong,
        dead_before_ms: cython.longlong,
        latest_ms: cython.longlong,
    ) -> None:
        PieceWriter.__init__(self)
        self.reader = reader
        self.forms = forms
        if cython.compiled:
            self.form_table = cython.cast(cython.p_const_uchar, cython.cast(cython.p_char, forms))
        else:
            self.form_table = forms
        self.ttl_offset_ms = ttl_offset_ms
        self.dead_before_ms = dead_before_ms
        self.latest_ms = latest_ms
        self.form = 0
        self.count = 0
        self.size = 0
        self.timed = 0
        self.first_ms = 0
        self.failed = False
        self.finished = True
        self.at_head = False
        self.score_text = b""

    def has_failed(self) -> bool:
        """Whether the reader's cursor holds an error that has to be told."""
        return self.failed

    def get_reader(self) -> ItemReader:
        """The reader, with the error."""
        return self.reader

    def measure(self, number: cython.int, start: cython.Py_ssize_t, end: cython.Py_ssize_t) -> int:
        """Bytes of the value of type `number` at `start` to `end` when re-encoded; -1 on error.

        Sets `count` (items that are written) and `timed` (fields whose expiry is, or was, theirs)."""
        return self.survey(number, start, end)

    def start(self, number: cython.int, start: cython.Py_ssize_t, end: cython.Py_ssize_t) -> bool:
        """Make ready to `write` the value; False on error."""
        return self.survey(number, start, end) >= 0 and self.begin(number, start, end) == 0

    def write(self, buffer: cython.uchar[::1]) -> int:
        """Put the next bytes of the value into `buffer`; their number, 0 after the last, -1 on error."""
        if self.finished:
            return 0
        if cython.compiled:
            return self.fill(cython.address(buffer[0]), 0, len(buffer))
        else:
            return self.fill(buffer, 0, len(buffer))

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def step(self) -> cython.int:
        """The next item that is written: 1; 0 after the last one, -1 on error."""
        got: cython.int
        while True:
            got = self.reader.step()
            if got < 0:
                self.failed = True
            if got <= 0 or self.reader.time == _NO_EXPIRY or self.reader.time >= self.dead_before_ms:
                return got

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def moved(self, time: cython.longlong) -> cython.longlong:
        """An expiry of a field, shifted; no sum here can leave 64 bits, for the reader bounds times."""
        if time > _LATEST:
            time = _LATEST
        time += self.ttl_offset_ms
        if time > self.latest_ms:
            return self.latest_ms
        return _FIRST if time < _FIRST else time

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def survey(self, number: cython.int, start: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Count and measure; the size in bytes, or -1."""
        got: cython.int
        time: cython.longlong
        count: cython.ulonglong
        self.form = self.form_table[number]
        self.failed = False
        self.count = 0
        self.size = 0
        self.timed = 0
        self.first_ms = _LATEST
        if self.reader.begin(number, start, end) < 0:
            self.failed = True
            return -1
        if self.form == _REDIS_HASH:  # its times count from the first of them, so that one must be known
            while True:
                got = self.step()
                if got <= 0:
                    break
                if self.reader.time != _NO_EXPIRY:
                    time = self.moved(self.reader.time)
                    if time < self.first_ms:
                        self.first_ms = time
            if got < 0 or self.reader.begin(number, start, end) < 0:
                self.failed = True
                return -1
            if self.first_ms == _LATEST:
                self.first_ms = 0
        while True:
            got = self.step()
            if got <= 0:
                break
            self.count += 1
            if self.reader.time != _NO_EXPIRY:
                self.timed += 1
            self.size += self.item_size()
        if got < 0:
            return -1
        if self.form != _STRING_TYPE:
            count = self.count
            self.size += length_size(count)
        if self.form == _REDIS_HASH:
            self.size += 8
        return self.size

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def item_size(self) -> cython.Py_ssize_t:
        size: cython.Py_ssize_t = string_size(self.reader.a)
        ttl: cython.ulonglong = 0
        if self.form == _ZSET_BINARY:
            return size + 8
        if self.form == _ZSET_TEXT:
            return size + self.spell_score()
        if self.form < _HASH_TYPE:
            return size
        size += string_size(self.reader.b)
        if self.form == _VALKEY_HASH:
            return size + 8
        if self.form == _REDIS_HASH:
            if self.reader.time != _NO_EXPIRY:
                ttl = self.moved(self.reader.time) - self.first_ms + 1
            return size + length_size(ttl)
        return size

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def begin(self, number: cython.int, start: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.int:
        """Make ready to `fill` with the value that was surveyed last; 0, or -1."""
        if self.reader.begin(number, start, end) < 0:
            self.failed = True
            return -1
        self.finished = False
        self.at_head = True
        self.done = 0
        self.full = False
        return 0

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def fill(self, out: cython.p_uchar, used: cython.Py_ssize_t, room: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Write on from `out[used]`, at most to `out[room]`; where it stopped, or -1. `finished` tells of the end.

        An item that does not fit is written in part, and its rest the next time."""
        got: cython.int
        self.open(out, used, room)
        while True:
            self.resume()
            if self.at_head:
                self.put_head()
            else:
                self.put_item()
            if not self.whole():
                return self.used
            self.at_head = False
            got = self.step()
            if got < 0:
                return -1
            if got == 0:
                self.finished = True
                return self.used

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def put_head(self) -> cython.void:
        count: cython.ulonglong = self.count
        if self.form == _REDIS_HASH:
            self.put_le64(self.first_ms)
        if self.form != _STRING_TYPE:
            self.put_length(count)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def put_item(self) -> cython.void:
        ttl: cython.ulonglong = 0
        if self.form == _REDIS_HASH:
            if self.reader.time != _NO_EXPIRY:
                ttl = self.moved(self.reader.time) - self.first_ms + 1
            self.put_length(ttl)
        self.put_string(self.reader.a)
        if self.form == _ZSET_BINARY:
            self.put_double(self.reader.score)
        elif self.form == _ZSET_TEXT:
            self.put_score_text()
        elif self.form >= _HASH_TYPE:
            self.put_string(self.reader.b)
            if self.form == _VALKEY_HASH:
                self.put_le64(_NO_EXPIRY if self.reader.time == _NO_EXPIRY else self.moved(self.reader.time))

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def put_score_text(self) -> cython.void:
        """The score as text, its length in one byte before it."""
        size: cython.Py_ssize_t = self.spell_score() - 1
        if size == 0:
            self.head[0] = 254 if self.reader.score == _INFINITY else 255
            self.put(self.head, 0, 1)
            return
        self.head[0] = size
        self.put(self.head, 0, 1)
        self.put(self.score_bytes(), 0, size)

    @cython.cfunc
    @cython.with_gil
    @cython.exceptval(check=False)
    def spell_score(self) -> cython.Py_ssize_t:
        """Bytes of the score as text with its length; the text is the shortest that reads back as the same number."""
        score: cython.double = self.reader.score
        if score == _INFINITY or score == -_INFINITY:
            return 1
        self.score_text = repr(score).removesuffix(".0").encode()
        return 1 + len(self.score_text)

    @cython.cfunc
    @cython.with_gil
    @cython.exceptval(check=False)
    def score_bytes(self) -> cython.p_const_uchar:
        if cython.compiled:
            return cython.cast(cython.p_const_uchar, cython.cast(cython.p_char, self.score_text))
        else:
            return self.score_text


def survey_rows(
    recoder: Recoder,
    types: cython.const[cython.uchar][::1],
    value_start: cython.const[cython.longlong][::1],
    ends: cython.const[cython.longlong][::1],
    wanted: cython.const[cython.uchar][::1],
    rows: cython.Py_ssize_t,
    sizes: cython.longlong[::1],
    timed: cython.longlong[::1],
) -> cython.bint:
    """For each wanted row: the bytes of its value when re-encoded, and its fields with expiries. False on error."""
    row: cython.Py_ssize_t
    if not cython.compiled:
        types, value_start, ends, wanted = map(memoryview, (types, value_start, ends, wanted))
    fine: cython.bint = True
    with cython.nogil:
        for row in range(rows):
            if wanted[row]:
                sizes[row] = recoder.survey(types[row], value_start[row], ends[row])
                timed[row] = recoder.timed
                if sizes[row] < 0:
                    fine = False
                    break
    return fine
