"""Any small merge for any target: files of both lines with every form of `forms`, and what has to come of them.

`Expected` is the meaning of targets and policies in plain Python, entry by entry, from the values as they were made:
what a target holds is written out here (rdb-format.md 3.1, 9), and nothing of the planner or the encoders is asked.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from anymerge import ANY_RULES, AT, LATEST_FIELD_MS, SNAPSHOT_S, own_rules
from blobbytes import EMPTY_LISTPACK, STREAM_TYPES, stream
from forms import BY_NAME, FORMS, Form
from hypothesis import strategies as st
from rdbbytes import aux, expiry, expiry_seconds, freq, idle, length, rdb, record, select, string
from unfit import META, nacked, remembering

from rdbmerge.format.columns import Columns
from rdbmerge.format.decode import Values
from rdbmerge.format.dialects import VALKEY_VERSIONS
from rdbmerge.format.logical import Array, Consumer, Group, Hash, Idempotence, ModuleValue, Pending, Stream, StreamId
from rdbmerge.format.scan import Walk
from rdbmerge.plan.model import Policy, Unsupported

TEMPLATES = b"".join(
    b"\xf2" + length(number) + length(len(names)) + b"".join(map(string, names))
    for number, names in ((7, [b"a", b"b", b"id"]), (300, [b"f"]))
)
NACK_OWNER = b"rdbmerge:nacked"
NOTHING = Idempotence(100, 100, {}, 0, 0)
PARTS = {number: level for level, number in STREAM_TYPES.items()}


@dataclass(frozen=True)
class Ability:
    """What a target can hold, by its line and the newest header that it reads."""

    line: str
    version: int
    modules: bool = True
    many_dbs: bool = True

    @property
    def streams(self) -> int:
        """The parts of a stream that it knows: 2 counters, 3 active times, 4 producers, 5 entries without owner."""
        return {9: 1, 10: 2, 11: 3, 12: 3, 13: 4, 14: 5, 15: 5, 80: 3}.get(self.version, 0)

    @property
    def field_times(self) -> bool:
        return self.version >= 12

    @property
    def newer_redis(self) -> int:
        """The header, of Redis' own line; 0 of Valkey's."""
        return self.version if self.line == "redis" else 0


ABILITIES: dict[str | None, Ability | None] = {
    None: None,
    "redis-2.6": Ability("redis", 6, modules=False),
    "redis-3.2": Ability("redis", 7, modules=False),
    "redis-4.0": Ability("redis", 8),
    "redis-6.2": Ability("redis", 9),
    "redis-7.0": Ability("redis", 10),
    "redis-7.2": Ability("redis", 11),
    "redis-7.4": Ability("redis", 12),
    "redis-8.6": Ability("redis", 13),
    "redis-8.8": Ability("redis", 14),
    "rdb-15": Ability("redis", 15),
    "valkey-8.1": Ability("valkey", 11),
    "valkey-9.1": Ability("valkey", 80),
    "elasticache-redis-7.1": Ability("redis", 10, modules=False),
    "elasticache-valkey-9.0": Ability("valkey", 80, modules=False),
    "memorydb-valkey-7.2": Ability("valkey", 11, modules=False, many_dbs=False),
}


@dataclass(frozen=True)
class Made:
    """An entry of a file that was made: what it says, and how it stands."""

    key: bytes
    form: Form
    stored_key: bytes
    attributes: bytes = b""
    expire_at_ms: int | None = None
    idle_s: int | None = None
    freq: int | None = None
    meta: bool = False

    @property
    def bytes(self) -> bytes:
        return record(self.form.number, b"", self.form.payload, attributes=self.attributes, key_bytes=self.stored_key)

    @property
    def type(self) -> str:
        kinds = {bytes: "string", list: "list", set: "set", Stream: "stream", ModuleValue: "module", Array: "array"}
        if isinstance(self.form.value, dict):
            return "zset" if self.form.number in (3, 5, 12, 17) else "hash"
        return kinds[type(self.form.value)]


# --- files --------------------------------------------------------------------------------------------------------

NINE_ZEROS = b"\x81" + bytes(8)
EMPTIES = [
    Form("empty-list", 1, b"\0", []), Form("empty-list-long", 1, NINE_ZEROS, []), Form("empty-set", 2, b"\0", set()),
    Form("empty-intset", 11, string(bytes(8)), set()), Form("empty-hash", 16, string(EMPTY_LISTPACK), Hash({})),
    Form("empty-times", 24, bytes(9), Hash({})), Form("empty-nodes", 18, b"\0", []),
]  # fmt: skip
LONG = [
    Form("string-nine", 0, b"\x81" + bytes(7) + b"\x03abc", b"abc"),
    Form("lzf-nine", 0, b"\xc3\x81" + bytes(7) + b"\x05" + b"\x14\x00a\xe0\x0a\x00", b"a" * 20),
    Form("set-nine", 2, b"\x81" + bytes(7) + b"\x02\x01x\x81" + bytes(7) + b"\x01y", {b"x", b"y"}),
    Form("quicklist-nine", 14, b"\x81" + bytes(7) + BY_NAME["list_quicklist"].payload, BY_NAME["list_quicklist"].value),
]  # fmt: skip
BARE = Stream([], 0, StreamId(5, 1), StreamId(0, 0), StreamId(0, 0), 0, {}, NOTHING)
UNOWNED = Group(StreamId(5, 1), -1, {StreamId(5, 1): Pending(None, 100, 2)}, {})
REMEMBERED = replace(BARE, idempotence=Idempotence(100, 100, {b"p": {b"1": StreamId(5, 1)}}, 1, 0))
STREAMS = [
    Form("stream-bare", 26, stream(4), BARE),
    Form("stream-unowned", 27, nacked(), replace(BARE, groups={b"g": UNOWNED})),
    Form("stream-remembered-4", 26, remembering(4), REMEMBERED),
    Form("stream-remembered-5", 27, remembering(5), REMEMBERED),
]
ALL_FORMS = {
    "redis": [form for form in FORMS if form.dialect.line == "redis"] + EMPTIES + LONG + STREAMS,
    "valkey": [form for form in FORMS if form.number < 22 or form.dialect.line == "valkey"],
}
# What some target cannot hold, or not whole.
CRITICAL = {line: [form for form in forms if form.number >= 22] for line, forms in ALL_FORMS.items()}
KEYS = {
    b"a": [string(b"a"), b"\x81" + bytes(7) + b"\x01a"],
    b"aa": [string(b"aa")],
    b"{a}b": [string(b"{a}b")],
    b"5": [string(b"5"), b"\xc0\x05"],
    b"k" * 70: [string(b"k" * 70), b"\x80\0\0\0\x46" + b"k" * 70],
}
EXPIRIES = {b"": None, expiry(AT): AT, expiry(5): 5, expiry_seconds(AT // 1_000): AT, expiry(-1): None}
HINTS = {b"": (None, None), idle(3): (3, None), freq(9): (None, 9)}


@st.composite
def entries(draw: Any, line: str, key: bytes) -> Made:
    form = draw(st.sampled_from(draw(st.sampled_from([ALL_FORMS, CRITICAL]))[line]))
    when, hint = draw(st.sampled_from([*EXPIRIES])), draw(st.sampled_from([*HINTS]))
    meta = line == "redis" and draw(st.integers(0, 5)) == 0
    attributes = (hint + when if draw(st.integers(0, 4)) == 0 else when + hint) + META * meta
    stored = draw(st.sampled_from(KEYS[key]))
    return Made(key, form, stored, attributes, EXPIRIES[when], *HINTS[hint], meta)


@st.composite
def sources(draw: Any) -> tuple[str, dict[int, list[Made]]]:
    """A line, and entries by db; no key is there twice."""
    line = draw(st.sampled_from(["redis", "redis", "valkey"]))
    keys = st.lists(st.sampled_from([*KEYS]), unique=True, max_size=4)
    return line, {db: [draw(entries(line, key)) for key in draw(keys)] for db in draw(st.sampled_from([[0], [0, 3]]))}


SOURCES = st.lists(sources(), min_size=1, max_size=3)
RULES = st.fixed_dictionaries(
    {
        "rules": ANY_RULES,
        "target": st.sampled_from([*ABILITIES]),
        "on_unsupported": st.sampled_from(Unsupported),
        "shards": st.sampled_from([None, None, 1, 2, 5]),
    }
)


def all_in_db_0(rules: dict[str, Any]) -> dict[str, Any]:
    """The same rules with another map of dbs: what holds db 0 only refuses others, see the tests of the planner."""
    sources = {name: {**own, "db_map": None} for name, own in rules.get("sources", {}).items()}
    return {**rules, "db_map": {3: 0}, "sources": sources}


def file_of(source: tuple[str, dict[int, list[Made]]]) -> bytes:
    line, dbs = source
    parts = [aux(b"ctime", b"%d" % SNAPSHOT_S), TEMPLATES if line == "redis" else b""]
    for db, rows in dbs.items():
        parts += [select(db), *(row.bytes for row in rows)]
    return rdb(80, *parts, magic=b"VALKEY080") if line == "valkey" else rdb(15, *parts)


# --- what has to come of them -------------------------------------------------------------------------------------

Held = tuple[str, Any, int | None, int | None, int | None]  # type, value, expiry, idle, frequency


@dataclass
class Expected:
    """What a merge has to hold; `error` where it has to be refused."""

    entries: dict[tuple[int, bytes], Held] = field(default_factory=dict)
    accounts: dict[tuple[int, int], Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    with_meta: int = 0
    error: str = ""


def expected(
    files: list[tuple[str, dict[int, list[Made]]]], rules: dict[str, Any], setting: dict[str, Any]
) -> Expected:
    told, ability = Expected(), ABILITIES[setting["target"]]
    survivors: dict[tuple[int, bytes], list[tuple[int, int, str, Made, Held]]] = defaultdict(list)
    refused = 0
    for number, (line, dbs) in enumerate(files):
        own = own_rules(rules, number)
        for db, rows in sorted(dbs.items()):
            for row in rows:
                account = told.accounts[number, db]
                account["read"] += 1
                reason, held = _judged(row, db, line, own, ability, setting["on_unsupported"])
                refused += reason == "rejected"
                if held is None:
                    account[reason] += 1
                    continue
                place = (own.get("db_map", {}).get(db, db), own.get("key_prefix", b"") + row.key)
                survivors[place].append((number, db, reason, row, held))
    foreign = set()
    for place, rivals in survivors.items():
        winner = _winner([held[2] for *_, held in rivals], rules["on_conflict"])
        for number_of_rival, (number, db, reason, row, held) in enumerate(rivals):
            account = told.accounts[number, db]
            if number_of_rival != winner:
                account["conflict_dropped"] += 1
                continue
            account["written"] += 1
            account["stripped"] += reason == "stripped"
            told.entries[place] = held
            told.with_meta += row.meta and (ability is None or ability.newer_redis >= 13)
            if row.meta or (row.form.number >= 22 and "template" not in row.form.name):
                foreign.add(files[number][0])
    if refused and setting["on_unsupported"] is Unsupported.FAIL:
        told.error = "cannot hold"
    elif ability is None and len(foreign) > 1:
        told.error = "no (file|cluster) can hold both"
    return told


def _judged(
    row: Made, db: int, line: str, rules: dict[str, Any], ability: Ability | None, policy: Unsupported
) -> tuple[str, Held | None]:
    """What becomes of an entry (conflicts apart), and how it is held then."""
    snapshot_ms = SNAPSHOT_S * 1_000 if rules.get("snapshot_at_ms") is None else rules["snapshot_at_ms"]
    dead_ms = snapshot_ms if rules.get("drop_expired", True) else None
    value = row.form.value
    if (
        (rules.get("dbs") is not None and db not in rules["dbs"])
        or (rules.get("types") is not None and row.type not in rules["types"])
        or (rules.get("include_keys") and len(row.key) != 1)
        or (rules.get("exclude_keys") and row.key == b"a")
        or (not value and isinstance(value, list | set | dict))
    ):
        return "filtered", None
    if isinstance(value, Hash) and dead_ms is not None:
        value = _without_dead(value, dead_ms)
    if dead_ms is not None and ((row.expire_at_ms is not None and row.expire_at_ms < dead_ms) or value == {}):
        return "expired", None
    fate = "kept" if ability is None else _fate(row, value, ability)
    if fate == "unfit" or (fate == "lossy" and policy is not Unsupported.STRIP):
        return "rejected", None
    offset_ms = rules.get("ttl_offset_ms", 0)
    if rules.get("ttl_freeze_until_ms") is not None:
        offset_ms += rules["ttl_freeze_until_ms"] - snapshot_ms
    value = _as_written(row, value, line, ability, offset_ms)
    at_ms = None if row.expire_at_ms is None else max(1, row.expire_at_ms + offset_ms)
    hints = (row.idle_s, row.freq) if ability is None or ability.version >= 9 else (None, None)
    return "stripped" if fate == "lossy" else "kept", (row.type, value, at_ms, *hints)


def _without_dead(value: Hash, dead_ms: int) -> Hash:
    alive = {name: text for name, text in value.items() if value.expire_at_ms.get(name, dead_ms) >= dead_ms}
    return Hash(alive, {name: at for name, at in value.expire_at_ms.items() if name in alive})


def _fate(row: Made, value: Any, ability: Ability) -> str:
    """`kept`, `lossy` or `unfit`."""
    if isinstance(value, Stream) and not ability.streams:
        return "unfit"
    if isinstance(value, ModuleValue) and not (ability.modules and ability.version >= 8):
        return "unfit"
    if isinstance(value, Array) and ability.newer_redis < 14:
        return "unfit"
    if row.meta and ability.newer_redis < 13:
        return "lossy"
    if isinstance(value, Hash) and value.expire_at_ms and not ability.field_times:
        return "lossy"
    if isinstance(value, Stream):
        unowned = any(one.consumer is None for group in value.groups.values() for one in group.pending.values())
        forgets = value.idempotence not in (None, NOTHING) and ability.streams < 4
        return "lossy" if forgets or (unowned and ability.streams < 5) else "kept"
    return "kept"


def _as_written(row: Made, value: Any, line: str, ability: Ability | None, offset_ms: int) -> Any:
    if isinstance(value, Stream) and ability is not None:
        return _older(value, PARTS[row.form.number], ability.streams)
    if isinstance(value, Hash):
        if ability is not None and not ability.field_times:
            return Hash(dict(value))
        latest_ms = LATEST_FIELD_MS if (line if ability is None else ability.line) == "redis" else 1 << 62
        times = {name: max(1, min(at + offset_ms, latest_ms)) for name, at in value.expire_at_ms.items()}
        return Hash(dict(value), times)
    return value


def _older(stream: Stream, has: int, knows: int) -> Stream:
    """The stream with the parts that both its form and the target have."""
    parts = min(has, knows)
    groups = {}
    for name, group in stream.groups.items():
        consumers = {
            who: replace(one, active_at_ms=one.active_at_ms if parts >= 3 else None)
            for who, one in group.consumers.items()
        }
        pending, unowned = dict(group.pending), [key for key, one in group.pending.items() if one.consumer is None]
        if unowned and parts < 5:
            consumers[NACK_OWNER] = Consumer(0, -1 if parts >= 3 else None, unowned)
            pending = {
                key: Pending(
                    one.consumer or (NACK_OWNER if one.consumer is None else b""), one.delivered_at_ms, one.deliveries
                )
                for key, one in pending.items()
            }
        read = group.entries_read if parts >= 2 else None
        groups[name] = replace(group, entries_read=read, pending=pending, consumers=consumers)
    if parts < 2:
        stream = replace(stream, first_id=None, max_deleted_id=None, entries_added=None)
    return replace(stream, groups=groups, idempotence=stream.idempotence if parts >= 4 else None)


def _winner(lives_ms: list[int | None], policy: Policy) -> int:
    if policy is Policy.LAST:
        return len(lives_ms) - 1
    if policy is Policy.LONGEST_TTL:
        lives = [float("inf") if at is None else at for at in lives_ms]
        return lives.index(max(lives))
    return 0


def held(path: Path) -> dict[tuple[int, bytes], Held]:
    """What a file holds, decoded."""
    from rows import contents

    data = path.read_bytes()
    walk, facts = Walk(memoryview(data)), contents(data)
    values, found = Values(walk.view, walk.dialect, walk.templates), {}
    for batch in walk:
        if isinstance(batch, Columns):
            for row in range(batch.rows):
                number, place = int(batch.type[row]), (batch.db, batch.key(walk.view, row))
                value = values.value(number, int(batch.value_start[row]), int(batch.end[row]))
                kind, one = walk.dialect.types[number].logical.name.lower(), facts[place]
                found[place] = (kind, value, one.expire_at_ms, one.idle_s, one.freq)
    return found


def newest_header(ability: Ability) -> set[str]:
    """The headers that a target reads."""
    own = {f"VALKEY{version:03}" for version in VALKEY_VERSIONS if ability.version >= version}
    newest = min(ability.version, 11) if ability.line == "valkey" else ability.version
    return own | {f"REDIS{version:04}" for version in range(6, newest + 1)}
