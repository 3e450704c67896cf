"""Digests of batches of entries that do not depend on their order, form of key or layout of field expiries.

A digest covers the db's entries as (key, type, value bytes, expiry, idle or frequency hint, key metadata): two 64-bit
sums and a count. Value bytes count as they are stored, except in hashes whose fields have expiries: there the fields
count one by one, for their expiries are moved when a file is merged. Knows nothing of rules or of files.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rdbmerge.format import codes, fields
from rdbmerge.format.columns import Columns
from rdbmerge.format.core import digest_one, digest_rows, mixed, shifted, xxh64_of
from rdbmerge.format.dialects import Dialect
from rdbmerge.format.strings import read_length

_MASK = (1 << 64) - 1
_ELSEWHERE = 255  # in `left_out`: neither left out nor for the core
_WITHOUT_PREFIX_SEED = 1
_EXPIRY_BYTES = {codes.OP_EXPIRETIME_MS: 9, codes.OP_EXPIRETIME: 5, codes.OP_FREQ: 2}
_NO_PREFIX = b""

Rows = NDArray[np.uint8]


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
    as_it_stands: bool = False  # expiries of fields count as they are, be they outside what may be written

    def field_types(self) -> Rows:
        """256 cells, 1 for value types whose fields have expiries."""
        types = self.dialect.types
        return np.array([number in types and types[number].holds_expiry for number in range(256)], np.uint8)


def digest_batch(view: memoryview, columns: Columns, reading: Reading, left_out: Rows, field_types: Rows) -> Digest:
    """The digest of the rows whose `left_out` is 0; fills `columns.key_hash` for every row.

    Raises FormatError for a key or field that does not decode.
    """
    rows = columns.rows
    flags = columns.flags[:rows]
    _hash_encoded_keys(view, columns, reading.key_prefix)
    unlike_others = field_types[columns.type[:rows]] | (flags & codes.HAS_META)
    special = np.flatnonzero((unlike_others != 0) & (left_out == 0))
    for_core = left_out
    if len(special):
        for_core = left_out.copy()
        for_core[special] = _ELSEWHERE
    a, b = digest_rows(
        view, columns.type, columns.flags, columns.expire_at_ms, columns.hint, columns.key_len, columns.value_start,
        columns.end, columns.key_hash, for_core, rows, reading.ttl_offset_ms, reading.key_prefix,
    )  # fmt: skip
    kept = left_out == 0
    expiring = kept & (columns.expire_at_ms[:rows] != codes.NO_EXPIRY)
    digest = Digest(a, b, int(np.count_nonzero(kept)), int(np.count_nonzero(expiring)))
    for row in special.tolist():
        a, b = _special(view, columns, row, reading)
        digest += Digest(a, b)
    return digest


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


def _special(view: memoryview, columns: Columns, row: int, reading: Reading) -> tuple[int, int]:
    """The two numbers of an entry with key metadata or with expiries of fields."""
    number, flags, key = int(columns.type[row]), int(columns.flags[row]), int(columns.key_hash[row])
    start, end = int(columns.value_start[row]), int(columns.end[row])
    row_of_type = reading.dialect.types[number]
    if row_of_type.holds_expiry:
        value = _fields_hash(fields.read_fields(view, row_of_type.shape, start, end), row_of_type.shape, key, reading)
    else:
        value = xxh64_of(view[start:end], key)
    if flags & codes.HAS_META:
        meta = key_metadata(view, int(columns.entry_start[row]), int(columns.key_start[row]))
        value = mixed(value ^ xxh64_of(meta, key))
    expire_at_ms = shifted(int(columns.expire_at_ms[row]), reading.ttl_offset_ms)
    a, b = digest_one(key, value, number, flags, expire_at_ms, int(columns.hint[row]))
    return int(a), int(b)


def _fields_hash(held: list[fields.Field], shape: int, key: int, reading: Reading) -> int:
    total = 0
    for at_ms, raw in live_fields(held, shape, reading):
        total += mixed(mixed(at_ms + 1) ^ xxh64_of(raw, key))
    return total & _MASK


def live_fields(held: list[fields.Field], shape: int, reading: Reading) -> list[tuple[int, bytes]]:
    """Expiry (Unix ms, moved; NO_EXPIRY: none) and bytes of each field that counts."""
    dead_before_ms = reading.fields_dead_before_ms
    latest_ms = fields.latest_ms(shape)
    found = []
    for field in held:
        at_ms = field.expire_at_ms
        if at_ms is None or reading.as_it_stands:
            found.append((codes.NO_EXPIRY if at_ms is None else at_ms, field.raw))
        elif dead_before_ms is None or at_ms >= dead_before_ms:
            found.append((max(codes.FIRST_EXPIRY_MS, min(at_ms + reading.ttl_offset_ms, latest_ms)), field.raw))
    return found


def key_metadata(view: memoryview, entry_start: int, key_start: int) -> memoryview:
    """The bytes of the metadata record of an entry that has one: it stands directly before the type."""
    pos, stop = entry_start, key_start - 1
    while view[pos] != codes.OP_KEY_META:
        opcode = view[pos]
        pos = read_length(view, pos + 1)[1] if opcode == codes.OP_IDLE else pos + _EXPIRY_BYTES[opcode]
    return view[pos:stop]
