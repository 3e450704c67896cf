# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Builds Python values out of items, and the entries that users of the library iterate over.

Strings, lists, sets, sorted sets and hashes are done here; the rare types are left to `format.decode`, which also makes
words of errors. Compiled when it can be, interpreted as it stands when not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

try:
    import cython  # the Cython compiler must see this very import
except ModuleNotFoundError:
    from rdbmerge import _cython as cython

if cython.compiled:
    from cython.cimports.libc.string import memcmp
    from cython.cimports.rdbmerge.format._element_cy import Element
    from cython.cimports.rdbmerge.format._items_cy import ItemReader
else:
    from rdbmerge.format._element_cy import Element
    from rdbmerge.format._items_cy import ItemReader

if TYPE_CHECKING:
    from collections.abc import Callable

from rdbmerge.format import codes
from rdbmerge.format.logical import Hash
from rdbmerge.format.values import Logical

COMPILED: bool = cython.compiled

_NO_EXPIRY = cython.declare(cython.longlong, codes.NO_EXPIRY)
_HAS_IDLE = cython.declare(cython.int, codes.HAS_IDLE)
_HAS_FREQ = cython.declare(cython.int, codes.HAS_FREQ)
_GOES_ON = cython.declare(cython.int, codes.VALUE_GOES_ON)
_REPEATED = cython.declare(cython.int, codes.REPEATED_ITEM)
_STRING = cython.declare(cython.int, int(Logical.STRING))
_SET = cython.declare(cython.int, int(Logical.SET))
_ZSET = cython.declare(cython.int, int(Logical.ZSET))
_HASH = cython.declare(cython.int, int(Logical.HASH))
_NAMES = cython.declare(cython.int, 256)  # a power of two
_LONGEST_NAME = cython.declare(cython.Py_ssize_t, 64)


