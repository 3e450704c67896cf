"""The lowest header version that can hold a content (rdb-format.md 3 and 14.1). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rdbmerge.errors import UsageError
from rdbmerge.format import codes
from rdbmerge.format.dialects import Dialect
from rdbmerge.format.values import REDIS_TYPES

# Lower versions exist, but without a checksum (below 5) or as development builds (3 to 5).
LOWEST = 6
_LONG_LENGTHS, _HINTS, _MODULE_DATA, _FUNCTIONS, _KEY_META = 8, 9, 9, 10, 13
_LONG_BYTES = 1 << 32
_FIRST_FOREIGN_TYPE = 22  # from here on the lines give numbers different meanings


@dataclass
class Content:
    """What was met so far that a version depends on."""

    needed: int = LOWEST
    redis_only: set[str] = field(default_factory=set)  # names of sources with types only Redis knows
    valkey_only: set[str] = field(default_factory=set)

    def add_types(self, source: str, types: Iterable[tuple[str, int]]) -> None:
        """Value types of a source as they are written: line and number."""
        for line, number in types:
            if number >= _FIRST_FOREIGN_TYPE:
                (self.valkey_only if line == "valkey" else self.redis_only).add(source)
            if number < _FIRST_FOREIGN_TYPE or line == "redis":
                self.needed = max(self.needed, REDIS_TYPES[number].since_rdb)

    def add_flags(self, source: str, flags: int) -> None:
        """Flags of rows that are written, or-ed."""
        if flags & (codes.HAS_IDLE | codes.HAS_FREQ):
            self.needed = max(self.needed, _HINTS)
        if flags & codes.HAS_META:
            self.needed = max(self.needed, _KEY_META)
            self.redis_only.add(source)

    def add_size(self, entry_bytes: int) -> None:
        """The largest entry: its lengths may need 64 bits."""
        if entry_bytes >= _LONG_BYTES:
            self.needed = max(self.needed, _LONG_LENGTHS)

    def add_functions(self) -> None:
        """A function library is written."""
        self.needed = max(self.needed, _FUNCTIONS)

    def add_module_data(self) -> None:
        """Module data is written."""
        self.needed = max(self.needed, _MODULE_DATA)

    def dialect(self) -> Dialect:
        """The lowest dialect that holds it all. Raises UsageError when no file can."""
        refuse_two_lines([self])
        if self.valkey_only:
            return Dialect("valkey", 80)
        return Dialect("redis", self.needed)


def refuse_two_lines(contents: Sequence[Content]) -> None:
    """Raise UsageError where files that are loaded together, if only one, hold types of both lines."""
    redis_only = set().union(*(content.redis_only for content in contents))
    valkey_only = set().union(*(content.valkey_only for content in contents))
    if redis_only and valkey_only:
        raise UsageError(
            f"no {'file' if len(contents) == 1 else 'cluster'} can hold both: "
            f"value types of {', '.join(sorted(redis_only))}, which only Redis 7.4 and later knows,"
            f" and of {', '.join(sorted(valkey_only))}, which only Valkey 9 knows",
            remedy="name what is to load the file with --target, so that values are re-encoded for it;"
            " or merge them into two files, or leave those types out with --type",
        )
