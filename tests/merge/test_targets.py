"""What comes out for a target, byte by byte where that is simple, decoded where it is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from anytarget import NACK_OWNER, held
from blobbytes import consumer, group, listpack, stream
from forms import BY_NAME, MODULE
from merging import merged, merged_shards, saved
from rdbbytes import aux, entry, expiry, freq, idle, length, pairs, rdb, record, select, string, strings
from rows import contents
from unfit import LIBRARY, META, MODULE_DATA, of_form

from rdbmerge.errors import UsageError
from rdbmerge.format.logical import Hash, Stream, StreamId
from rdbmerge.plan.model import Plan, Unsupported
from rdbmerge.plan.sharding import even_slots

AT, HOUR, SNAPSHOT_MS = 2_000_000_000_000, 3_600_000, 1_700_000_000_000
CTIME = aux(b"ctime", b"1700000000")
SKIP, STRIP = {"on_unsupported": Unsupported.SKIP}, {"on_unsupported": Unsupported.STRIP}


def fitted(folder: Path, *files: bytes, **rules: Any) -> tuple[Plan, Path]:
    output = folder / "out.rdb"
    output.unlink(missing_ok=True)
    return merged(saved(folder, *files), output, **rules), output


def only_value(folder: Path, *files: bytes, **rules: Any) -> Any:
    """The value of the only key, decoded."""
    ((_, value, *_),) = held(fitted(folder, *files, **rules)[1]).values()
    return value


# --- attributes of keys -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stem", ["lru", "lfu"])
def test_hints_are_dropped_below_5_to_the_byte(golden: Path, tmp_path: Path, stem: str) -> None:
    """The bytes of the file without streams, less those of each key's hint."""
    rules: dict[str, Any] = {**SKIP, "types": ["string", "list", "set", "zset", "hash"], "drop_expired": False}
    source = (golden / "5.0.14" / f"{stem}.rdb").read_bytes()
    kept, output = fitted(tmp_path, source, target="redis-5.0", **rules)
    before = contents(output.read_bytes())
    dropped, output = fitted(tmp_path, source, target="redis-4.0", **rules)
    after = contents(output.read_bytes())
    hints = [
        2 if one.freq is not None else 1 + len(length(one.idle_s)) for one in before.values() if one.idle_s != one.freq
    ]
    assert len(hints) == len(before) > 50
    assert kept.output_bytes - dropped.output_bytes == sum(hints)
    assert {place: (one.type, one.payload, one.expire_at_ms, None, None) for place, one in before.items()} == {
        place: (one.type, one.payload, one.expire_at_ms, one.idle_s, one.freq) for place, one in after.items()
    }
    assert dropped.magic == "REDIS0008"
    assert sum(run.hints_dropped for run in dropped.sources[0].runs) == len(hints)


@pytest.mark.parametrize("hint", [idle(5), idle(100_000), freq(255)])
@pytest.mark.parametrize("when", [b"", expiry(AT)])
@pytest.mark.parametrize("form", ["string", "list_quicklist_2", "hash_listpack"])
def test_nothing_but_the_hint_goes(tmp_path: Path, hint: bytes, when: bytes, form: str) -> None:
    bare = record(BY_NAME[form].number, b"k", BY_NAME[form].payload, attributes=when)
    for order in (when + hint, hint + when):
        hinted = record(BY_NAME[form].number, b"k", BY_NAME[form].payload, attributes=order)
        outputs = []
        for one in (bare, hinted):
            _, output = fitted(tmp_path, rdb(12, select(0), one), target="redis-4.0", key_prefix=b"p:")
            outputs.append(output.read_bytes())
        assert outputs[0] == outputs[1]


def test_key_metadata_is_stripped_and_nothing_else(tmp_path: Path) -> None:
    with_meta = record(0, b"k", string(b"v"), attributes=expiry(AT) + idle(5) + META)
    for target, attributes in (("redis-8.4", expiry(AT) + idle(5)), ("redis-8.6", expiry(AT) + idle(5) + META),
                               ("redis-4.0", expiry(AT))):  # fmt: skip
        _, output = fitted(tmp_path, rdb(13, select(0), with_meta), target=target, **STRIP)
        assert record(0, b"k", string(b"v"), attributes=attributes) in output.read_bytes()
        assert (META in output.read_bytes()) == (target == "redis-8.6")


# --- lengths ------------------------------------------------------------------------------------------------------


def nine(number: int) -> bytes:
    """A length in nine bytes, however small."""
    return b"\x81" + number.to_bytes(8, "big")


