"""What rdbmerge decodes: payloads made by hand, and whole files as `truth.Truth` has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from truth import Truth, TruthEntry, score, short

from rdbmerge.format.columns import Columns
from rdbmerge.format.core import Templates
from rdbmerge.format.decode import Values
from rdbmerge.format.dialects import Dialect
from rdbmerge.format.logical import Array, Hash, ModuleValue, Stream
from rdbmerge.format.records import Function
from rdbmerge.format.scan import Walk

REDIS, VALKEY = Dialect("redis", 15), Dialect("valkey", 80)


def templates(**names: list[bytes]) -> Templates:
    """Hash templates by number: `templates(t7=[b"name"])`."""
    held = Templates()
    for number, fields in names.items():
        assert held.add(int(number[1:]), fields)
    return held


def value_of(number: int, payload: bytes, *, dialect: Dialect = REDIS, held: Templates | None = None) -> Any:
    """The value of type `number` whose whole payload is given. It stands between other bytes, to see who looks."""
    around = memoryview(b"\xffbefore" + payload + b"behind\xff" * 3)
    return Values(around, dialect, held).value(number, 7, 7 + len(payload))


def items_of(number: int, payload: bytes, *, dialect: Dialect = REDIS, held: Templates | None = None) -> list[Any]:
    """Its items."""
    return list(Values(memoryview(payload), dialect, held).items(number, 0, len(payload)))


def decoded(path: Path) -> Truth:
    """All entries of a file, decoded; function libraries too."""
    data = path.read_bytes()
    walk = Walk(memoryview(data))
    values = Values(walk.view, walk.dialect, walk.templates)
    truth = Truth()
    for item in walk:
        if isinstance(item, Columns):
            for row in range(item.rows):
                value = values.value(int(item.type[row]), int(item.value_start[row]), int(item.end[row]))
                at_ms = int(item.expire_at_ms[row])
                kind = walk.dialect.types[int(item.type[row])].logical.name.lower()
                key = short(item.key(walk.view, row))
                truth.entries[item.db, key] = TruthEntry(kind, as_truth(value), None if at_ms == -1 else at_ms)
        elif isinstance(item, Function):
            truth.functions[item.name.decode()] = ("LUA", short(item.code))
    return truth


def as_truth(value: Any) -> Any:
    """One decoded value."""
    if isinstance(value, bytes):
        return short(value)
    if isinstance(value, list):
        return [short(item) for item in value]
    if isinstance(value, set):
        return frozenset(map(short, value))
    if isinstance(value, dict):
        if any(isinstance(item, float) for item in value.values()):
            return {short(member): score(number) for member, number in value.items()}
        expiries = value.expire_at_ms if isinstance(value, Hash) else {}
        return {short(name): (short(text), expiries.get(name)) for name, text in value.items()}
    if isinstance(value, Stream):
        return _stream(value)
    if isinstance(value, Array):
        return {"items": {index: short(item) for index, item in value.items.items()}, "next": value.next_index}
    assert isinstance(value, ModuleValue)
    return None


def _stream(value: Stream) -> dict[str, Any]:
    told: dict[str, Any] = {
        "entries": [(str(one.id), [(short(name), short(text)) for name, text in one.fields]) for one in value.entries],
        "length": value.length,
        "last_id": str(value.last_id),
        "groups": {},
    }
    if value.entries_added is not None:
        told["entries_added"], told["max_deleted_id"] = value.entries_added, str(value.max_deleted_id)
    if value.idempotence is not None:
        memory = value.idempotence
        told["idmp"] = {
            "idmp-duration": memory.duration_s, "idmp-maxsize": memory.maxsize, "iids-added": memory.added,
            "iids-duplicates": memory.duplicates, "pids-tracked": len(memory.producers),
            "iids-tracked": sum(map(len, memory.producers.values())),
        }  # fmt: skip
    for name, group in value.groups.items():
        consumers: dict[bytes, dict[str, Any]] = {}
        for one, consumer in group.consumers.items():
            consumers[short(one)] = {"pending": len(consumer.pending), "seen_time": consumer.seen_at_ms}
            if consumer.active_at_ms is not None:
                consumers[short(one)]["active_time"] = consumer.active_at_ms
        facts: dict[str, Any] = {
            "last_id": str(group.last_id),
            "pel": {
                str(i): (short(one.consumer or b""), one.delivered_at_ms, one.deliveries)
                for i, one in group.pending.items()
            },
            "consumers": consumers,
        }
        if group.entries_read is not None:
            facts["entries_read"] = None if group.entries_read < 0 else group.entries_read
        told["groups"][short(name)] = facts
    return told
