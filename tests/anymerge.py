"""Any small merge: files of every odd kind of entry and rules of every kind, for properties; and what it has to hold.

`expected` is the meaning of a merge in plain Python, entry by entry, with nothing of the planner or the emitter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st
from merging import NOW_MS
from rdbbytes import aux, expiry, expiry_seconds, freq, idle, length, pairs, rdb, record, select, string, strings
from rows import Found, contents

from rdbmerge.format.fields import read_fields
from rdbmerge.plan.model import KeyPattern, Policy

HOUR = 3_600_000
AT = 2_000_000_000_000
SNAPSHOT_S = 1_700_000_000
CTIME = aux(b"ctime", b"%d" % SNAPSHOT_S)
HASH = 22  # fields with expiries, absolute
LATEST_FIELD_MS = (1 << 48) - 1
NAMES_OF_TYPES = {0: "string", 1: "list", 2: "set", 4: "hash", 11: "set", HASH: "hash"}
EMPTY = {(1, b"\0"), (11, string(bytes(8)))}


def hash_of(key: bytes, *times: int) -> bytes:
    """A hash with a field a time; 0: never."""
    body = b"".join(length(at) + string(b"f%d" % n) + string(b"v") for n, at in enumerate(times))
    return record(HASH, key, length(len(times)) + body)


def key_glob(text: bytes) -> KeyPattern:
    return KeyPattern(kind="glob", text=text)


NAMES = st.sampled_from([b"a", b"b", b"aa", b"5", b"-1", b"p:5", b"long" * 20])
KEY_FORMS = {b"5": [b"\xc0\x05", b"\x015"], b"-1": [b"\xc0\xff", b"\xc1\xff\xff"]}
ATTRIBUTES = st.sampled_from(
    [b"", expiry(AT), expiry(5), expiry(-1), expiry_seconds(9), expiry(AT) + idle(3), freq(5), freq(5) + expiry(AT)]
)
VALUES = st.sampled_from(
    [(0, string(b"v")), (2, strings([b"x", b"y"])), (4, pairs({b"f": b"v"})), (1, length(0)), (11, string(bytes(8)))]
    + [(22, hash_of(b"", *times)[2:]) for times in ((AT,), (5,), (5, AT, 0), (0,))]
)
FILES = st.lists(
    st.lists(
        st.tuples(
            st.sampled_from([0, 3]), st.lists(st.tuples(NAMES, VALUES, ATTRIBUTES, st.integers(0, 1)), max_size=5)
        ),
        max_size=3,
    ),
    min_size=1,
    max_size=3,
)
OF_ONE_SOURCE = {
    "ttl_offset_ms": st.sampled_from([0, 1, HOUR, -HOUR, -(1 << 46)]),
    "ttl_freeze_until_ms": st.sampled_from([0, NOW_MS]),
    "snapshot_at_ms": st.sampled_from([0, 6, AT, AT + 1]),
    "drop_expired": st.booleans(),
    "db_map": st.sampled_from([{}, {0: 3}, {0: 3, 3: 0}, {3: 70}]),
    "dbs": st.sampled_from([None, [0], [3], []]),
    "types": st.sampled_from([None, ["string"], ["hash", "set"]]),
    "include_keys": st.sampled_from([[], [key_glob(b"?")]]),
    "exclude_keys": st.sampled_from([[], [key_glob(b"a")]]),
    "key_prefix": st.sampled_from([b"", b"p:", b"a"]),
}
OWN_RULES = st.fixed_dictionaries({}, optional=OF_ONE_SOURCE)
ANY_RULES = st.fixed_dictionaries(
    {"on_conflict": st.sampled_from([Policy.FIRST, Policy.LAST, Policy.LONGEST_TTL])},
    optional={
        **OF_ONE_SOURCE,
        "sources": st.dictionaries(st.sampled_from(["a.rdb", "b.rdb", "c.rdb"]), OWN_RULES, min_size=1),
    },
)


def for_files(rules: dict[str, Any], count: int) -> dict[str, Any]:
    """The rules without those of files that are not among the first `count`."""
    names = {f"{chr(ord('a') + number)}.rdb" for number in range(count)}
    return {**rules, "sources": {name: own for name, own in rules.get("sources", {}).items() if name in names}}


def own_rules(rules: dict[str, Any], number: int) -> dict[str, Any]:
    """What holds for one file: what is given for it, and not null, instead of what is given for all."""
    own = rules.get("sources", {}).get(f"{chr(ord('a') + number)}.rdb", {})
    return {**rules, **{name: value for name, value in own.items() if value is not None}}


def file_of(stretches: Any) -> bytes:
    """A file of stretches of a db; a key that a db has already is left away."""
    out, seen = [CTIME], set()
    for db, rows in stretches:
        out.append(select(db))
        for name, (kind, payload), attributes, form in rows:
            if (db, name) not in seen:
                seen.add((db, name))
                stored = KEY_FORMS[name][form] if name in KEY_FORMS else string(name)
                out.append(record(kind, b"", payload, key_bytes=stored, attributes=attributes))
    return rdb(12, *out)


Entry = tuple[int, int | None, Any, int | None, int | None]  # type, expiry, value, idle, frequency


def as_entry(found: Found) -> Entry:
    """An entry as it is compared: of a hash with field expiries the times of its fields, else the value's bytes."""
    value: Any = found.payload
    if found.type == HASH:
        held = read_fields(memoryview(found.payload), 13, 0, len(found.payload))
        value = [field.expire_at_ms for field in held]
    return found.type, found.expire_at_ms, value, found.idle_s, found.freq