LONG_LENGTHS = {
    "key": (record(0, b"", string(b"v"), key_bytes=nine(1) + b"k"), entry(b"k")),
    "string": (record(0, b"k", nine(3) + b"abc"), entry(b"k", b"abc")),
    "lzf-packed": (record(0, b"k", b"\xc3" + nine(5) + b"\x14\x00a\xe0\x0a\x00"), entry(b"k", b"a" * 20)),
    "lzf-unpacked": (record(0, b"k", b"\xc3\x05" + nine(20) + b"\x00a\xe0\x0a\x00"), entry(b"k", b"a" * 20)),
    "count": (record(2, b"k", nine(1) + string(b"x")), record(2, b"k", strings([b"x"]))),
    "member": (record(1, b"k", b"\x02\x01x" + nine(1) + b"y"), record(1, b"k", strings([b"x", b"y"]))),
    "field": (record(4, b"k", b"\x01" + nine(1) + b"f\x01v"), record(4, b"k", pairs({b"f": b"v"}))),
    "score": (record(3, b"k", nine(1) + b"\x01m\x031.5"), record(3, b"k", b"\x01\x01m\x031.5")),
    "blob": (record(13, b"k", nine(len(BY_NAME["hash_ziplist"].inside)) + BY_NAME["hash_ziplist"].inside),
             record(4, b"k", b"\x02\x01f\xc1\x2c\x01\x01g\x00")),
}  # fmt: skip


@pytest.mark.parametrize(("stands", "expected"), LONG_LENGTHS.values(), ids=LONG_LENGTHS)
@pytest.mark.parametrize("target", ["redis-2.6", "redis-3.2"])
def test_lengths_of_64_bits_are_written_anew_for_who_cannot_read_them(
    tmp_path: Path, stands: bytes, expected: bytes, target: str
) -> None:
    plan, output = fitted(tmp_path, rdb(9, select(0), stands, entry(b"z")), target=target)
    assert expected + entry(b"z") + b"\xff" in output.read_bytes()
    assert plan.sources[0].runs[0].recoded == 1


@pytest.mark.parametrize("stands", [one for one, _ in LONG_LENGTHS.values()], ids=LONG_LENGTHS)
def test_who_can_read_them_gets_them_as_they_stand(tmp_path: Path, stands: bytes) -> None:
    _, output = fitted(tmp_path, rdb(9, select(0), stands), target="redis-4.0")
    assert stands in output.read_bytes()


def test_with_a_prefix_the_key_is_written_anew_too(tmp_path: Path) -> None:
    stands = record(0, b"", string(b"v"), key_bytes=nine(1) + b"k", attributes=expiry(AT))
    _, output = fitted(tmp_path, rdb(9, select(0), stands), target="redis-3.2", key_prefix=b"p:", ttl_offset_ms=5)
    assert record(0, b"p:k", string(b"v"), attributes=expiry(AT + 5)) in output.read_bytes()


# --- hash templates -----------------------------------------------------------------------------------------------


def template(number: int, *names: bytes) -> bytes:
    return b"\xf2" + length(number) + length(len(names)) + b"".join(map(string, names))


ONE = rdb(15, CTIME, template(1, b"a", b"b"), template(2, b"x"), select(0),
          record(30, b"packed", string(listpack(1, b"1", b"two"))),
          record(32, b"strings", length(2) + string(b"v"), attributes=expiry(AT)))  # fmt: skip
TWO = rdb(15, CTIME, template(1, b"name", b"other"), select(0),
          record(32, b"mine", length(1) + string(b"n") + b"\xc0\x05"),
          record(30, b"packed too", string(listpack(1, b"p", 7))), template(2, b"y", b"z"),
          record(32, b"late", length(2) + string(b"") + string(b"w")))  # fmt: skip
EXPANDED = {
    b"packed": {b"a": b"1", b"b": b"two"}, b"strings": {b"x": b"v"}, b"mine": {b"name": b"n", b"other": b"5"},
    b"packed too": {b"name": b"p", b"other": b"7"}, b"late": {b"y": b"", b"z": b"w"},
}  # fmt: skip


@pytest.mark.parametrize("target", [None, "redis-2.6", "redis-7.4", "redis-8.10", "valkey-9.1", "rdb-15"])
def test_templates_of_sources_whose_ids_collide_are_expanded(tmp_path: Path, target: str | None) -> None:
    plan, output = fitted(tmp_path, ONE, TWO, target=target)
    found = contents(output.read_bytes())
    assert {one.type for one in found.values()} == {4}
    assert {key: value for (_, key), (_, value, *_) in held(output).items()} == EXPANDED
    assert found[0, b"strings"].expire_at_ms == AT
    assert plan.magic == "REDIS0006"
    assert [run.recoded for source in plan.sources for run in source.runs] == [2, 3]
    assert b"\xf2" not in output.read_bytes()


