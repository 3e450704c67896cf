"""What a data set is, apart from any RDB: read from truth files, read from live servers, merged on paper, compared.

The expectation that merges are judged by, so it shares nothing with rdbmerge. Everything is bytes; one longer than 1024
bytes is held as `b"sha256:HEX:LENGTH"` on every side (`short`), keys too.

Values by type:
    string  bytes
    list    [bytes, ...] in order
    set     frozenset of bytes
    zset    {member: score as float}, -0.0 as 0.0
    hash    {field: (value, expire_at_ms or None)}
    stream  dict: entries [(id, [(field, value), ...])], length, last_id, groups {name: {last_id, pel, consumers, ...}};
            entries_added, max_deleted_id, entries_read, seen_time, active_time, idmp only where the server told
    array   {"items": {index: bytes}, "next": n}
    others  None: the type of a module, not compared
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import redis

LONG_BYTES = 1024
Key = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class TruthEntry:
    """One key: its type by name, its value as above, and when it expires (None: never)."""

    type: str
    value: Any
    expire_at_ms: int | None = None
    rdb_type: int | None = None  # the value type in the file; only from truth files
    idle_s: int | None = None
    freq: int | None = None


@dataclass
class Truth:
    """A data set: entries by (db, key), function libraries as {name: (engine, code)}."""

    entries: dict[Key, TruthEntry] = field(default_factory=dict)
    functions: dict[str, tuple[str, bytes]] = field(default_factory=dict)

    def per_db(self) -> dict[int, int]:
        counts: dict[int, int] = {}
        for db, _ in self.entries:
            counts[db] = counts.get(db, 0) + 1
        return counts

    def __len__(self) -> int:
        return len(self.entries)


def short(data: bytes) -> bytes:
    """The bytes as truths hold them."""
    if len(data) <= LONG_BYTES:
        return data
    return b"sha256:%s:%d" % (hashlib.sha256(data).hexdigest().encode(), len(data))


def score(text: bytes | str | float) -> float:
    """A score; -0.0 and 0.0 are one, since servers and encodings differ in it."""
    return float(text) + 0.0


# --- truth files --------------------------------------------------------------------------------------------------


def read_truth(path: Path) -> Truth:
    """A `*.truth.jsonl.gz`."""
    truth = Truth()
    with gzip.open(path, "rt", encoding="ascii") as lines:
        for line in map(json.loads, lines):
            if "function" in line:
                truth.functions[line["function"]] = (line["engine"], _bytes(line["code"]))
                continue
            truth.entries[line["db"], _bytes(line["key"])] = TruthEntry(
                type=line["type"],
                value=_value_from_json(line["type"], line["value"]),
                expire_at_ms=line["pexpireat"],
                rdb_type=line.get("rdb_type"),
                idle_s=line.get("idle"),
                freq=line.get("freq"),
            )
    return truth


def _bytes(text: str) -> bytes:
    return text.encode() if text.startswith("sha256:") else base64.b64decode(text, validate=True)


def _value_from_json(kind: str, value: Any) -> Any:
    if value is None:
        return None
    if kind == "string":
        return _bytes(value)
    if kind == "list":
        return [_bytes(item) for item in value]
    if kind == "set":
        return frozenset(_bytes(item) for item in value)
    if kind == "zset":
        return {_bytes(member): score(text) for member, text in value}
    if kind == "hash":
        return {_bytes(row[0]): (_bytes(row[1]), row[2] if len(row) > 2 else None) for row in value}
    if kind == "array":
        return {"items": {index: _bytes(item) for index, item in value["items"]}, "next": value["next"]}
    if kind == "stream":
        return _stream_from_json(value)
    raise ValueError(f"a truth file holds the unknown type {kind!r}")


def _stream_from_json(value: dict[str, Any]) -> dict[str, Any]:
    stream = {**value}
    stream["entries"] = [(i, [(_bytes(f), _bytes(v)) for f, v in pairs]) for i, pairs in value["entries"]]
    stream["groups"] = {}
    for told in value["groups"]:
        group = {**told}
        group["pel"] = {i: (_bytes(consumer), at_ms, count) for i, consumer, at_ms, count in told["pel"]}
        group["consumers"] = {_bytes(c["name"]): {k: v for k, v in c.items() if k != "name"} for c in told["consumers"]}
        stream["groups"][_bytes(group.pop("name"))] = group
    return stream


# --- live servers -------------------------------------------------------------------------------------------------


def read_live(server: Any, *, dbs: Iterable[int] | None = None, functions: bool = True, match: bytes = b"*") -> Truth:
    """What a running server holds, asked by commands; `server` is a `realservers.RunningServer` or has its `client`.

    Expiries are exact, also before 7.0 (see `EXPIRE_AT`; a server must know scripts, so 2.6 at least). `match` is a
    glob pattern for keys, as SCAN has it.
    """
    with server.client(raw=True) as client:
        abilities = _Abilities.of(client)
        truth = Truth(functions=_live_functions(client) if functions else {})
        chosen = sorted(dbs) if dbs is not None else abilities.dbs
    for db in chosen:
        with server.client(db, raw=True) as client:
            reader = _LiveReader(client, abilities)
            for keys in reader.pages(match):
                truth.entries.update(((db, short(key)), entry) for key, entry in reader.read(keys))
    return truth


@dataclass(frozen=True)
class _Abilities:
    dbs: list[int]
    scan: bool
    pexpiretime: bool
    field_expiry: bool
    stream_full: bool

    @classmethod
    def of(cls, client: redis.Redis) -> _Abilities:
        info = dict(line.split(":", 1) for line in client.execute_command("INFO").decode().splitlines() if ":" in line)

        def knows(*command: Any) -> bool:
            try:
                client.execute_command(*command)
            except redis.ResponseError as error:
                return "unknown command" not in str(error).lower()
            return True

        return cls(
            dbs=sorted(int(name[2:]) for name in info if name.startswith("db") and name[2:].isdigit()),
            scan=knows("SCAN", 0),
            pexpiretime=knows("PEXPIRETIME", "no such key"),
            field_expiry=knows("HPEXPIRETIME", "no such key", "FIELDS", 1, "f"),
            stream_full=int(info["redis_version"].split(".")[0]) >= 6,
        )


READING: dict[bytes, Callable[[bytes], tuple[Any, ...]]] = {
    b"string": lambda key: ("GET", key),
    b"list": lambda key: ("LRANGE", key, 0, -1),
    b"set": lambda key: ("SMEMBERS", key),
    b"zset": lambda key: ("ZRANGE", key, 0, -1, "WITHSCORES"),
    b"hash": lambda key: ("HGETALL", key),
}


# PEXPIRETIME for servers before 7.0, exact: TIME and PTTL only count when both fell into the same millisecond.
EXPIRE_AT = """
local found = {}
for i, key in ipairs(KEYS) do
    local before, after, ttl
    repeat
        before = redis.call('TIME')
        ttl = redis.call('PTTL', key)
        after = redis.call('TIME')
    until before[1] == after[1] and math.floor(before[2] / 1000) == math.floor(after[2] / 1000)
    if ttl >= 0 then ttl = before[1] * 1000 + math.floor(before[2] / 1000) + ttl end
    found[i] = string.format('%.0f', ttl)
