"""Values made anew by commands: what real servers make of them is what the file holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rdbbytes import length, rdb, record, select, string, strings
from realservers import ServerBinary, each_server, need, running
from rows import only_batch
from truth import Truth, TruthEntry, entry_diff, read_live, read_truth, short

import rdbmerge
from rdbmerge.format.columns import Columns
from rdbmerge.format.decode import Values
from rdbmerge.format.emit import Change
from rdbmerge.format.rebuild import MOST_ITEMS, Vocabulary, has_commands, rebuild
from rdbmerge.format.values import Logical
from rdbmerge.snapshot.segment import Segment

GOLDEN = Path(__file__).parents[2] / "fixtures" / "rdb"
AT = 2_000_000_000_000
HOUR = 3_600_000
OLDEST = Vocabulary(several_fields=False, field_expiries=False, stream_counters=False, consumers=False)


def commands(data: bytes, *, words: Vocabulary = Vocabulary(), **change: Any) -> list[tuple[bytes, ...]]:  # noqa: B008
    view, batch, dialect = only_batch(data)
    number, start, end = (int(column[0]) for column in (batch.type, batch.value_start, batch.end))
    values = Values(view, dialect)
    return list(rebuild(values, number, start, end, key=b"new", change=Change(dialect=dialect, **change), words=words))


def one(number: int, payload: bytes) -> bytes:
    return rdb(13, select(0), record(number, b"k", payload))


def test_items_come_in_portions_of_a_thousand_at_most_and_in_order() -> None:
    items = [b"%d" % number for number in range(2 * MOST_ITEMS + 5)]
    made = commands(one(1, strings(items)))
    assert [command[:2] for command in made] == [(b"RPUSH", b"new")] * 3
    assert [len(command) - 2 for command in made] == [MOST_ITEMS, MOST_ITEMS, 5]
    assert [item for command in made for item in command[2:]] == items


def test_portions_are_small_where_items_are_large() -> None:
    made = commands(one(2, strings([bytes([n]) * 600_000 for n in range(4)])))
    assert [len(command) - 2 for command in made] == [2, 2]


def test_a_string_grows_by_pieces() -> None:
    text = bytes(range(256)) * 70_000
    made = commands(one(0, string(text)))
    assert {command[:2] for command in made} == {(b"APPEND", b"new")}
    assert len(made) == 3
    assert b"".join(command[2] for command in made) == text


def test_fields_get_their_expiries_and_dead_ones_stay_out() -> None:
    payload = (AT - 10).to_bytes(8, "little") + length(3)
    payload += b"\x01" + string(b"dead") + string(b"v")
    payload += b"\x0b" + string(b"f") + string(b"v")
    payload += b"\x00" + string(b"g") + string(b"w")
    made = commands(one(24, payload), ttl_offset_ms=HOUR, fields_dead_before_ms=AT)
    assert made == [
        (b"HSET", b"new", b"f", b"v", b"g", b"w"),
        (b"HPEXPIREAT", b"new", b"%d" % (AT + HOUR), b"FIELDS", b"1", b"f"),
    ]
    (alone,) = commands(one(24, payload), fields_dead_before_ms=AT, words=OLDEST)
    assert alone == (b"HMSET", b"new", b"f", b"v", b"g", b"w")


def test_only_what_has_commands_is_made_anew() -> None:
    assert [has_commands(logical, 0x05) for logical in Logical] == [True] * 6 + [False] * 2
    assert not has_commands(Logical.STRING, 0xC3)
    assert has_commands(Logical.LIST, 0xC3)


def _words(binary: ServerBinary) -> Vocabulary:
    spoken = (7, 2) if binary.flavour == "valkey" else binary.version
    fields = binary.version >= ((9,) if binary.flavour == "valkey" else (7, 4))
    return Vocabulary(
        several_fields=spoken >= (4,), field_expiries=fields, stream_counters=spoken >= (7,), consumers=spoken >= (6, 2)
    )


FILES = {"redis-2.8": "2.8.24", "redis-5.0": "5.0.14", "redis-6.2": "6.2.16", "redis-7.0": "7.0.15",
         "redis-8.2": "8.2.3", "valkey-9.1": "valkey-9.1.2"}  # fmt: skip


@each_server(lambda binary: binary.name in FILES)
def test_what_a_server_makes_of_the_commands_is_what_the_file_holds(binary: ServerBinary) -> None:
    path = GOLDEN / FILES[binary.name] / "all_types.rdb"
    expected = read_truth(path.with_name("all_types.truth.jsonl.gz"))
    made = 0
    with running(binary) as server, Segment(path) as segment, server.client(raw=True) as client:
        change, compared = Change(dialect=segment.dialect), Truth()
        values = Values(segment.view, segment.dialect)
        for batch in segment.walk():
            if not isinstance(batch, Columns) or batch.db:
                continue
            for row in range(batch.rows):
                key, number = batch.key(segment.view, row), int(batch.type[row])
                start, end = int(batch.value_start[row]), int(batch.end[row])
                logical = segment.dialect.types[number].logical
                if not has_commands(logical, segment.view[start]):
                    continue
                pipeline = client.pipeline(transaction=False)
                for words in rebuild(values, number, start, end, key=key, change=change, words=_words(binary)):
                    pipeline.execute_command(*words)
                assert not [one for one in pipeline.execute(raise_on_error=False) if isinstance(one, Exception)]
                compared.entries[0, short(key)] = expected.entries[0, short(key)]
                made += 1
        live = read_live(server, dbs=[0], functions=False)
    differences = [
        f"{key!r}: {line}"
        for key, entry in compared.entries.items()
        for line in entry_diff(_as_made(entry), _as_made(live.entries[key]))
    ]
    assert not differences, "\n".join(differences[:10])
    assert made > 100


def _as_made(entry: TruthEntry) -> TruthEntry:
    """Without what commands cannot say, and without the key's expiry, which is the caller's."""
    value = entry.value
    if entry.type == "stream":
        value = {name: part for name, part in value.items() if name != "groups"}
        there = {one for one, _ in entry.value["entries"]}
        value["groups"] = {name: _group(group, there) for name, group in entry.value["groups"].items()}
        value.pop("idmp", None)
    return TruthEntry(entry.type, value)


def _group(group: dict[str, Any], there: set[str]) -> dict[str, Any]:
    """Pending entries that are in the stream, and the consumers that have some."""
    pending = {one: told for one, told in group["pel"].items() if one in there}
    owners = [owner for owner, _, _ in pending.values()]
    return {**group, "pel": pending, "consumers": {name: {"pending": owners.count(name)} for name in owners}}


def test_a_stream_that_is_empty_keeps_its_last_id_and_its_groups() -> None:
    with running(need("redis-7.0")) as server, server.client(raw=True) as client:
        client.execute_command("XADD", "s", "5-1", "f", "v")
        client.execute_command("XGROUP", "CREATE", "s", "g", "5-1")
        client.execute_command("XDEL", "s", "5-1")
        with rdbmerge.open(server.save()) as file:
            (entry,) = file
            view, dialect = file._segment.view, file.dialect
            (batch,) = (item for item in file._segment.walk() if isinstance(item, Columns))
            number, start, end = int(batch.type[0]), int(batch.value_start[0]), int(batch.end[0])
            made = list(
                rebuild(Values(view, dialect), number, start, end, key=b"new", change=Change(dialect=dialect),
                        words=Vocabulary())
            )  # fmt: skip
            assert entry.key == b"s"
        for words in made:
            client.execute_command(*words)
        one, two = (client.execute_command("XINFO", "STREAM", key, "FULL") for key in ("s", "new"))
        assert one[one.index(b"last-generated-id") + 1] == two[two.index(b"last-generated-id") + 1] == b"5-1"
        assert two[two.index(b"length") + 1] == 0
        assert len(two[two.index(b"groups") + 1]) == 1