def test_templates_are_expanded_in_shards_and_behind_a_prefix(tmp_path: Path) -> None:
    made = merged_shards(saved(tmp_path, ONE, TWO), tmp_path / "out.rdb", even_slots(3), key_prefix=b"p:")
    found = {key: value for path, _ in made for (_, key), (_, value, *_) in held(path).items()}
    assert found == {b"p:" + key: value for key, value in EXPANDED.items()}


def test_an_index_from_before_knows_the_templates(tmp_path: Path) -> None:
    """The second merge does not scan: what the first one found is beside the file."""
    for _ in range(2):
        assert len(held(fitted(tmp_path, ONE, TWO)[1])) == 5
    assert (tmp_path / "a.rdb.index").exists()


# --- one line for the other ---------------------------------------------------------------------------------------


def valkey_hash(*fields: tuple[bytes, bytes, int]) -> bytes:
    """22 of Valkey; -1: never."""
    return length(len(fields)) + b"".join(
        string(f) + string(v) + at.to_bytes(8, "little", signed=True) for f, v, at in fields
    )


def redis_hash(first_ms: int, *fields: tuple[int, bytes, bytes]) -> bytes:
    """24 of Redis: times count from the first, plus 1; 0: never."""
    return first_ms.to_bytes(8, "little") + length(len(fields)) + b"".join(
        length(ttl) + string(f) + string(v) for ttl, f, v in fields
    )  # fmt: skip


FIELDS = (b"f", b"1", AT), (b"g", b"2", -1), (b"h", b"3", AT + 70)
VALKEY = rdb(80, CTIME, select(0), record(22, b"v", valkey_hash(*FIELDS)), magic=b"VALKEY080")
REDIS = rdb(12, CTIME, select(0), record(24, b"r", redis_hash(AT, (1, b"f", b"1"), (0, b"g", b"2"), (71, b"h", b"3"))),
            record(25, b"p", AT.to_bytes(8, "little") + string(listpack(b"f", b"1", AT, b"g", b"2", 0))))  # fmt: skip


def test_valkeys_times_come_out_as_redis_has_them(tmp_path: Path) -> None:
    plan, output = fitted(tmp_path, VALKEY, target="redis-7.4", ttl_offset_ms=HOUR)
    payload = redis_hash(AT + HOUR, (1, b"f", b"1"), (0, b"g", b"2"), (71, b"h", b"3"))
    assert record(24, b"v", payload) in output.read_bytes()
    assert plan.magic == "REDIS0012"


def test_redis_times_come_out_as_valkey_has_them(tmp_path: Path) -> None:
    plan, output = fitted(tmp_path, REDIS, target="valkey-9.1", ttl_offset_ms=-HOUR)
    payload = valkey_hash((b"f", b"1", AT - HOUR), (b"g", b"2", -1), (b"h", b"3", AT + 70 - HOUR))
    assert record(22, b"r", payload) in output.read_bytes()
    assert record(22, b"p", valkey_hash((b"f", b"1", AT - HOUR), (b"g", b"2", -1))) in output.read_bytes()
    assert plan.magic == "VALKEY080"


@pytest.mark.parametrize("offset_ms", [0, HOUR, -HOUR, AT])
def test_there_and_back_is_where_it_was(tmp_path: Path, offset_ms: int) -> None:
    for source, there, back in ((VALKEY, "redis-7.4", "valkey-9.1"), (REDIS, "valkey-9.1", "redis-8.2")):
        _, output = fitted(tmp_path, source, target=there, ttl_offset_ms=offset_ms)
        again = output.read_bytes()
        _, output = fitted(tmp_path, again, target=back, ttl_offset_ms=-offset_ms, drop_expired=False)
        home = held(output)
        assert home == held(saved(tmp_path, source)[0])