end
return found
"""


# What is pending, and the very millisecond in which it was asked: Redis 5 tells only how long ago it was delivered.
PENDING = """
local before, rows, after
repeat
    before = redis.call('TIME')
    rows = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 2^30)
    after = redis.call('TIME')
until before[1] == after[1] and math.floor(before[2] / 1000) == math.floor(after[2] / 1000)
return {string.format('%.0f', before[1] * 1000 + math.floor(before[2] / 1000)), rows}
"""


class _LiveReader:
    """One db of a live server, a page of keys at a time: three round trips a page, more only for the rare types."""

    PAGE = 1000

    def __init__(self, client: redis.Redis, abilities: _Abilities) -> None:
        self.client = client
        self.abilities = abilities

    def pages(self, match: bytes) -> Iterator[list[bytes]]:
        """Every key once; the server must be at rest."""
        if not self.abilities.scan:
            keys = self.client.execute_command("KEYS", match)
            for start in range(0, len(keys), self.PAGE):
                yield keys[start : start + self.PAGE]
            return
        seen: set[bytes] = set()
        cursor: Any = 0
        while True:
            cursor, page = self.client.execute_command("SCAN", cursor, "MATCH", match, "COUNT", self.PAGE)
            fresh = [key for key in dict.fromkeys(page) if key not in seen]
            seen.update(fresh)
            if fresh:
                yield fresh
            if int(cursor) == 0:
                return

    def ask(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        pipeline = self.client.pipeline(transaction=False)
        pipeline.response_callbacks = {}
        for command in commands:
            pipeline.execute_command(*command)
        return pipeline.execute()

    def read(self, keys: list[bytes]) -> Iterator[tuple[bytes, TruthEntry]]:
        kinds, expiries = self._kinds_and_expiries(keys)
        plain = [(key, kind) for key, kind in zip(keys, kinds, strict=True) if kind in READING]
        answers = dict(
            zip((key for key, _ in plain), self.ask([READING[kind](key) for key, kind in plain]), strict=True)
        )
        field_expiries = self._field_expiries([key for key, kind in plain if kind == b"hash"], answers)
        for key, kind, expire_at_ms in zip(keys, kinds, expiries, strict=True):
            if kind == b"none":
                continue  # expired since it was listed
            if kind in READING:
                value = _plain_value(kind, answers[key], field_expiries.get(key, {}))
            elif kind == b"stream":
                value = self._stream(key)
            elif kind == b"array":
                value = self._array(key)
            else:
                value = None
            yield key, TruthEntry(kind.decode(), value, expire_at_ms)

    def _kinds_and_expiries(self, keys: list[bytes]) -> tuple[list[bytes], list[int | None]]:
        if self.abilities.pexpiretime:
            answers = self.ask([command for key in keys for command in (("TYPE", key), ("PEXPIRETIME", key))])
            return answers[::2], [at if at >= 0 else None for at in answers[1::2]]
        kinds = self.ask([("TYPE", key) for key in keys])
        found = self.client.execute_command("EVAL", EXPIRE_AT, len(keys), *keys)
        return kinds, [int(at) if int(at) >= 0 else None for at in found]

    def _field_expiries(self, keys: list[bytes], answers: Mapping[bytes, list[bytes]]) -> dict[bytes, dict[bytes, int]]:
        if not self.abilities.field_expiry:
            return {}
        asked = [(key, answers[key][::2]) for key in keys if answers[key]]
        times = self.ask([("HPEXPIRETIME", key, "FIELDS", len(fields), *fields) for key, fields in asked])
        return {
            key: {name: at for name, at in zip(fields, row, strict=True) if at >= 0}
            for (key, fields), row in zip(asked, times, strict=True)
        }

    def _array(self, key: bytes) -> dict[str, Any]:
        length = self.client.execute_command("ARLEN", key)
        rows = self.client.execute_command("ARSCAN", key, 0, max(0, length - 1)) if length else []
        flat = rows if not rows or isinstance(rows[0], list) else _pairs(rows)
        after = self.client.execute_command("ARNEXT", key)
        return {
            "items": {int(index): short(item) for index, item in flat},
            "next": None if after is None else int(after),
        }

    def _stream(self, key: bytes) -> dict[str, Any]:
        entries = [
            (entry_id.decode(), [(short(f), short(v)) for f, v in _pairs(flat or [])])
            for entry_id, flat in self.client.execute_command("XRANGE", key, "-", "+")
        ]
        stream: dict[str, Any] = {"entries": entries, "length": len(entries)}
        about = _named(
            self.client.execute_command(
                "XINFO", "STREAM", key, *(("FULL", "COUNT", 0) if self.abilities.stream_full else ())
            )
        )
        stream["last_id"] = about["last-generated-id"].decode()
        if "entries-added" in about:
            stream["entries_added"] = about["entries-added"]
            stream["max_deleted_id"] = about["max-deleted-entry-id"].decode()
        idmp = {
            name: n for name, n in about.items() if name.startswith(("idmp", "iids", "pids")) and isinstance(n, int)
        }
        if idmp:
            stream["idmp"] = idmp
        if self.abilities.stream_full:
            stream["groups"] = dict(_full_group(_named(row)) for row in about["groups"])
        else:
            rows = map(_named, self.client.execute_command("XINFO", "GROUPS", key))
            stream["groups"] = {short(row["name"]): self._old_group(key, row) for row in rows}
        return stream

    def _old_group(self, key: bytes, row: dict[str, Any]) -> dict[str, Any]:
        """Redis 5 has no XINFO STREAM FULL: delivery times are now - idle, seen times stay unknown."""
        consumers = map(_named, self.client.execute_command("XINFO", "CONSUMERS", key, row["name"]))
        now_ms, pending = self.client.execute_command("EVAL", PENDING, 1, key, row["name"])
        return {
            "last_id": row["last-delivered-id"].decode(),
            "pel": {i.decode(): (short(owner), int(now_ms) - idle, count) for i, owner, idle, count in pending},
            "consumers": {short(one["name"]): {"pending": one["pending"]} for one in consumers},
        }


def _full_group(row: dict[str, Any]) -> tuple[bytes, dict[str, Any]]:
    pel = row["pel"] if isinstance(row.get("pel"), list) else row["pending"]
    group: dict[str, Any] = {
        "last_id": row["last-delivered-id"].decode(),
        "pel": {i.decode(): (short(owner), at_ms, count) for i, owner, at_ms, count in pel},
        "consumers": {},
    }
    if "entries-read" in row:
        group["entries_read"] = row["entries-read"]
    for told in map(_named, row["consumers"]):
        mine = told["pel"] if isinstance(told.get("pel"), list) else told["pending"]
        consumer = {"pending": len(mine)}
        consumer.update({name.replace("-", "_"): told[name] for name in ("seen-time", "active-time") if name in told})
        group["consumers"][short(told["name"])] = consumer
    return short(row["name"]), group


def _plain_value(kind: bytes, answer: Any, expiries: Mapping[bytes, int]) -> Any:
    if kind == b"string":
        return short(answer)
    if kind == b"list":
        return [short(item) for item in answer]
    if kind == b"set":
        return frozenset(map(short, answer))
    if kind == b"zset":
        return {short(member): score(text) for member, text in _pairs(answer)}
    return {short(name): (short(value), expiries.get(name)) for name, value in _pairs(answer)}


def _pairs(flat: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    return zip(flat[::2], flat[1::2], strict=True)


def _named(flat: Any) -> dict[str, Any]:
    return {name.decode(): value for name, value in _pairs(flat)}


def _live_functions(client: redis.Redis) -> dict[str, tuple[str, bytes]]:
    try:
        rows = client.execute_command("FUNCTION", "LIST", "WITHCODE")
    except redis.ResponseError:
        return {}
    return {
        row["library_name"].decode(): (row["engine"].decode(), short(row["library_code"])) for row in map(_named, rows)
    }


# --- a merge on paper ---------------------------------------------------------------------------------------------


class TruthConflict(Exception):  # noqa: N818 - reads as what happened
    """`on_conflict="fail"` met keys (`keys`) or function libraries (`functions`) that two sources hold."""

    def __init__(self, keys: list[Key], functions: list[str]) -> None:
        super().__init__(f"{len(keys)} keys and {len(functions)} function libraries conflict")
        self.keys = keys
        self.functions = functions


def expected_merge(
    truths: Sequence[Truth],
    *,
    on_conflict: str = "fail",
    ttl_offset_ms: int | Sequence[int] = 0,
    db_map: Mapping[int, int] | Sequence[Mapping[int, int]] | None = None,
    drop_dead_at_ms: int | Sequence[int] | None = None,
    prefix: bytes | Sequence[bytes] = b"",
    keep: Callable[[int, bytes, TruthEntry], bool] = lambda _db, _key, _entry: True,
) -> Truth:
    """What a merge of these sources, in order of precedence, has to hold.

    Args:
        on_conflict: "fail" raises `TruthConflict`; "first", "last" and "longest-ttl" (never expires = longest, equal:
            the first) choose one. Functions: equal libraries are one, else the same policy (longest-ttl: the first).
        ttl_offset_ms, db_map, drop_dead_at_ms, prefix: one for all, or one a source.
        drop_dead_at_ms: the snapshot's time; what expired strictly before it (before any shift) is left out, hash
            fields too, and a hash of which no field is left.
        keep: a filter, called with the source's own db and key.
    """
    merged = Truth()
    clashes: list[Key] = []
    function_clashes: list[str] = []
    for number, truth in enumerate(truths):
        offset_ms: int = _of_source(ttl_offset_ms, number)
        dbs: Mapping[int, int] = _of_source(db_map, number) or {}
        dead_at_ms: int | None = _of_source(drop_dead_at_ms, number)
        front: bytes = prefix if isinstance(prefix, bytes) else prefix[number]
        for (db, key), entry in truth.entries.items():
            survivor = _without_dead(entry, dead_at_ms) if keep(db, key, entry) else None
            if survivor is None:
                continue
            place = (dbs.get(db, db), _prefixed(front, key))
            if place in merged.entries:
                clashes.append(place)
                if not _wins(on_conflict, survivor, offset_ms, merged.entries[place]):
                    continue
            merged.entries[place] = _shifted(survivor, offset_ms)
        for name, library in truth.functions.items():
            if merged.functions.get(name, library) != library:
                function_clashes.append(name)
            if name not in merged.functions or on_conflict == "last":
                merged.functions[name] = library
    if on_conflict == "fail" and (clashes or function_clashes):
        raise TruthConflict(clashes, function_clashes)
    return merged


def _of_source(setting: Any, number: int) -> Any:
    return setting[number] if isinstance(setting, Sequence) else setting


def _wins(policy: str, newcomer: TruthEntry, offset_ms: int, holder: TruthEntry) -> bool:
    if policy == "longest-ttl":
        mine = _shifted(newcomer, offset_ms).expire_at_ms
        return holder.expire_at_ms is not None and (mine is None or mine > holder.expire_at_ms)
    if policy not in ("fail", "first", "last"):
        raise ValueError(f"no such conflict policy: {policy}")
    return policy == "last"


def _without_dead(entry: TruthEntry, at_ms: int | None) -> TruthEntry | None:
    if at_ms is None:
        return entry
    if entry.expire_at_ms is not None and entry.expire_at_ms < at_ms:
        return None
    if entry.type != "hash":
        return entry
    alive = {name: row for name, row in entry.value.items() if row[1] is None or row[1] >= at_ms}
    return replace(entry, value=alive) if alive else None


def _shifted(entry: TruthEntry, offset_ms: int) -> TruthEntry:
    if not offset_ms:
        return entry
    value = entry.value
    if entry.type == "hash" and any(at is not None for _, at in value.values()):
        value = {name: (data, None if at is None else max(1, at + offset_ms)) for name, (data, at) in value.items()}
    at_ms = entry.expire_at_ms
    return replace(entry, value=value, expire_at_ms=None if at_ms is None else max(1, at_ms + offset_ms))


def _prefixed(prefix: bytes, key: bytes) -> bytes:
    if prefix and key.startswith(b"sha256:") and key.count(b":") == 2:
        raise ValueError("a key longer than 1024 bytes is only known by its digest: no prefix can be put before it")
    return short(prefix + key)


# --- comparing ----------------------------------------------------------------------------------------------------


def diff(
    expected: Truth, actual: Truth, *, tolerance_ms: int = 0, functions: bool = True, subset: bool = False
) -> list[str]:
    """Every difference, one readable line each; empty means equal.

    `tolerance_ms` is how far any time may be off. With `subset`, `actual` may hold more. Of a stream's bookkeeping only
    what both sides report is compared: older servers do not tell, older files do not hold, all of it.
    """
    found = []
    for place, entry in sorted(expected.entries.items()):
        other = actual.entries.get(place)
        name = f"db {place[0]} key {shown(place[1])}: "
        if other is None:
            found.append(f"{name}missing ({entry.type})")
            continue
        found.extend(name + text for text in entry_diff(entry, other, tolerance_ms))
    if not subset:
        extra = sorted(actual.entries.keys() - expected.entries.keys())
        found.extend(f"db {db} key {shown(key)}: not expected ({actual.entries[db, key].type})" for db, key in extra)
    if functions:
        found.extend(_function_diff(expected.functions, actual.functions, subset))
    return found


def shown(data: bytes) -> str:
    """Bytes for a message: escaped, cut at 80."""
    text = repr(data)[1:]
    return text if len(text) <= 80 else text[:77] + "..."


def entry_diff(expected: TruthEntry, actual: TruthEntry, tolerance_ms: int = 0) -> Iterator[str]:
    """The differences between two entries of one key."""
    if expected.type != actual.type:
        yield f"is a {actual.type}, not a {expected.type}"
        return
    if not _near(expected.expire_at_ms, actual.expire_at_ms, tolerance_ms):
        yield f"expires at {actual.expire_at_ms}, not {expected.expire_at_ms}"
    if expected.value == actual.value or expected.value is None or actual.value is None:
        return
    if expected.type == "stream":
        yield from _stream_diff(expected.value, actual.value, tolerance_ms)
    elif expected.type == "hash":
        yield from _hash_diff(expected.value, actual.value, tolerance_ms)
    else:
        yield _value_diff(expected.value, actual.value)


def _near(one: int | None, other: int | None, tolerance_ms: int) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= tolerance_ms


def _value_diff(expected: Any, actual: Any) -> str:
    if isinstance(expected, bytes):
        return f"value is {shown(actual)}, not {shown(expected)}"
    if isinstance(expected, list):
        at = next((i for i, (a, b) in enumerate(zip(expected, actual, strict=False)) if a != b), -1)
        if at < 0:
            return f"has {len(actual)} items, not {len(expected)}"
        return f"item {at} is {shown(actual[at])}, not {shown(expected[at])}"
    if isinstance(expected, frozenset):
        return f"members missing: {_some(expected - actual)}; not expected: {_some(actual - expected)}"
    differing = [m for m in expected.keys() | actual.keys() if expected.get(m) != actual.get(m)]
    first = min(differing, key=repr)
    return f"{len(differing)} differ; {first!r:.80} is {actual.get(first)!r}, not {expected.get(first)!r}"


def _some(items: Iterable[bytes]) -> str:
    listed = sorted(items)
    return f"{len(listed)} ({', '.join(map(shown, listed[:3]))})" if listed else "none"


def _hash_diff(expected: dict[bytes, Any], actual: dict[bytes, Any], tolerance_ms: int) -> Iterator[str]:
    if expected.keys() != actual.keys():
        missing, extra = expected.keys() - actual.keys(), actual.keys() - expected.keys()
        yield f"fields missing: {_some(missing)}; not expected: {_some(extra)}"
    for name in sorted(expected.keys() & actual.keys()):
        (value, at_ms), (other, other_at_ms) = expected[name], actual[name]
        if value != other:
            yield f"field {shown(name)} is {shown(other)}, not {shown(value)}"
        if not _near(at_ms, other_at_ms, tolerance_ms):
            yield f"field {shown(name)} expires at {other_at_ms}, not {at_ms}"


def _stream_diff(expected: dict[str, Any], actual: dict[str, Any], tolerance_ms: int) -> Iterator[str]:
    if expected["entries"] != actual["entries"]:
        yield f"entries differ ({len(actual['entries'])}, not {len(expected['entries'])})"
    yield from _told_diff(expected, actual, ("length", "last_id", "entries_added", "max_deleted_id", "idmp"))
    mine, theirs = expected["groups"], actual["groups"]
    if mine.keys() != theirs.keys():
        yield f"groups are {sorted(theirs)}, not {sorted(mine)}"
    for name in sorted(mine.keys() & theirs.keys()):
        yield from (f"group {shown(name)}: {text}" for text in _group_diff(mine[name], theirs[name], tolerance_ms))


def _told_diff(expected: Mapping[str, Any], actual: Mapping[str, Any], names: Iterable[str]) -> Iterator[str]:
    for name in names:
        if name in expected and name in actual and expected[name] != actual[name]:
            yield f"{name} is {actual[name]!r}, not {expected[name]!r}"


def _group_diff(expected: dict[str, Any], actual: dict[str, Any], tolerance_ms: int) -> Iterator[str]:
    yield from _told_diff(expected, actual, ("last_id", "entries_read"))
    mine, theirs = expected["pel"], actual["pel"]
    if mine.keys() != theirs.keys():
        yield f"{len(theirs)} entries pending, not {len(mine)}"
    for entry_id in mine.keys() & theirs.keys():
        (owner, at_ms, count), (other, other_at_ms, other_count) = mine[entry_id], theirs[entry_id]
        if (owner, count) != (other, other_count) or not _near(at_ms, other_at_ms, tolerance_ms):
            yield f"pending {entry_id} is {theirs[entry_id]!r}, not {mine[entry_id]!r}"
    if expected["consumers"].keys() != actual["consumers"].keys():
        yield f"consumers are {sorted(actual['consumers'])}, not {sorted(expected['consumers'])}"
        return
    for name, told in expected["consumers"].items():
        seen = actual["consumers"][name]
        yield from (f"consumer {shown(name)}: {text}" for text in _told_diff(told, seen, ("pending",)))
        for time in ("seen_time", "active_time"):
            if time in told and time in seen and not _near(told[time], seen[time], tolerance_ms):
                yield f"consumer {shown(name)}: {time} is {seen[time]}, not {told[time]}"


def _function_diff(expected: Mapping[str, Any], actual: Mapping[str, Any], subset: bool) -> Iterator[str]:
    for name, library in expected.items():
        if actual.get(name) != library:
            yield f"function library {name} {'differs' if name in actual else 'is missing'}"
    for name in [] if subset else sorted(actual.keys() - expected.keys()):
        yield f"function library {name}: not expected"
