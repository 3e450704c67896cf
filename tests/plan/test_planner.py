"""The numbers of a plan are exact, however they were come by, and its ledger closes."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from anymerge import ANY_RULES, AT, CTIME, FILES, HOUR, SNAPSHOT_S, file_of, for_files, hash_of, key_glob
from hypothesis import HealthCheck, given, settings
from merging import NOW_MS, check_output, merged, opened, saved
from rdbbytes import (
    aux,
    entry,
    expiry_seconds,
    function,
    idle,
    length,
    pairs,
    rdb,
    record,
    select,
    string,
    strings,
)
from rows import contents
from truth import expected_merge, read_truth, short

from rdbmerge.errors import LedgerError, UsageError
from rdbmerge.plan import counting
from rdbmerge.plan.model import KeyPattern, Plan, Policy, Rules, Unsupported
from rdbmerge.plan.planner import make_plan
from rdbmerge.snapshot.manifest import Manifest, Pulled, write_manifest

FIXTURES = Path(__file__).parents[2] / "fixtures" / "rdb"


ONE = rdb(
    12, CTIME, function(b"#!lua name=lib\n1"), select(0), entry(b"a", expire_at_ms=AT), entry(b"b"),
    entry(b"dead", expire_at_ms=5), record(2, b"set", strings([b"x"])), record(1, b"none", length(0)),
    select(5), hash_of(b"h", AT, 5, 0), hash_of(b"gone", 5),
    record(0, b"", string(b"v"), key_bytes=b"\xc0\x05", attributes=expiry_seconds(AT // 1000)),
)  # fmt: skip
TWO = rdb(
    9,
    CTIME,
    select(0),
    entry(b"b", b"other"),
    record(4, b"idle", pairs({b"f": b"v"}), attributes=idle(4)),
    select(9),
    entry(b"c"),
)


RULES: list[dict[str, Any]] = [
    {},
    {"ttl_offset_ms": 3 * HOUR},
    {"ttl_offset_ms": -(1 << 46)},
    {"ttl_freeze_until_ms": NOW_MS, "ttl_offset_ms": 7},
    {"drop_expired": False},
    {"drop_expired": False, "ttl_offset_ms": 1},
    {"snapshot_at_ms": 0},
    {"snapshot_at_ms": AT + 1},
    {"on_conflict": Policy.LAST},
    {"on_conflict": Policy.LONGEST_TTL},
    {"db_map": {5: 0, 9: 0, 0: 63}},
    {"dbs": [0]},
    {"dbs": [77]},
    {"types": ["hash"]},
    {"types": ["string"], "ttl_offset_ms": 5},
    {"include_keys": [key_glob(b"?")]},
    {"exclude_keys": [key_glob(b"*")]},
    {"key_prefix": b"p:"},
    {"target": "redis-2.6", "on_unsupported": Unsupported.STRIP},
    {"target": "redis-5.0", "on_unsupported": Unsupported.SKIP, "ttl_offset_ms": HOUR},
    {"target": "redis-7.4"},
    {"target": "valkey-9.1", "ttl_offset_ms": -HOUR},
    {"key_prefix": b"p" * 70, "ttl_offset_ms": HOUR, "on_conflict": Policy.LAST, "db_map": {5: 16384}},
]


@pytest.mark.parametrize("rules", RULES, ids=lambda rules: json.dumps(rules, default=str)[:60])
def test_the_numbers_of_the_index_are_those_of_reading(
    tmp_path: Path, rules: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path, ONE, TWO) as merge:
        quick = merge.plan(**{"on_conflict": Policy.FIRST, **rules})
        monkeypatch.setattr(counting, "is_plain", lambda _: False)
        assert merge.plan(**{"on_conflict": Policy.FIRST, **rules}) == quick


@pytest.mark.parametrize("rules", RULES, ids=lambda rules: json.dumps(rules, default=str)[:60])
def test_what_is_written_is_what_was_planned(tmp_path: Path, rules: dict[str, Any]) -> None:
    plan = merged(saved(tmp_path, ONE, TWO), tmp_path / "out.rdb", **{"on_conflict": Policy.FIRST, **rules})
    assert plan.ledger().total().difference == 0
    assert plan.ledger().total().read == 11
    assert plan.created_at_ms == NOW_MS


def test_the_numbers_of_a_small_merge_by_hand(tmp_path: Path) -> None:
    with opened(tmp_path, ONE, TWO) as merge:
        plan = merge.plan(on_conflict=Policy.LAST, ttl_offset_ms=HOUR, db_map={5: 9})
    lines = {(line.source, line.db): line for line in plan.ledger().lines}
    told = {
        place: (line.target_db, line.read, line.written, line.expired, line.filtered, line.conflict_dropped)
        for place, line in lines.items()
    }
    assert told == {
        ("a.rdb", 0): (0, 5, 2, 1, 1, 1),
        ("a.rdb", 5): (9, 3, 2, 1, 0, 0),
        ("b.rdb", 0): (0, 2, 2, 0, 0, 0),
        ("b.rdb", 9): (9, 1, 1, 0, 0, 0),
    }
    assert [(db.db, db.keys, db.expires) for db in plan.dbs] == [(0, 4, 1), (9, 3, 1)]
    assert plan.sources[0].runs[1].fields_expired == 1
    assert (plan.magic, plan.conflicts, plan.keys) == ("REDIS0012", 1, 7)
    assert plan.sources[0].snapshot_at_ms == SNAPSHOT_S * 1_000
    assert plan.sources[0].ttl_offset_ms == HOUR
    assert plan.warnings == ["a.rdb: 1 empty collection left out (booked as filtered); no server keeps them"]


def test_a_freeze_gives_each_source_the_offset_of_its_own_snapshot(tmp_path: Path) -> None:
    early, late = (
        rdb(9, aux(b"ctime", b"%d" % at_s), select(db), entry(b"k", expire_at_ms=AT))
        for db, at_s in ((0, 1_000), (1, 5_000))
    )
    with opened(tmp_path, early, late) as merge:
        plan = merge.plan(ttl_freeze_until_ms=9_000_000, ttl_offset_ms=50)
    assert [source.ttl_offset_ms for source in plan.sources] == [8_000_050, 4_000_050]
    with opened(tmp_path, early, late) as merge:
        same = merge.plan(ttl_freeze_until_ms=9_000_000, snapshot_at_ms=9_000_000)
    assert [source.ttl_offset_ms for source in same.sources] == [0, 0]


def test_a_plan_survives_json(tmp_path: Path) -> None:
    with opened(tmp_path, ONE, TWO) as merge:
        plan = merge.plan(
            on_conflict=Policy.LAST,
            key_prefix=b"\xff\x00:",
            include_keys=[key_glob(b"\xfe*"), KeyPattern(kind="re", text=b".")],
        )
    again = Plan.model_validate_json(plan.model_dump_json())
    assert again == plan
    assert again.rules.key_prefix == b"\xff\x00:"


def test_the_same_inputs_make_the_same_plan_whoever_counts(tmp_path: Path) -> None:
    with opened(tmp_path, ONE, TWO) as merge, ThreadPoolExecutor(4) as pool:
        plans = [merge.plan(on_conflict=Policy.LAST) for _ in range(2)]
        rules = Rules(on_conflict=Policy.LAST)
        plans.append(make_plan(merge.segments, merge.indexes, rules, now_ms=NOW_MS, run=pool.map))
    assert plans[0] == plans[1] == plans[2]


def test_the_order_of_sources_without_conflict_does_not_matter(tmp_path: Path) -> None:
    files = [rdb(9, CTIME, select(n % 2), entry(b"k%d" % n, expire_at_ms=AT), entry(b"l%d" % n)) for n in range(4)]
    found, plans = [], []
    for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
        sources = saved(tmp_path, *(files[n] for n in order))
        plans.append(merged(sources, tmp_path / f"out{order[0]}.rdb", ttl_offset_ms=5))
        found.append(contents((tmp_path / f"out{order[0]}.rdb").read_bytes()))
    assert found[0] == found[1]
    assert [plan.dbs for plan in plans] == [plans[0].dbs] * 2
    assert plans[0].output_bytes == plans[1].output_bytes


def test_the_order_of_sources_with_conflicts_mirrors_first_and_last(tmp_path: Path) -> None:
    merged(saved(tmp_path, TWO, ONE), tmp_path / "last.rdb", on_conflict=Policy.LAST)
    merged(saved(tmp_path, ONE, TWO), tmp_path / "first.rdb", on_conflict=Policy.FIRST)
    assert contents((tmp_path / "last.rdb").read_bytes()) == contents((tmp_path / "first.rdb").read_bytes())


def test_warnings_name_what_a_user_should_know(tmp_path: Path) -> None:
    files = [
        rdb(9, CTIME, entry(b"a"), tail=b"x" * 1_234),
        rdb(9, CTIME, entry(b"b"), checksum=0),
        rdb(9, CTIME, aux(b"aof-base", b"1"), entry(b"c")),
        rdb(9, CTIME, select(16), entry(b"d"), record(2, b"e", length(0)), record(2, b"f", length(0))),
    ]
    pulled = Pulled(
        address="h:1", framing="eof", started_at_ms=1, duration_s=1, written="written", evidence="offset moved"
    )
    manifest = Manifest(
        rdbmerge_version="0", file="a.rdb", size_bytes=len(files[0]), crc64="", magic="", keys_in_file={},
        pulled=pulled, snapshot_at_ms=5,
    )  # fmt: skip
    write_manifest(tmp_path / "a.rdb", manifest)
    with opened(tmp_path, *files) as merge:
        warnings = merge.plan().warnings
    assert warnings == [
        "a.rdb: 1,234 bytes after the end of the RDB are ignored",
        "a.rdb: the source was written to during the pull (offset moved)",
        "b.rdb: written with rdbchecksum no; damage inside values cannot be seen",
        "c.rdb: the base of an append-only file; later writes are in its .aof files",
        "d.rdb: 2 empty collections left out (booked as filtered); no server keeps them",
        "db 16 is used: the target needs `databases 17` or more",
    ]


def test_lines_that_no_file_can_hold_together_are_refused(tmp_path: Path) -> None:
    valkey = rdb(
        80,
        CTIME,
        record(22, b"v", length(1) + string(b"f") + string(b"v") + AT.to_bytes(8, "little")),
        magic=b"VALKEY080",
    )
    with opened(tmp_path, rdb(12, CTIME, hash_of(b"r", AT)), valkey) as merge:
        with pytest.raises(UsageError, match="no file can hold both"):
            merge.plan()
        # What the rules leave out does not count.
        assert merge.plan(exclude_keys=[key_glob(b"r")]).magic == "VALKEY080"
        assert merge.plan(exclude_keys=[key_glob(b"v")]).magic == "REDIS0012"
        assert merge.plan(types=["string"]).magic == "REDIS0006"


def test_a_ledger_that_does_not_close_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = counting.count_from_index

    def wrong(chunk: Any) -> Any:
        counted = count(chunk)
        counted.written -= 1
        return counted

    monkeypatch.setattr(counting, "count_from_index", wrong)
    with opened(tmp_path, TWO) as merge, pytest.raises(LedgerError, match=r"the ledger of b\.rdb|the ledger of a\.rdb"):
        merge.plan()


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(FILES, ANY_RULES)
def test_whatever_the_rules_the_ledger_closes_and_the_file_is_as_planned(
    tmp_path: Path, files: Any, rules: dict[str, Any]
) -> None:
    for path in tmp_path.iterdir():
        path.unlink()
    datas = [file_of(stretches) for stretches in files]
    rules = for_files(rules, len(datas))
    with opened(tmp_path, *datas) as merge:
        quick = merge.plan(**rules)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(counting, "is_plain", lambda _: False)
            assert merge.plan(**rules) == quick
    plan = merged(saved(tmp_path, *datas), tmp_path / "out.rdb", **rules)
    total = plan.ledger().total()
    assert total.read == sum(len(contents(data)) for data in datas)
    assert total.difference == 0
    check_output(plan, tmp_path / "out.rdb")


@pytest.mark.parametrize("name", ["2.4.18", "6.2.16", "7.4.1", "8.2.3", "valkey-9.1.2", "unstable-2026-06"])
@pytest.mark.parametrize("drop_expired", [True, False])
def test_the_dead_of_real_files_are_those_that_died_before_the_snapshot(
    tmp_path: Path, name: str, drop_expired: bool
) -> None:
    """The snapshot is set between the deaths that the file holds, so that some are dead and some are not."""
    source = FIXTURES / name / "expired.rdb"
    truth = read_truth(source.with_name("expired.truth.jsonl.gz"))
    times = sorted(one.expire_at_ms for one in truth.entries.values() if one.expire_at_ms is not None)
    at_ms = times[len(times) // 2] + 1
    expected = expected_merge([truth], drop_dead_at_ms=at_ms if drop_expired else None)
    path = tmp_path / "a.rdb"
    path.write_bytes(source.read_bytes())
    os.utime(path)
    plan = merged([path], tmp_path / "out.rdb", snapshot_at_ms=at_ms, drop_expired=drop_expired)
    found = contents((tmp_path / "out.rdb").read_bytes())
    assert {(db, short(key)) for db, key in found} == expected.entries.keys()
    assert plan.ledger().total().expired == len(truth) - len(expected)
    assert (plan.ledger().total().expired > 0) == drop_expired