def test_sources_of_both_lines_are_one_for_either_target(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no file can hold both") as refused:
        fitted(tmp_path, REDIS, VALKEY)
    assert "--target" in refused.value.remedy
    found = [held(fitted(tmp_path, REDIS, VALKEY, target=target)[1]) for target in ("redis-7.4", "valkey-9.0")]
    assert found[0] == found[1]
    assert len(found[0]) == 3


def test_shards_of_both_lines_are_refused_too(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no cluster can hold both"):
        merged_shards(saved(tmp_path, REDIS, VALKEY), tmp_path / "out.rdb", even_slots(500))


def test_times_beyond_what_redis_reads_are_the_farthest_that_it_does(tmp_path: Path) -> None:
    far = rdb(80, CTIME, select(0), record(22, b"k", valkey_hash((b"f", b"v", 1 << 55))), magic=b"VALKEY080")
    value = only_value(tmp_path, far, target="redis-7.4")
    assert value == Hash({b"f": b"v"}, {b"f": (1 << 48) - 1})


# --- what is stripped ---------------------------------------------------------------------------------------------


def hash_with(*times: int) -> bytes:
    fields = [(at, b"f%d" % n, b"v") for n, at in enumerate(times)]
    return record(22, b"k", length(len(fields)) + b"".join(length(at) + string(f) + string(v) for at, f, v in fields))


def test_strip_keeps_fields_for_ever_but_not_the_dead(tmp_path: Path) -> None:
    one = rdb(12, CTIME, select(0), hash_with(AT, 5, 0, SNAPSHOT_MS, SNAPSHOT_MS - 1))
    assert only_value(tmp_path, one, target="redis-6.2", **STRIP) == {b"f0": b"v", b"f2": b"v", b"f3": b"v"}
    plan, output = fitted(tmp_path, one, target="redis-6.2", **STRIP)
    assert contents(output.read_bytes())[0, b"k"].type == 4
    assert plan.sources[0].runs[0].fields_expired == 2


def test_a_hash_all_of_whose_timed_fields_are_dead_loses_nothing(tmp_path: Path) -> None:
    plan, output = fitted(tmp_path, rdb(12, CTIME, select(0), hash_with(5, 0)), target="redis-6.2")
    assert held(output)[0, b"k"][1] == {b"f1": b"v"}
    assert plan.ledger().total().stripped == 0


def test_a_hash_all_of_whose_fields_are_dead_is_dead_and_not_stripped(tmp_path: Path) -> None:
    plan, _ = fitted(tmp_path, rdb(12, CTIME, select(0), hash_with(5, 6)), target="redis-6.2", **STRIP)
    total = plan.ledger().total()
    assert (total.expired, total.stripped, total.rejected, total.written) == (1, 0, 0, 0)


def test_pending_entries_without_an_owner_get_one_that_is_free(tmp_path: Path) -> None:
    """Redis 8.8 lets consumers give entries back; an older server needs to find them with somebody."""
    readers = group(
        5, b"g", pending=[((5, 1), 100, 2), ((5, 2), 200, 1)],
        consumers=[consumer(5, NACK_OWNER, (5, 2))], nacked=[(5, 1)],
    )  # fmt: skip
    source = rdb(14, select(0), record(27, b"k", stream(5, last_id=(5, 2), groups=[readers])))
    for target, active in (("redis-8.6", -1), ("redis-7.2", -1), ("redis-7.0", None), ("redis-5.0", None)):
        value = only_value(tmp_path, source, target=target, **STRIP)
        assert isinstance(value, Stream)
        found = value.groups[b"g"]
        assert {one: pending.consumer for one, pending in found.pending.items()} == {
            StreamId(5, 1): NACK_OWNER + b":2",
            StreamId(5, 2): NACK_OWNER,
        }
        owner = found.consumers[NACK_OWNER + b":2"]
        assert (owner.seen_at_ms, owner.active_at_ms, owner.pending) == (0, active, [StreamId(5, 1)])


def test_what_the_target_loads_stays_to_the_byte(tmp_path: Path) -> None:
    names = ["string-lzf", "list_ziplist", "set_intset-2", "zset_ziplist", "hash_zipmap", "zset_2", "list_quicklist",
             "stream-1", "module_2"]  # fmt: skip
    entries = [of_form(name) for name in names]
    plan, output = fitted(tmp_path, rdb(14, select(0), *entries, of_form("hash_listpack")), target="redis-6.2")
    assert b"".join(entries) in output.read_bytes()
    assert plan.sources[0].runs[0].recoded == 1
    assert MODULE in output.read_bytes()


def test_functions_and_module_data_stay_where_they_are_known(tmp_path: Path) -> None:
    source = rdb(10, MODULE_DATA, LIBRARY, select(0), entry(b"k"))
    kept = {
        "redis-7.0": (True, True), "redis-6.2": (False, True), "redis-4.0": (False, False),
        "elasticache-redis-7.0": (True, False), "elasticache-serverless": (False, False),
    }  # fmt: skip
    for target, library_and_data in kept.items():
        _, output = fitted(tmp_path, source, target=target, **SKIP)
        written = output.read_bytes()
        assert (LIBRARY in written, MODULE_DATA in written) == library_and_data, target


def test_the_header_is_the_lowest_that_holds_what_is_written(tmp_path: Path) -> None:
    """That of the target is its limit and no aim."""
    one = rdb(12, select(0), of_form("list_quicklist_2"), of_form("zset_listpack"))
    headers = {
        "redis-2.6": "REDIS0006", "redis-3.2": "REDIS0006", "redis-4.0": "REDIS0008", "redis-6.2": "REDIS0008",
        "redis-7.0": "REDIS0010", "redis-8.8": "REDIS0010", "valkey-9.1": "REDIS0010",
    }  # fmt: skip
    assert {target: fitted(tmp_path, one, target=target)[0].magic for target in headers} == headers
