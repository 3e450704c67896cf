# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Hashes values by what they mean: one logical value has one hash, whatever form it is stored in.

The order of a list counts, that of a set or hash does not; scores compare as doubles, integers are their decimal text;
a stream counts with all its parts, as far as the target can hold them. Compiled when it can be, interpreted as it
stands when not; both ways give the same numbers. Shares the reading of items with the re-encoder, and nothing of its
writing.
"""

from __future__ import annotations

try:
    import cython  # the Cython compiler must see this very import
except ModuleNotFoundError:
    from rdbmerge import _cython as cython

if cython.compiled:
    from cython.cimports.libc.string import memcpy
    from cython.cimports.rdbmerge.format._hash_cy import mix
    from cython.cimports.rdbmerge.format._items_cy import ItemReader
    from cython.cimports.rdbmerge.format._stream_meaning_cy import StreamMeaning
else:
    from struct import pack, unpack

    from rdbmerge.format._hash_cy import mix
    from rdbmerge.format._items_cy import ItemReader
    from rdbmerge.format._stream_meaning_cy import StreamMeaning

from rdbmerge.format import codes
from rdbmerge.format.values import Logical, Shape

COMPILED: bool = cython.compiled

_MASK = cython.declare(cython.ulonglong, 0xFFFFFFFFFFFFFFFF)
# Odd numbers without meaning, so that the parts of a value are mixed differently.
_ONE = cython.declare(cython.ulonglong, 0xD6E8FEB86659FD93)
_TWO = cython.declare(cython.ulonglong, 0xA5CB9243F5D1C1B5)
_THREE = cython.declare(cython.ulonglong, 0x94D049BB133111EB)
_NO_EXPIRY = cython.declare(cython.longlong, codes.NO_EXPIRY)
_FIRST = cython.declare(cython.longlong, codes.FIRST_EXPIRY_MS)
_LATEST = cython.declare(cython.longlong, codes.LATEST_EXPIRY_MS)
_LIST = cython.declare(cython.int, int(Logical.LIST))
_SET = cython.declare(cython.int, int(Logical.SET))
_ZSET = cython.declare(cython.int, int(Logical.ZSET))
_HASH = cython.declare(cython.int, int(Logical.HASH))
_BEFORE_STREAMS = cython.declare(cython.int, int(Shape.STREAM) - 1)


@cython.final
@cython.cclass
class Meaning:
    """Hashes values of one file.

    Expiries of fields count shifted by `ttl_offset_ms`, at most `latest_ms`, and fields that expired before
    `dead_before_ms` not at all; or, `as_it_stands`, as they are. `without_times`: fields' expiries do not count.
    `stream_level`: parts of streams that only higher forms hold do not count (rdb-format.md 6.4: 1 .. 5).
    """

    def __init__(
        self,
        items: ItemReader,
        ttl_offset_ms: cython.longlong,
        dead_before_ms: cython.longlong,
        latest_ms: cython.longlong,
        as_it_stands: cython.bint,
        without_times: cython.bint,
        stream_level: cython.int,
    ) -> None:
        self.items = items
        self.streams = StreamMeaning(items, stream_level)
        self.ttl_offset_ms = ttl_offset_ms
        self.dead_before_ms = dead_before_ms
        self.latest_ms = latest_ms
        self.as_it_stands = as_it_stands
        self.without_times = without_times
        self.failed = False

    def of(self, number: cython.int, start: cython.Py_ssize_t, end: cython.Py_ssize_t, seed: cython.ulonglong) -> int:
        """The hash of the value of type `number` at `start` to `end`; on error `has_failed` says so."""
        return self.value_hash(number, start, end, seed)

    def has_failed(self) -> bool:
        """Whether the cursor holds an error."""
        return self.failed

    def get_reader(self) -> ItemReader:
        """The reader, with the error."""
        return self.items

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def fail(self) -> cython.ulonglong:
        self.failed = True
        return 0

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def value_hash(
        self, number: cython.int, start: cython.Py_ssize_t, end: cython.Py_ssize_t, seed: cython.ulonglong
    ) -> cython.ulonglong:
        logical: cython.int = self.items.logical_of(number)
        level: cython.int
        h: cython.ulonglong
        self.failed = False
        if logical > _HASH:
            level = self.items.shape_of(number) - _BEFORE_STREAMS
            h = self.streams.stream_hash(level, start, end, seed)
            return self.fail() if self.streams.torn else h
        if self.items.begin(number, start, end) < 0:
            return self.fail()
        if logical == _HASH:
            return self.hash_hash(seed)
        if logical == _ZSET:
            return self.zset_hash(seed)
        if logical == _SET:
            return self.set_hash(seed)
        if logical == _LIST:
            return self.list_hash(seed)
        if self.items.step() < 0:
            return self.fail()
        h = self.items.a.hash(seed)
        return self.fail() if self.items.step() < 0 else h

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def list_hash(self, seed: cython.ulonglong) -> cython.ulonglong:
        h: cython.ulonglong = seed
        got: cython.int
        while True:
            got = self.items.step()
            if got <= 0:
                return self.fail() if got < 0 else h
            h = mix((h + self.items.a.hash(seed)) & _MASK)

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def set_hash(self, seed: cython.ulonglong) -> cython.ulonglong:
        total: cython.ulonglong = 0
        got: cython.int
        while True:
            got = self.items.step()
            if got <= 0:
                return self.fail() if got < 0 else total
            total = (total + mix(self.items.a.hash(seed) ^ _ONE)) & _MASK

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def zset_hash(self, seed: cython.ulonglong) -> cython.ulonglong:
        total: cython.ulonglong = 0
        got: cython.int
        while True:
            got = self.items.step()
            if got <= 0:
                return self.fail() if got < 0 else total
            total = (total + mix(self.items.a.hash(seed) ^ mix((double_bits(self.items.score) + _TWO) & _MASK))) & _MASK

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def hash_hash(self, seed: cython.ulonglong) -> cython.ulonglong:
        total: cython.ulonglong = 0
        h: cython.ulonglong
        got: cython.int
        while True:
            got = self.items.step()
            if got <= 0:
                return self.fail() if got < 0 else total
            if self.items.time != _NO_EXPIRY and self.items.time < self.dead_before_ms and not self.as_it_stands:
                continue
            h = mix(self.items.a.hash(seed) ^ _THREE)
            h = mix((h + self.items.b.hash(seed ^ _TWO)) & _MASK)
            if self.items.time != _NO_EXPIRY and not self.without_times:
                h = mix(h ^ self.time_hash(self.items.time))
            total = (total + h) & _MASK

    @cython.cfunc
    @cython.nogil
    @cython.exceptval(check=False)
    def time_hash(self, time: cython.longlong) -> cython.ulonglong:
        """Of the expiry of a field, moved as it is to be; what lies behind all that is written counts as the latest."""
        if time > _LATEST:
            time = _LATEST
        if not self.as_it_stands:
            time += self.ttl_offset_ms
            if time > self.latest_ms:
                time = self.latest_ms
            if time < _FIRST:
                time = _FIRST
        return mix((time + _ONE) & _MASK)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def double_bits(number: cython.double) -> cython.ulonglong:
    """The bits of a double; those of 0.0 for -0.0, which is equal."""
    if number == 0.0:
        return 0
    if cython.compiled:
        bits: cython.ulonglong = 0
        memcpy(cython.address(bits), cython.address(number), 8)
        return bits
    else:
        return unpack("<Q", pack("<d", number))[0]
