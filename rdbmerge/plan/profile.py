"""What targets can load: one row a target, and the names that users give them. A table; knows nothing of merges.

Facts: rdb-format.md 3 (measured on servers), aws-seeding.md 2 and 5 (managed services, inferred from what AWS says of
their compatibility: `measured` is False there).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Literal

from rdbmerge.errors import UsageError
from rdbmerge.format.dialects import NEWEST_REDIS, VALKEY_VERSIONS, Dialect
from rdbmerge.format.values import COMMON_TYPES, REDIS_TYPES, VALKEY_TYPES

Line = Literal["redis", "valkey"]

_MODULES, _LONG_LENGTHS, _HINTS, _MODULE_DATA, _FUNCTIONS, _KEY_META = 8, 8, 9, 9, 10, 13
_OLDEST = 6  # what rdbmerge writes at least; see `versions`
_TEMPLATES = {number for number, row in REDIS_TYPES.items() if row.name.startswith("hash_template")}
_HASH_2 = 22  # Valkey's
_FIELDS_WITH_TIMES = {"redis": 24, "valkey": _HASH_2}
_STREAM = 15
_NEWEST_OF_BOTH = 11  # the highest version that both lines write and read
_MODULE = 7
_SUGGESTED = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetProfile:
    """What one kind of target can load."""

    name: str
    line: Line
    redis_version: int  # the highest version under the magic REDIS
    valkey_version: int = 0  # under the magic VALKEY; 0: none
    many_dbs: bool = True
    modules: bool = True  # whether values of modules can be loaded, given that their module is there
    functions: bool
    measured: bool  # on a server of that version; else inferred

    @property
    def types(self) -> frozenset[int]:
        """The value types it loads, by their numbers in its own line; hash templates are never written."""
        if self.line == "valkey":
            newest = max(COMMON_TYPES) if not self.valkey_version else _HASH_2
            known = {number for number in VALKEY_TYPES if number <= newest}
        else:
            known = {number for number, row in REDIS_TYPES.items() if row.since_rdb <= self.redis_version} - _TEMPLATES
        return frozenset(known if self.modules else known - {_MODULE})

    @property
    def streams(self) -> bool:
        """Whether there are streams."""
        return _STREAM in self.types

    @property
    def field_expiries(self) -> bool:
        """Whether fields of hashes can expire."""
        return _FIELDS_WITH_TIMES[self.line] in self.types

    @property
    def long_lengths(self) -> bool:
        """Whether lengths of 64 bits are understood, even small ones."""
        return self.redis_version >= _LONG_LENGTHS

    @property
    def hints(self) -> bool:
        """Whether idle times and use counters of keys are understood."""
        return self.redis_version >= _HINTS

    @property
    def module_data(self) -> bool:
        """Whether data that modules keep beside the keys can be loaded; a version later than their values."""
        return self.modules and self.redis_version >= _MODULE_DATA

    @property
    def key_metadata(self) -> bool:
        """Whether metadata of modules at keys is understood."""
        return self.line == "redis" and self.redis_version >= _KEY_META

    def reads(self, dialect: Dialect) -> bool:
        """Whether it takes files with this header."""
        return dialect.version <= (self.valkey_version if dialect.line == "valkey" else self.redis_version)

    @property
    def accepts(self) -> str:
        """The headers it takes, for people."""
        return f"1-{self.redis_version}" + (f", {self.valkey_version}" if self.valkey_version else "")


def _server(line: Line, version: str, rdb: int, *, measured: bool = True) -> TargetProfile:
    return TargetProfile(
        name=f"{line}-{version}",
        line=line,
        redis_version=min(rdb, _NEWEST_OF_BOTH) if line == "valkey" else rdb,
        valkey_version=rdb if rdb in VALKEY_VERSIONS else 0,
        modules=rdb >= _MODULES,
        functions=rdb >= _FUNCTIONS,
        measured=measured,
    )


def _managed(base: TargetProfile, service: str, *, many_dbs: bool = True) -> TargetProfile:
    """A managed service that runs an engine like `base`; no modules can be loaded there."""
    return replace(base, name=f"{service}-{base.name}", many_dbs=many_dbs, modules=False, measured=False)


_REDIS = (
    ("2.6", 6), ("2.8", 6), ("3.0", 6), ("3.2", 7), ("4.0", 8), ("5.0", 9), ("6.0", 9), ("6.2", 9), ("7.0", 10),
    ("7.2", 11), ("7.4", 12), ("8.0", 12), ("8.2", 12), ("8.4", 12), ("8.6", 13), ("8.8", 14), ("8.10", 15),
)  # fmt: skip
_ONLY_READ_ABOUT = {"8.4", "8.10"}
_VALKEY = (("7.2", 11), ("8.0", 11), ("8.1", 11), ("9.0", 80), ("9.1", 80))
# AWS has versions of its own: Redis 7.1 is built on 7.0, Valkey 8.2 on 8.1.
_ELASTICACHE_REDIS = (("4.0", 8), ("5.0", 9), ("6.0", 9), ("6.2", 9), ("7.0", 10), ("7.1", 10))
_ELASTICACHE_VALKEY = (("7.2", 11), ("8.0", 11), ("8.1", 11), ("8.2", 11), ("9.0", 80), ("9.1", 80))
_MEMORYDB = (
    ("redis", "6.2", 9),
    ("redis", "7.0", 10),
    ("redis", "7.1", 10),
    ("valkey", "7.2", 11),
    ("valkey", "7.3", 11),
)


def _profiles() -> list[TargetProfile]:
    rows = [_server("redis", version, rdb, measured=version not in _ONLY_READ_ABOUT) for version, rdb in _REDIS]
    rows += [_server("valkey", version, rdb) for version, rdb in _VALKEY]
    rows += [_managed(_server("redis", version, rdb), "elasticache") for version, rdb in _ELASTICACHE_REDIS]
    rows += [_managed(_server("valkey", version, rdb), "elasticache") for version, rdb in _ELASTICACHE_VALKEY]
    # Serverless takes files of Redis 5.0 to 7.1 and of Valkey 7.2 on: what both engines read.
    oldest = replace(_server("redis", "7.0", 10), functions=False)
    serverless = _managed(oldest, "elasticache", many_dbs=False)
    rows.append(replace(serverless, name="elasticache-serverless"))
    rows += [_managed(_server(line, version, rdb), "memorydb", many_dbs=False) for line, version, rdb in _MEMORYDB]  # type: ignore[arg-type]
    return rows


PROFILES: dict[str, TargetProfile] = {profile.name: profile for profile in _profiles()}


def find_profile(name: str) -> TargetProfile:
    """The profile of a name of PROFILES, also with a patch version (redis-6.2.14); of a series (valkey-9.x: its
    oldest); or of a reader of version N (rdb-N).

    Raises UsageError, with names that are near.
    """
    text = name.strip().lower()
    if text in PROFILES:
        return PROFILES[text]
    if match := re.fullmatch(r"rdb-(\d{1,4})", text):
        return _reader_of(int(match[1]))
    if match := re.fullmatch(r"([a-z-]+)-(\d+)\.x", text):
        series = [profile for key, profile in PROFILES.items() if key.startswith(f"{match[1]}-{match[2]}.")]
        if series:
            return series[0]
    if (match := re.fullmatch(r"([a-z-]+-\d+\.\d+)\.\d+", text)) and match[1] in PROFILES:
        return PROFILES[match[1]]
    raise UsageError(f"{name!r} is no target that is known", remedy=_suggestion(text))


def _reader_of(version: int) -> TargetProfile:
    if version in VALKEY_VERSIONS:
        return replace(_server("valkey", "", version), name=f"rdb-{version}")
    if _OLDEST <= version <= NEWEST_REDIS:
        return replace(_server("redis", "", version), name=f"rdb-{version}")
    raise UsageError(
        f"rdb-{version} is no version that is written",
        remedy=f"give rdb-{_OLDEST} to rdb-{NEWEST_REDIS}, or rdb-{VALKEY_VERSIONS[0]};"
        f" below {_OLDEST} files have no checksum that proves them whole",
    )


def _suggestion(text: str) -> str:
    begun = [name for name in PROFILES if text and name.startswith(text)]
    names = begun[:_SUGGESTED] or get_close_matches(text, PROFILES, _SUGGESTED)
    some = ", ".join(names) if names else "redis-6.2, valkey-8.1, elasticache-redis-7.1, rdb-9, ..."
    return f"give one of {some}; `rdbmerge targets` lists all"
