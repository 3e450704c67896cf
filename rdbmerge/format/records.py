"""The records of an RDB that are not entries, as values (rdb-format.md 4). Rare, so objects are affordable."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Aux:
    """A field the server noted about itself."""

    name: bytes
    value: bytes
    offset: int


@dataclass(frozen=True, slots=True)
class ResizeDb:
    """A hint of how many keys, and keys with an expiry, the db that follows holds."""

    db: int
    keys: int
    expires: int


@dataclass(frozen=True, slots=True)
class Function:
    """A function library; `name` is empty when its first line does not tell one."""

    name: bytes
    code: bytes
    offset: int


@dataclass(frozen=True, slots=True)
class ModuleAux:
    """Data a module keeps beside the keys; `start` to `end` is the whole record, opcode included."""

    module: str
    before_keys: bool
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class HashTemplate:
    """The field names that hashes of type 30 and 32 refer to by `number` (Redis 8.10)."""

    number: int
    names: tuple[bytes, ...]
    offset: int


@dataclass(frozen=True, slots=True)
class End:
    """The end of the records. `checksum` is None where the version has none, 0 where the server was told not to."""

    checksum_offset: int
    checksum: int | None
    end: int  # where the file should end
