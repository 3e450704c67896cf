"""What values are to a user, apart from how a file stores them: what decoding gives.

A string is `bytes`, a list `list[bytes]`, a set `set[bytes]`, a sorted set `dict[bytes, float]` in ascending order, a
hash `dict[bytes, bytes]`, or `Hash` where fields can expire; the other types are the classes below. Knows nothing of
bytes in files.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


class StreamId(NamedTuple):
    """The ID of a stream entry: both 0 .. 2^64 - 1."""

    ms: int
    seq: int

    def __str__(self) -> str:
        return f"{self.ms}-{self.seq}"


class Hash(dict[bytes, bytes]):
    """A hash whose fields can expire: values by field; `expire_at_ms` has those that do (Unix ms)."""

    __slots__ = ("expire_at_ms",)

    def __init__(self, fields: dict[bytes, bytes], expire_at_ms: dict[bytes, int] | None = None) -> None:
        super().__init__(fields)
        self.expire_at_ms: dict[bytes, int] = expire_at_ms or {}

    def __eq__(self, other: object) -> bool:
        """A plain dict is equal if it has the same fields and none of these expires."""
        if not isinstance(other, dict):
            return NotImplemented
        return super().__eq__(other) and self.expire_at_ms == getattr(other, "expire_at_ms", {})

    def __ne__(self, other: object) -> bool:  # a dict has one of its own, which knows no expiries
        return not self == other

    def __repr__(self) -> str:
        return f"Hash({super().__repr__()}, {self.expire_at_ms!r})"

    __hash__ = None


class StreamEntry(NamedTuple):
    """An entry: its ID, and its fields in order (a field may occur more than once)."""

    id: StreamId
    fields: list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Pending:
    """An entry that was delivered and not acknowledged; `consumer` is None where it was given back (Redis 8.8)."""

    consumer: bytes | None
    delivered_at_ms: int
    deliveries: int


@dataclass(frozen=True, slots=True)
class Consumer:
    """A consumer of a group; `active_at_ms` is None where the file does not tell, -1: never."""

    seen_at_ms: int
    active_at_ms: int | None
    pending: list[StreamId]


@dataclass(frozen=True, slots=True)
class Group:
    """A consumer group; `entries_read` is None where the file does not tell, -1 where the server did not know."""

    last_id: StreamId
    entries_read: int | None
    pending: dict[StreamId, Pending]
    consumers: dict[bytes, Consumer]


@dataclass(frozen=True, slots=True)
class Idempotence:
    """What a stream remembers of producers, so that it takes no message twice (Redis 8.6)."""

    duration_s: int
    maxsize: int
    producers: dict[bytes, dict[bytes, StreamId]]  # producer -> its message ids -> entries
    added: int
    duplicates: int


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream; what is None is not in the file, for its server was older."""

    entries: list[StreamEntry]
    length: int
    last_id: StreamId
    first_id: StreamId | None
    max_deleted_id: StreamId | None
    entries_added: int | None
    groups: dict[bytes, Group]
    idempotence: Idempotence | None


@dataclass(frozen=True, slots=True)
class ModuleValue:
    """A value of a module, as the module wrote it: integers, doubles and byte strings in order."""

    module: str  # nine characters
    encoding_version: int
    parts: list[int | float | bytes]


@dataclass(frozen=True, slots=True)
class Array:
    """An array (Redis 8.8): elements by index; `next_index` is where ARINSERT puts the next one."""

    items: dict[int, bytes] = field(default_factory=dict)
    next_index: int = 0


Value = bytes | list[bytes] | set[bytes] | dict[bytes, float] | dict[bytes, bytes] | Hash | Stream | ModuleValue | Array
Item = bytes | tuple[bytes, float] | tuple[bytes, bytes] | tuple[bytes, bytes, int | None] | StreamEntry
