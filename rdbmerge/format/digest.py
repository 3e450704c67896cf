"""Digests of batches of entries that do not depend on their order, nor on the form of keys.

A digest covers the db's entries as (key, type, value, expiry, idle or frequency hint, key metadata): two 64-bit sums
and a count. Values count as the bytes they are, or, for types whose form may change on the way, as what they mean
(`_meaning_cy`). Knows nothing of rules or of files.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rdbmerge.errors import FormatError
from rdbmerge.format import codes
from rdbmerge.format.columns import Columns
from rdbmerge.format.core import ItemReader, Meaning, Templates, digest_one, digest_rows, mixed, shifted, xxh64_of
from rdbmerge.format.decode import item_failure
from rdbmerge.format.dialects import Dialect
from rdbmerge.format.strings import read_length
from rdbmerge.format.values import Logical, item_tables

_MASK = (1 << 64) - 1
_WITHOUT_PREFIX_SEED = 1
_EXPIRY_BYTES = {codes.OP_EXPIRETIME_MS: 9, codes.OP_EXPIRETIME: 5, codes.OP_FREQ: 2}
_NO_PREFIX = b""
_NEVER_DEAD_MS = -(1 << 62)
_ALL_PARTS = 5  # of streams
_IN_ANY_FORM = 2  # in a table of meanings
_BY_MEANING = 256  # as in the core: added to the logical type where the meaning counts

Rows = NDArray[np.uint8]
Numbers = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Digest:
    """The sum over some entries; sums add and subtract, so that parts join in any order."""

    a: int = 0
    b: int = 0
    entries: int = 0
    expires: int = 0  # entries with an expiry

    def __add__(self, other: Digest) -> Digest:
        return Digest(
            (self.a + other.a) & _MASK,
            (self.b + other.b) & _MASK,
            self.entries + other.entries,
            self.expires + other.expires,
        )

    def __sub__(self, other: Digest) -> Digest:
        return self + Digest(_MASK + 1 - other.a, _MASK + 1 - other.b, -other.entries, -other.expires)

    @property
    def hex(self) -> str:
        """The two sums as 32 hex digits."""
        return f"{self.a:016x}{self.b:016x}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How the entries of a file are to be understood: what was, or is to be, done to them."""

    dialect: Dialect
    ttl_offset_ms: int = 0  # added to every expiry
    fields_dead_before_ms: int | None = None  # hash fields that expired before this do not count
    key_prefix: bytes = _NO_PREFIX  # that keys have in this file and do not count
    added_prefix: bytes = _NO_PREFIX  # that keys do not have in this file and that counts; never with `key_prefix`
    as_it_stands: bool = False  # expiries of fields count as they are, be they outside what may be written
    by_meaning: Collection[Logical] = ()  # types whose values count as what they mean; those with field expiries do too
    latest_field_ms: int | None = None  # no field's expiry is later once it is written; None: by the dialect
    without_field_times: bool = False  # expiries of fields do not count
    stream_level: int = _ALL_PARTS  # parts of streams that only higher forms hold do not count
    ignored_flags: int = 0  # of rows: hints and metadata that do not count

    def meaning_table(self) -> Rows:
        """256 cells: 0 for types whose values count as bytes; as what they mean: 1 with their type, 2 in any form."""
        cells = np.zeros(256, np.uint8)
        for number, row in self.dialect.types.items():
            cells[number] = 2 if row.logical in self.by_meaning else int(row.holds_expiry)
        return cells

    def meaning(self, view: memoryview, templates: Templates | None = None) -> Any:
        """What hashes values of `view` by their meaning."""
        latest_ms = codes.LATEST_EXPIRY_MS if self.dialect.line == "valkey" else codes.LATEST_FIELD_EXPIRY_MS
        dead_before_ms = self.fields_dead_before_ms
        return Meaning(
            ItemReader(view, item_tables(self.dialect.types), templates),
            self.ttl_offset_ms,
            _NEVER_DEAD_MS if dead_before_ms is None else dead_before_ms,
            latest_ms if self.latest_field_ms is None else self.latest_field_ms,
            self.as_it_stands,
            self.without_field_times,
            self.stream_level,
        )