def expected(datas: Sequence[bytes], rules: dict[str, Any]) -> dict[tuple[int, bytes], Entry]:
    """What a merge of these files under these rules has to hold."""
    merged: dict[tuple[int, bytes], Entry] = {}
    for number, data in enumerate(datas):
        own = own_rules(rules, number)
        for (db, key), found in sorted(contents(data).items(), key=lambda item: item[0][0]):
            entry = _survivor(db, key, found, own)
            if entry is None:
                continue
            place = (own.get("db_map", {}).get(db, db), own.get("key_prefix", b"") + key)
            if place not in merged or _beats(rules["on_conflict"], entry[1], merged[place][1]):
                merged[place] = entry
    return merged


def _survivor(db: int, key: bytes, found: Found, rules: dict[str, Any]) -> Entry | None:
    """The entry as it is written; None if the rules leave it out."""
    kind, at_ms, value, *hints = as_entry(found)
    snapshot_ms = SNAPSHOT_S * 1_000 if rules.get("snapshot_at_ms") is None else rules["snapshot_at_ms"]
    offset_ms = rules.get("ttl_offset_ms", 0)
    if rules.get("ttl_freeze_until_ms") is not None:
        offset_ms += rules["ttl_freeze_until_ms"] - snapshot_ms
    if (
        (rules.get("dbs") is not None and db not in rules["dbs"])
        or (rules.get("types") is not None and NAMES_OF_TYPES[kind] not in rules["types"])
        or (rules.get("include_keys") and len(key) != 1)
        or (rules.get("exclude_keys") and key == b"a")
        or (kind, found.payload) in EMPTY
    ):
        return None
    drop = rules.get("drop_expired", True)
    if drop and at_ms is not None and at_ms < snapshot_ms:
        return None
    if kind == HASH:
        alive = [at for at in value if not (drop and at is not None and at < snapshot_ms)]
        if not alive:
            return None
        value = [None if at is None else max(1, min(at + offset_ms, LATEST_FIELD_MS)) for at in alive]
    return kind, None if at_ms is None else max(1, at_ms + offset_ms), value, *hints


def _beats(policy: Policy, mine_ms: int | None, theirs_ms: int | None) -> bool:
    if policy is Policy.LONGEST_TTL:
        return theirs_ms is not None and (mine_ms is None or mine_ms > theirs_ms)
    return policy is Policy.LAST
