# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Hashes streams by what they mean: entries, groups, pending entries, consumers, producers (rdb-format.md 6.4).

How the entries lie in nodes does not count, nor what the target cannot hold. Compiled when it can be, interpreted as it
stands when not; both ways give the same numbers.
"""

from __future__ import annotations

try:
    import cython  # the Cython compiler must see this very import
except ModuleNotFoundError:
    from rdbmerge import _cython as cython

if cython.compiled:
    from cython.cimports.rdbmerge.format._element_cy import Element, load_le
    from cython.cimports.rdbmerge.format._hash_cy import mix
    from cython.cimports.rdbmerge.format._items_cy import ItemReader
    from cython.cimports.rdbmerge.format._streams_cy import StreamReader, load_be64
else:
    from rdbmerge.format._element_cy import Element, load_le
    from rdbmerge.format._hash_cy import mix
    from rdbmerge.format._items_cy import ItemReader
    from rdbmerge.format._streams_cy import StreamReader, load_be64

from rdbmerge.format import codes

COMPILED: bool = cython.compiled

_MASK = cython.declare(cython.ulonglong, 0xFFFFFFFFFFFFFFFF)
# Odd numbers without meaning, so that the parts of a value are mixed differently.
_ONE = cython.declare(cython.ulonglong, 0xD6E8FEB86659FD93)
_TWO = cython.declare(cython.ulonglong, 0xA5CB9243F5D1C1B5)
_THREE = cython.declare(cython.ulonglong, 0x94D049BB133111EB)
_COUNTERS = cython.declare(cython.int, 2)  # from these levels on a stream holds more (rdb-format.md 6.4)
_ACTIVE_TIMES = cython.declare(cython.int, 3)
_PRODUCERS = cython.declare(cython.int, 4)
_NACKS = cython.declare(cython.int, 5)
_GOES_ON = cython.declare(cython.int, codes.VALUE_GOES_ON)
_OWNER = b"rdbmerge:nacked"  # whom the re-encoder gives pending entries that nobody owns; see `format.streams`


@cython.final
@cython.cclass
class StreamMeaning:
    """Hashes the streams of one file; parts that only forms above `stream_level` hold do not count (1 .. 5)."""

    def __init__(self, items: ItemReader, stream_level: cython.int) -> None:
        self.items = items
        self.cursor = items.cursor
        self.streams = StreamReader(items)
        self.name = Element()
        self.stream_level = stream_level
        self.torn = False
        self.owners = []

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def entries_hash(self, seed: cython.ulonglong) -> cython.ulonglong:
        """Of the entries that are not deleted; `torn` tells of an error."""
        total: cython.ulonglong = 0
        h: cython.ulonglong
        got: cython.int
        while True:
            got = self.streams.step()
            if got <= 0:
                self.torn = got < 0
                return total
            if self.streams.deleted:
                continue
            h = mix((mix(self.streams.ms ^ seed) + self.streams.seq) & _MASK)
            while True:
                got = self.streams.step_field()
                if got <= 0:
                    break
                h = mix((h + self.streams.field.hash(seed)) & _MASK)
                h = mix(h ^ self.streams.value.hash(seed ^ _TWO))
            if got < 0:
                self.torn = True
                return 0
            total = (total + h) & _MASK

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def length(self) -> cython.ulonglong:
        """The next length; `torn` once there was an error."""
        if self.torn:
            return 0
        self.items.pos = self.cursor.skip_len(self.items.pos)
        if self.items.pos < 0:
            self.torn = True
            return 0
        return self.cursor.value

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def chain(self, h: cython.ulonglong, lengths: cython.int) -> cython.ulonglong:
        """`h` with the next few lengths mixed in, in their order."""
        while lengths > 0:
            h = mix((h + self.length()) & _MASK)
            lengths -= 1
        return h

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def text(self, seed: cython.ulonglong) -> cython.ulonglong:
        """Of the next string, which stays in `name`."""
        if self.torn:
            return 0
        self.items.pos = self.items.string(self.name, self.items.pos)
        if self.items.pos < 0:
            self.torn = True
            return 0
        return self.name.hash(seed)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def time(self) -> cython.ulonglong:
        """The next 8 bytes as a number."""
        at: cython.Py_ssize_t = self.items.pos
        if self.torn:
            return 0
        self.items.pos = self.cursor.need(at, 8)
        if self.items.pos < 0:
            self.torn = True
            return 0
        return load_le(self.cursor.p, at, 8) & _MASK

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def ids_hash(self, seed: cython.ulonglong) -> cython.ulonglong:
        """Of a count and that many IDs of 16 bytes, in any order."""
        total: cython.ulonglong = 0
        count: cython.ulonglong = self.length()
        at: cython.Py_ssize_t
        while count > 0 and not self.torn:
            at = self.items.pos
            self.items.pos = self.cursor.need(at, 16)
            if self.items.pos < 0:
                self.torn = True
                return 0
            total = (
                total + mix((mix(load_be64(self.cursor.p, at) ^ seed) + load_be64(self.cursor.p, at + 8)) & _MASK)
            ) & _MASK
            count -= 1
        return total

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def stream_hash(
        self, level: cython.int, start: cython.Py_ssize_t, end: cython.Py_ssize_t, seed: cython.ulonglong
    ) -> cython.ulonglong:
        """Of a stream in the form of `level`; `torn` tells of an error, which the cursor then holds."""
        h: cython.ulonglong
        groups: cython.ulonglong
        total: cython.ulonglong = 0
        self.torn = self.streams.begin(start, end) < 0
        if self.torn:
            return 0
        h = self.entries_hash(seed)
        self.items.pos = self.streams.pos
        h = self.chain(mix(h ^ _ONE), 3)
        if level >= _COUNTERS:
            if self.stream_level >= _COUNTERS:
                h = self.chain(h ^ _TWO, 5)
            else:
                self.chain(0, 5)
        groups = self.length()
        while groups > 0 and not self.torn:
            total = (total + self.group_hash(level, seed)) & _MASK
            groups -= 1
        h = mix((h + total) & _MASK)
        if level >= _PRODUCERS:
            total = self.producers_hash(seed)
            if self.stream_level >= _PRODUCERS:
                h = mix(h ^ total)
        if not self.torn and self.items.pos != end:
            groups = end - self.items.pos
            self.cursor.fail(_GOES_ON, self.items.pos, groups)
            self.torn = True
        return h

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def group_hash(self, level: cython.int, seed: cython.ulonglong) -> cython.ulonglong:
        h: cython.ulonglong = self.chain(self.text(seed), 2)
        total: cython.ulonglong = 0
        count: cython.ulonglong
        at: cython.Py_ssize_t
        one: cython.ulonglong
        if level >= _COUNTERS:
            if self.stream_level >= _COUNTERS:
                h = self.chain(h ^ _TWO, 1)
            else:
                self.length()
        count = self.length()
        while count > 0 and not self.torn:  # pending entries
            at = self.items.pos
            self.items.pos = self.cursor.need(at, 16)
            if self.items.pos < 0:
                self.torn = True
                return 0
            one = mix((mix(load_be64(self.cursor.p, at) ^ seed) + load_be64(self.cursor.p, at + 8)) & _MASK)
            one = mix((one + self.time()) & _MASK)
            total = (total + self.chain(one, 1)) & _MASK
            count -= 1
        h = mix((h + total) & _MASK)
        total = 0
        count = self.length()
        if level >= _NACKS and self.stream_level < _NACKS:
            self.owners_forget()
        while count > 0 and not self.torn:
            total = (total + self.consumer_hash(level, seed)) & _MASK
            count -= 1
        if level >= _NACKS:
            if self.stream_level >= _NACKS:
                h = mix(h ^ self.ids_hash(_THREE))
            else:
                total = (total + self.orphans_hash(level, seed)) & _MASK
        return mix((h + total) & _MASK)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def consumer_hash(self, level: cython.int, seed: cython.ulonglong) -> cython.ulonglong:
        h: cython.ulonglong = self.text(seed)
        if level >= _NACKS and self.stream_level < _NACKS and not self.torn:
            self.remember_owner()
        h = mix((h + self.time()) & _MASK)
        if level >= _ACTIVE_TIMES:
            if self.stream_level >= _ACTIVE_TIMES:
                h = mix(((h ^ _TWO) + self.time()) & _MASK)
            else:
                self.time()
        return mix((h + self.ids_hash(_ONE)) & _MASK)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def orphans_hash(self, level: cython.int, seed: cython.ulonglong) -> cython.ulonglong:
        """Of pending entries that nobody owns, as the consumer they are given to where nobody is no owner."""
        at: cython.Py_ssize_t = self.items.pos
        h: cython.ulonglong
        count: cython.ulonglong = self.length()
        if count == 0 or self.torn:
            return 0
        self.items.pos = at
        self.name_owner()
        h = mix(self.name.hash(seed))
        if self.stream_level >= _ACTIVE_TIMES:
            h = mix(((h ^ _TWO) + _MASK) & _MASK)
        return mix((h + self.ids_hash(_ONE)) & _MASK)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def producers_hash(self, seed: cython.ulonglong) -> cython.ulonglong:
        h: cython.ulonglong = self.chain(_ONE, 2)
        total: cython.ulonglong = 0
        messages: cython.ulonglong
        one: cython.ulonglong
        count: cython.ulonglong
        producers: cython.ulonglong = self.length()
        while producers > 0 and not self.torn:
            one = self.text(seed)
            messages = 0
            count = self.length()
            while count > 0 and not self.torn:
                messages = (messages + self.chain(self.text(seed), 2)) & _MASK
                count -= 1
            total = (total + mix((mix(one) + messages) & _MASK)) & _MASK
            producers -= 1
        return self.chain(mix((h + total) & _MASK), 2)

    @cython.cfunc
    @cython.with_gil
    @cython.exceptval(check=False)
    def owners_forget(self) -> cython.void:
        self.owners = []

    @cython.cfunc
    @cython.with_gil
    @cython.exceptval(check=False)
    def remember_owner(self) -> cython.void:
        self.owners.append(self.name.as_bytes())

    @cython.cfunc
    @cython.with_gil
    @cython.exceptval(check=False)
    def name_owner(self) -> cython.void:
        """Make `name` the consumer that orphans are given to: the first of its kind that is free."""
        number: int = 1
        text: bytes = _OWNER
        while text in self.owners:
            number += 1
            text = b"%s:%d" % (_OWNER, number)
        self.owners.append(text)  # keeps the bytes alive
        if cython.compiled:
            self.name.set_bytes(cython.cast(cython.p_const_uchar, cython.cast(cython.p_char, text)), 0, len(text))
        else:
            self.name.set_bytes(text, 0, len(text))