class Digester:
    """Digests batches of one file. `view` is what their places are in; `meanings` is `reading.meaning_table()`."""

    def __init__(self, view: memoryview, reading: Reading, meanings: Rows, templates: Templates | None = None) -> None:
        self._view = view
        self._reading = reading
        self._meanings = meanings
        self._meaning = reading.meaning(view, templates)

    def lanes(self, columns: Columns, left_out: Rows) -> tuple[Numbers, Numbers]:
        """The two numbers of each row, 0 where `left_out` is not; fills `columns.key_hash` for every row.

        Raises FormatError for a key, or a value whose meaning counts, that does not decode.
        """
        rows, reading, view = columns.rows, self._reading, self._view
        flags = columns.flags
        if reading.added_prefix:
            columns.hash_keys(view, reading.added_prefix)
            flags = flags | np.uint8(codes.KEY_ENCODED)  # of these the core takes the hash as it is there
        else:
            _hash_encoded_keys(view, columns, reading.key_prefix)
        lane_a, lane_b = np.empty(rows, np.uint64), np.empty(rows, np.uint64)
        if not digest_rows(
            view, columns.type, flags, columns.expire_at_ms, columns.hint, columns.key_len, columns.value_start,
            columns.end, columns.key_hash, left_out, rows, reading.ttl_offset_ms, reading.key_prefix, self._meanings,
            self._meaning, reading.ignored_flags, lane_a, lane_b,
        ):  # fmt: skip
            raise self._failure()
        with_meta = (columns.flags[:rows] & (codes.HAS_META & ~reading.ignored_flags)) != 0
        for row in np.flatnonzero(with_meta & (left_out[:rows] == 0)).tolist():
            lane_a[row], lane_b[row] = self._with_metadata(columns, row)
        return lane_a, lane_b

    def digest(self, columns: Columns, left_out: Rows) -> Digest:
        """The digest of the rows whose `left_out` is 0; see `lanes`."""
        return sum_of(columns, self.lanes(columns, left_out), left_out[: columns.rows] == 0)

    def _failure(self) -> FormatError:
        return item_failure(self._meaning.get_reader())

    def _with_metadata(self, columns: Columns, row: int) -> tuple[int, int]:
        """The two numbers of an entry with key metadata."""
        view, reading = self._view, self._reading
        number, flags, key = int(columns.type[row]), int(columns.flags[row]), int(columns.key_hash[row])
        start, end = int(columns.value_start[row]), int(columns.end[row])
        if self._meanings[number]:
            value = self._meaning.of(number, start, end, key)
            if self._meaning.has_failed():
                raise self._failure()
            if self._meanings[number] == _IN_ANY_FORM:
                number = _BY_MEANING + reading.dialect.types[number].logical
        else:
            value = xxh64_of(view[start:end], key)
        meta = key_metadata(view, int(columns.entry_start[row]), int(columns.key_start[row]))
        value = mixed(value ^ xxh64_of(meta, key))
        expire_at_ms = shifted(int(columns.expire_at_ms[row]), reading.ttl_offset_ms)
        a, b = digest_one(key, value, number, flags & ~reading.ignored_flags, expire_at_ms, int(columns.hint[row]))
        return int(a), int(b)


def hash_keys_of(view: memoryview, columns: Columns, reading: Reading) -> None:
    """Fill `columns.key_hash` as `Digester` does, and digest nothing. Raises FormatError for a damaged key."""
    Digester(view, reading, np.zeros(256, np.uint8)).lanes(columns, np.ones(columns.rows, np.uint8))


def sum_of(columns: Columns, lanes: tuple[Numbers, Numbers], chosen: NDArray[np.bool_]) -> Digest:
    """The digest of some rows out of the numbers of all."""
    whole = bool(chosen.all())
    a, b = (int(np.add.reduce(lane if whole else lane[chosen], dtype=np.uint64)) for lane in lanes)
    expiring = chosen & (columns.expire_at_ms[: columns.rows] != codes.NO_EXPIRY)
    return Digest(a, b, int(np.count_nonzero(chosen)), int(np.count_nonzero(expiring)))


def _hash_encoded_keys(view: memoryview, columns: Columns, key_prefix: bytes) -> None:
    encoded = np.flatnonzero(columns.flags[: columns.rows] & codes.KEY_ENCODED)
    if not len(encoded):
        return
    if not key_prefix:
        columns.hash_keys(view)
        return
    for row in encoded.tolist():
        key = columns.key(view, row)
        columns.key_hash[row] = (
            xxh64_of(key[len(key_prefix) :]) if key.startswith(key_prefix) else xxh64_of(key, _WITHOUT_PREFIX_SEED)
        )


def key_metadata(view: memoryview, entry_start: int, key_start: int) -> memoryview:
    """The bytes of the metadata record of an entry that has one: it stands directly before the type."""
    pos, stop = entry_start, key_start - 1
    while view[pos] != codes.OP_KEY_META:
        opcode = view[pos]
        pos = read_length(view, pos + 1)[1] if opcode == codes.OP_IDLE else pos + _EXPIRY_BYTES[opcode]
    return view[pos:stop]
