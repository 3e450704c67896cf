"""What a server says of itself that matters to one that restores into it: pure, out of the text of INFO.

What a server does not say is None; nothing here raises.
"""

from __future__ import annotations

from dataclasses import dataclass, field

_PROTO_MAX_BULK_BYTES = 512 << 20  # of every server that does not say (rdb-format.md 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """One server, when it was asked."""

    flavour: str = "redis"  # or "valkey"
    version: tuple[int, ...] = ()  # its own; () where it does not say
    spoken_version: tuple[int, ...] = ()  # of Redis, that it is compatible with
    run_id: str = ""  # another after every start
    role: str = ""  # "master" or "slave", as on the wire
    loading: bool = False
    cluster: bool = False
    used_memory_bytes: int | None = None
    max_memory_bytes: int | None = None  # 0: no limit
    eviction: str | None = None  # maxmemory-policy
    evicted_keys: int | None = None  # since its start
    replicas: int = 0
    keys: dict[int, int] = field(default_factory=dict)  # by db; dbs without keys are not there
    most_bulk_bytes: int = _PROTO_MAX_BULK_BYTES

    @property
    def has_absolute_ttl(self) -> bool:
        """ABSTTL, IDLETIME and FREQ (5.0 and later)."""
        return self.spoken_version >= (5,)

    @property
    def has_replace(self) -> bool:
        """3.0 and later."""
        return self.spoken_version >= (3,)

    @property
    def has_functions(self) -> bool:
        """7.0 and later."""
        return self.spoken_version >= (7,)

    @property
    def has_unlink(self) -> bool:
        """4.0 and later."""
        return self.spoken_version >= (4,)

    @property
    def stamp(self) -> int:
        """What payloads are stamped with: 6, but for Redis 3.2.0, which takes nothing but 7."""
        return 7 if self.flavour == "redis" and self.version == (3, 2, 0) else 6

    @property
    def name(self) -> str:
        """For people: `Redis 7.0.15`."""
        number = ".".join(str(part) for part in self.version)
        return f"{self.flavour.capitalize()} {number}" if number else "a server that does not tell its version"


def read_info(text: str) -> ServerFacts:
    """The facts in a reply to INFO."""
    said: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon and not line.startswith("#"):
            said.setdefault(name.strip(), value.strip())
    valkey = "valkey_version" in said
    return ServerFacts(
        flavour="valkey" if valkey else "redis",
        version=_version(said.get("valkey_version" if valkey else "redis_version", "")),
        spoken_version=_version(said.get("redis_version", "")),
        run_id=said.get("run_id", ""),
        role=said.get("role", ""),
        loading=said.get("loading", "0") not in ("", "0"),
        cluster=said.get("cluster_enabled") == "1" or said.get("redis_mode") == "cluster",
        used_memory_bytes=_number(said, "used_memory"),
        max_memory_bytes=_number(said, "maxmemory"),
        eviction=said.get("maxmemory_policy"),
        evicted_keys=_number(said, "evicted_keys"),
        replicas=_number(said, "connected_slaves") or 0,
        keys=_keys(said),
    )


def _version(text: str) -> tuple[int, ...]:
    parts = text.split("-")[0].split(".")
    if not all(part.isascii() and part.isdigit() and len(part) <= 9 for part in parts):
        return ()
    return tuple(int(part) for part in parts)


def _number(said: dict[str, str], name: str) -> int | None:
    value = said.get(name, "")
    return int(value) if value.isascii() and value.isdigit() and len(value) <= 20 else None


def _keys(said: dict[str, str]) -> dict[int, int]:
    keys = {}
    for name, value in said.items():
        number = name.removeprefix("db")
        if number == name or not (number.isascii() and number.isdigit() and len(number) <= 9):
            continue
        count = _number(dict(part.partition("=")[::2] for part in value.split(",")), "keys")
        if count:
            keys[int(number)] = count
    return dict(sorted(keys.items()))