@cython.final
@cython.cclass
class Decoder:
    """Decodes values of one file.

    `names` and `encodings` are texts by type number; `failure` makes an exception of the reader's error; `others`
    decodes what is not done here, and `item_source` iterates over it (both by number, start, end).
    """

    def __init__(
        self,
        reader: ItemReader,
        names: tuple[str, ...],
        encodings: tuple[str, ...],
        failure: Callable[[ItemReader], Exception],
        others: Callable[[int, int, int], object],
        item_source: Callable[[int, int, int], object],
    ) -> None:
        self.reader = reader
        self.names = names
        self.encodings = encodings
        self.failure = failure
        self.others = others
        self.item_source = item_source
        self.field_names = [b""] * 256

    def value(self, number: cython.int, start: cython.Py_ssize_t, end: cython.Py_ssize_t) -> object:
        """The value of type `number` at `start` to `end`."""
        return self.decode(number, start, end)

    @cython.cfunc
    def decode(self, number: cython.int, start: cython.Py_ssize_t, end: cython.Py_ssize_t) -> object:
        reader = self.reader
        logical: cython.int = reader.table[512 + number]
        if logical > _HASH:
            return self.others(number, start, end)
        if logical == _STRING:
            return self.read_string(start, end)
        if reader.begin(number, start, end) < 0:
            raise self.failure(reader)
        if logical == _HASH:
            return self.read_hash()
        if logical == _ZSET:
            return self.read_zset()
        return self.read_set() if logical == _SET else self.read_list()

    @cython.cfunc
    def read_list(self) -> object:
        reader = self.reader
        got: cython.int
        found: list = []
        while True:
            got = reader.step()
            if got <= 0:
                break
            found.append(reader.a.as_bytes())
        if got < 0:
            raise self.failure(reader)
        return found

    @cython.cfunc
    def read_set(self) -> object:
        reader = self.reader
        got: cython.int
        count: cython.Py_ssize_t = 0
        start: cython.Py_ssize_t = reader.begun
        found: set = set()
        while True:
            got = reader.step()
            if got <= 0:
                break
            found.add(reader.a.as_bytes())
            count += 1
        if got == 0 and len(found) != count:
            got = reader.cursor.fail(_REPEATED, start, _SET)
        if got < 0:
            raise self.failure(reader)
        return found

    @cython.cfunc
    def read_zset(self) -> object:
        reader = self.reader
        got: cython.int
        count: cython.Py_ssize_t = 0
        start: cython.Py_ssize_t = reader.begun
        ascending: cython.bint = True
        descending: cython.bint = True
        last: cython.double = 0.0
        before: bytes = b""
        found: dict = {}
        while True:
            got = reader.step()
            if got <= 0:
                break
            member: bytes = reader.a.as_bytes()
            if count > 0 and (reader.score < last or (reader.score == last and member < before)):
                ascending = False
            elif count > 0:
                descending = False
            last = reader.score
            before = member
            found[member] = last
            count += 1
        if got == 0 and len(found) != count:
            got = reader.cursor.fail(_REPEATED, start, _ZSET)
        if got < 0:
            raise self.failure(reader)
        if ascending:
            return found
        if descending:  # so servers write large ones
            return dict(reversed(found.items()))
        return dict(sorted(found.items(), key=_by_score))

    @cython.cfunc
    def read_hash(self) -> object:
        reader = self.reader
        got: cython.int
        count: cython.Py_ssize_t = 0
        start: cython.Py_ssize_t = reader.begun
        found: dict = {}
        expiries: dict = {}
        while True:
            got = reader.step()
            if got <= 0:
                break
            field: bytes = self.field_name(reader.a)
            found[field] = reader.b.as_bytes()
            count += 1
            if reader.time != _NO_EXPIRY:
                expiries[field] = reader.time
        if got == 0 and len(found) != count:
            got = reader.cursor.fail(_REPEATED, start, _HASH)
        if got < 0:
            raise self.failure(reader)
        return Hash(found, expiries) if reader.expiring else found

    @cython.cfunc
    def field_name(self, element: Element) -> bytes:
        """The bytes of an element; the same object as lately, if it was met: hashes share their fields' names."""
        if not cython.compiled or element.is_number or element.size == 0 or element.size > _LONGEST_NAME:
            return element.as_bytes()
        first = element.base + element.at
        size: cython.Py_ssize_t = element.size
        place: cython.int = (first[0] * 7 + first[size // 2] * 5 + first[size - 1] * 3 + size) % _NAMES
        known: bytes = self.field_names[place]
        if len(known) == size and memcmp(first, cython.cast(cython.p_const_char, known), size) == 0:
            return known
        known = element.as_bytes()
        self.field_names[place] = known
        return known

    @cython.cfunc
    def read_string(self, start: cython.Py_ssize_t, end: cython.Py_ssize_t) -> object:
        reader = self.reader
        reader.cursor.end = end
        reader.end = end
        start = reader.string(reader.a, start)
        if start >= 0 and start != end:
            start = reader.cursor.fail(_GOES_ON, start, end - start)
        if start < 0:
            raise self.failure(reader)
        return reader.a.as_bytes()


def _by_score(item: tuple[bytes, float]) -> tuple[float, bytes]:
    return item[1], item[0]


@cython.final
@cython.cclass
class Items:
    """Iterates over the items of one value; has a reader of its own, so that several can be read at a time."""

    def __init__(
        self,
        reader: ItemReader,
        failure: Callable[[ItemReader], Exception],
        number: cython.int,
        start: cython.Py_ssize_t,
        end: cython.Py_ssize_t,
    ) -> None:
        self.reader = reader
        self.failure = failure
        self.ended = False
        if reader.begin(number, start, end) < 0:
            raise failure(reader)

    def __iter__(self) -> Items:
        return self

    def __next__(self) -> object:
        reader = self.reader
        got: cython.int = 0 if self.ended else reader.step()
        if got <= 0:
            self.ended = True
            if got < 0:
                raise self.failure(reader)
            raise StopIteration
        item = reader.a.as_bytes()
        if reader.logical == _ZSET:
            return item, reader.score
        if reader.logical != _HASH:
            return item
        if reader.expiring:
            return item, reader.b.as_bytes(), (None if reader.time == _NO_EXPIRY else reader.time)
        return item, reader.b.as_bytes()


@cython.final
@cython.no_gc
@cython.freelist(64)
@cython.cclass
class Entry:
    """One key of a file, with what the file says about it; the value is decoded when it is asked for.

    Lives as long as anybody looks at it, also after its file was closed.
    """

    def __init__(self) -> None:
        raise TypeError("entries come from iterating over a file: rdbmerge.open(...)")

    @property
    def db(self) -> int:
        """The number of its db."""
        return self.db_number

    @property
    def key(self) -> bytes:
        """The key, decoded."""
        return self.decoder.read_string(self.key_start, self.value_start)

    @property
    def type(self) -> str:
        """string, list, set, zset, hash, stream, module or array."""
        return self.decoder.names[self.number]

    @property
    def encoding(self) -> str:
        """How the value is stored: quicklist_2, hash_listpack, ..."""
        return self.decoder.encodings[self.number]

    @property
    def expire_at_ms(self) -> int | None:
        """When the key expires (Unix ms); None: never."""
        return None if self.expiry == _NO_EXPIRY else self.expiry

    @property
    def idle_s(self) -> int | None:
        """Seconds since it was used last, where the file tells."""
        return self.hint if self.flags & _HAS_IDLE else None

    @property
    def freq(self) -> int | None:
        """The counter of its uses (0 .. 255), where the file tells."""
        return self.hint if self.flags & _HAS_FREQ else None

    @property
    def offset(self) -> int:
        """Where it starts in the file."""
        return self.entry_start

    @property
    def size_bytes(self) -> int:
        """What it takes in the file, key and attributes included."""
        return self.value_end - self.entry_start

    def value(self) -> object:
        """The value (`rdbmerge.format.logical`). Raises FormatError if its bytes are damaged."""
        return self.decoder.decode(self.number, self.value_start, self.value_end)

    def iter_items(self) -> object:
        """The items of the value one after the other, without building it whole.

        Elements of a list or set; (member, score); (field, value), with the expiry (Unix ms or None) as a third where
        fields can expire; StreamEntry; (index, element) of an array; parts of a module's value; a string is one item.
        """
        return self.decoder.item_source(self.number, self.value_start, self.value_end)

    def __repr__(self) -> str:
        return f"<{self.type} {self.key!r} of db {self.db_number}>"


@cython.final
@cython.cclass
class Entries:
    """Iterates over the rows of a batch, whose columns are given as memoryviews, as entries."""

    def __init__(
        self,
        decoder: Decoder,
        db: cython.int,
        types: cython.const[cython.uchar][::1],
        flags: cython.const[cython.uchar][::1],
        expire_at_ms: cython.const[cython.longlong][::1],
        hints: cython.const[cython.longlong][::1],
        entry_start: cython.const[cython.longlong][::1],
        key_start: cython.const[cython.longlong][::1],
        value_start: cython.const[cython.longlong][::1],
        ends: cython.const[cython.longlong][::1],
        rows: cython.Py_ssize_t,
    ) -> None:
        self.decoder = decoder
        self.db = db
        self.types = types
        self.flags = flags
        self.expire_at_ms = expire_at_ms
        self.hints = hints
        self.entry_start = entry_start
        self.key_start = key_start
        self.value_start = value_start
        self.ends = ends
        self.rows = rows
        self.row = 0

    def __iter__(self) -> Entries:
        return self

    def __next__(self) -> Entry:
        row: cython.Py_ssize_t = self.row
        if row >= self.rows:
            raise StopIteration
        self.row = row + 1
        # Made one by one: an entry that was looked at and dropped leaves its memory, still in the cache, to the next.
        entry: Entry = Entry.__new__(Entry)
        entry.decoder = self.decoder
        entry.number = self.types[row]
        entry.flags = self.flags[row]
        entry.db_number = self.db
        entry.expiry = self.expire_at_ms[row]
        entry.hint = self.hints[row]
        entry.entry_start = self.entry_start[row]
        entry.key_start = self.key_start[row]
        entry.value_start = self.value_start[row]
        entry.value_end = self.ends[row]
        return entry
