"""All that the target cannot hold is listed, with the reason and what became of it; or it ends the merge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from merging import merged, opened, saved
from rdbbytes import entry, expiry, function, rdb, record, select, string
from rows import contents
from unfit import FIELDS, IDS, LIBRARY, MODULE_DATA, THINGS, Thing, of_form

from rdbmerge.errors import UnfitError
from rdbmerge.plan.model import KeyPattern, Policy, Rejection, Unsupported
from rdbmerge.plan.rejections import Rejected

AT = 2_000_000_000_000
SKIP, STRIP = {"on_unsupported": Unsupported.SKIP}, {"on_unsupported": Unsupported.STRIP}


def file_with(thing: Thing) -> bytes:
    """The thing between two entries that every target holds."""
    magic = b"VALKEY080" if thing.version == 80 else None
    return rdb(thing.version, select(3), entry(b"a"), thing.entry, entry(b"z"), magic=magic)


def counts(plan: Any) -> tuple[int, int, int, int]:
    total = plan.ledger().total()
    return total.read, total.written, total.rejected, total.stripped


def rules_for(thing: Thing, **rules: Any) -> dict[str, Any]:
    return {"target": thing.target, "db_map": {3: 0}, **rules}


@pytest.mark.parametrize("thing", THINGS, ids=IDS)
def test_by_default_it_ends_the_merge(tmp_path: Path, thing: Thing) -> None:
    with opened(tmp_path, file_with(thing)) as merge:
        with pytest.raises(UnfitError) as unfit:
            merge.plan(**rules_for(thing))
        (noted,) = merge.rejections(**rules_for(thing))
    assert str(unfit.value) == (
        f"{thing.target} cannot hold 1 thing of the sources:\n"
        f'  a.rdb: key "{thing.name}" of db 0: {thing.target} {thing.why}'
    )
    assert unfit.value.exit_code == 13
    assert "--on-unsupported skip" in unfit.value.remedy
    assert "--on-unsupported strip" in unfit.value.remedy
    assert noted.outcome == "refused"


@pytest.mark.parametrize("thing", THINGS, ids=IDS)
def test_skip_leaves_the_key_out(tmp_path: Path, thing: Thing) -> None:
    with opened(tmp_path, file_with(thing)) as merge:
        assert counts(merge.plan(**rules_for(thing, **SKIP))) == (3, 2, 1, 0)
        (noted,) = merge.rejections(**rules_for(thing, **SKIP))
    assert (noted.outcome, noted.why) == ("skipped", f"{thing.target} {thing.why}")
    merged([tmp_path / "a.rdb"], tmp_path / "out.rdb", **rules_for(thing, **SKIP))
    assert set(contents((tmp_path / "out.rdb").read_bytes())) == {(0, b"a"), (0, b"z")}


@pytest.mark.parametrize("thing", THINGS, ids=IDS)
def test_strip_keeps_the_key_if_anything_is_left_of_it(tmp_path: Path, thing: Thing) -> None:
    with opened(tmp_path, file_with(thing)) as merge:
        expected = (3, 2, 1, 0) if thing.whole else (3, 3, 0, 1)
        assert counts(merge.plan(**rules_for(thing, **STRIP))) == expected
        (noted,) = merge.rejections(**rules_for(thing, **STRIP))
    assert noted.outcome == ("skipped" if thing.whole else "stripped")
    merged([tmp_path / "a.rdb"], tmp_path / "out.rdb", **rules_for(thing, **STRIP))
    found = set(contents((tmp_path / "out.rdb").read_bytes()))
    assert ((0, thing.name.encode()) in found) != thing.whole


def test_a_rejection_tells_all_that_helps_to_find_the_entry(tmp_path: Path) -> None:
    one = record(25, b'h"\xff', of_form("hash_listpack_ex", b"")[2:], attributes=expiry(AT))
    with opened(tmp_path, rdb(12, select(5), one)) as merge:
        (noted,) = merge.rejections(target="redis-7.2", db_map={5: 2}, key_prefix=b"p:", ttl_offset_ms=9, **SKIP)
    assert noted == Rejection(
        kind="key", outcome="skipped", why=f"redis-7.2 {FIELDS}", source="a.rdb", offset=11, db=2, source_db=5,
        key='"h\\x22\\xff"', key_base64=b'h"\xff', type="hash_listpack_ex", size_bytes=len(one), expire_at_ms=AT,
    )  # fmt: skip


@pytest.mark.parametrize("policy", Unsupported)
def test_libraries_and_module_data_are_listed_too(tmp_path: Path, policy: Unsupported) -> None:
    other = function(b"#!lua name=other\n2")
    files = rdb(10, MODULE_DATA, LIBRARY, select(0), entry(b"k")), rdb(10, LIBRARY, other)
    outcome = "refused" if policy is Unsupported.FAIL else "skipped"
    with opened(tmp_path, *files) as merge:
        noted = merge.rejections(target="redis-3.2", on_unsupported=policy)
        if policy is Unsupported.FAIL:
            with pytest.raises(UnfitError, match=r"redis-3\.2 cannot hold 4 things of the sources") as unfit:
                merge.plan(target="redis-3.2")
            assert "a.rdb: function library lib: redis-3.2 has no functions" in str(unfit.value)
            assert "a.rdb: module data vectorset: redis-3.2 loads no data of modules" in str(unfit.value)
        else:
            plan = merge.plan(target="redis-3.2", on_unsupported=policy)
            assert (plan.libraries, plan.module_data, plan.magic) == ([], [], "REDIS0006")
    assert {one.outcome for one in noted} == {outcome}
    told = [(one.kind, one.source, one.key, one.size_bytes, one.db) for one in noted]
    assert told == [
        ("function library", "a.rdb", "lib", len(LIBRARY), None),
        ("module data", "a.rdb", "vectorset", len(MODULE_DATA), None),
        ("function library", "b.rdb", "lib", len(LIBRARY), None),
        ("function library", "b.rdb", "other", len(other), None),
    ]
    assert noted[0].offset == 9 + len(MODULE_DATA)
    assert noted[1].offset == 9


def test_serverless_loads_no_functions_though_its_engine_does(tmp_path: Path) -> None:
    with opened(tmp_path, rdb(10, LIBRARY, select(0), entry(b"k"))) as merge:
        (noted,) = merge.rejections(target="elasticache-serverless")
        assert merge.rejections(target="elasticache-redis-7.0") == []
    assert noted.why == "elasticache-serverless has no functions"


def test_libraries_that_differ_are_no_conflict_where_none_is_written(tmp_path: Path) -> None:
    files = rdb(10, LIBRARY), rdb(10, function(b"#!lua name=lib\nreturn 2"))
    with opened(tmp_path, *files) as merge:
        assert merge.plan(target="redis-6.2", **SKIP).libraries == []


def test_of_many_ten_are_shown_and_all_are_noted(tmp_path: Path) -> None:
    arrays = [of_form("array", b"k%02d" % n) for n in range(13)]
    with opened(tmp_path, rdb(14, select(0), *arrays)) as merge:
        with pytest.raises(UnfitError) as unfit:
            merge.plan(target="redis-6.2")
        assert len(merge.rejections(target="redis-6.2")) == 13
    lines = str(unfit.value).splitlines()
    assert lines[0] == "redis-6.2 cannot hold 13 things of the sources:"
    assert lines[1] == '  a.rdb: key "k00" of db 0: redis-6.2 has no arrays'
    assert (len(lines), lines[-1]) == (12, "  ... and 3 more")


def test_what_the_rules_leave_out_is_not_listed(tmp_path: Path) -> None:
    records = [
        of_form("array", b"a"),
        record(28, b"dead", of_form("array", b"")[2:], attributes=expiry(5)),
        of_form("module_2"),
    ]
    with opened(tmp_path, rdb(14, select(0), *records, select(9), of_form("array"))) as merge:
        rules: dict[str, Any] = {
            "target": "redis-3.2", "dbs": [0], "types": ["array"], "snapshot_at_ms": 1_000,
            "exclude_keys": [KeyPattern(kind="glob", text=b"a")],
        }  # fmt: skip
        assert merge.rejections(**rules) == []
        assert counts(merge.plan(**rules)) == (4, 0, 0, 0)


# --- conflicts ----------------------------------------------------------------------------------------------------


def test_keys_that_cannot_be_held_do_not_conflict(tmp_path: Path) -> None:
    """What is not written needs no winner, and the other source's entry is there."""
    hash_, array, plain = of_form("hash_listpack_ex", b"k"), of_form("array", b"k"), entry(b"k")
    for one in (hash_, array):
        with opened(tmp_path, rdb(14, select(0), one), rdb(9, select(0), plain)) as merge:
            plan = merge.plan(target="redis-6.2", **SKIP)
        assert (counts(plan), plan.conflicts) == ((2, 1, 1, 0), 0)
        merged(saved(tmp_path, rdb(14, select(0), one), rdb(9, select(0), plain)), tmp_path / f"{len(one)}.out",
               target="redis-6.2", **SKIP)  # fmt: skip
        assert contents((tmp_path / f"{len(one)}.out").read_bytes())[0, b"k"].payload == string(b"v")


def test_what_is_stripped_takes_part_in_conflicts(tmp_path: Path) -> None:
    files = rdb(14, select(0), of_form("hash_listpack_ex", b"k")), rdb(9, select(0), entry(b"k"))
    with opened(tmp_path, *files) as merge:
        for policy, expected in ((Policy.FIRST, (2, 1, 0, 1)), (Policy.LAST, (2, 1, 0, 0))):
            plan = merge.plan(target="redis-6.2", on_conflict=policy, **STRIP)
            assert (counts(plan), plan.conflicts) == (expected, 1)


def test_nothing_is_listed_as_stripped_that_lost_its_conflict(tmp_path: Path) -> None:
    files = (
        rdb(14, select(0), of_form("hash_listpack_ex", b"k"), of_form("hash_listpack_ex", b"l")),
        rdb(9, select(0), entry(b"k")),
    )
    with opened(tmp_path, *files) as merge:
        noted = merge.rejections(target="redis-6.2", on_conflict=Policy.LAST, **STRIP)
        plan = merge.plan(target="redis-6.2", on_conflict=Policy.LAST, **STRIP)
    assert [one.key for one in noted] == ['"l"']
    assert counts(plan) == (3, 2, 0, 1)


def test_what_is_noted_agrees_with_the_ledger(tmp_path: Path) -> None:
    entries = [thing.entry for thing in THINGS if thing.version != 80]
    unique = {one: rdb(15, select(n), one) for n, one in enumerate(dict.fromkeys(entries))}
    with opened(tmp_path, *unique.values()) as merge:
        for target in ("redis-3.2", "redis-6.2", "valkey-9.1", "memorydb-redis-7.1", "redis-8.6"):
            for policy in (SKIP, STRIP):
                rules = {"target": target, "on_conflict": Policy.FIRST, "db_map": dict.fromkeys(range(20), 0)} | policy
                noted, total = merge.rejections(**rules), merge.plan(**rules).ledger().total()
                outcomes = [one.outcome for one in noted]
                assert (outcomes.count("skipped"), outcomes.count("stripped")) == (total.rejected, total.stripped)


def test_without_a_note_they_are_counted_all_the_same() -> None:
    found = Rejected(Unsupported.FAIL, None)
    found.add(Rejection(outcome="refused", why="w", source="s", offset=0, key="k", key_base64=b"k", size_bytes=1))
    with pytest.raises(UnfitError, match="t cannot hold 1 thing"):
        found.check("t")
    assert Rejected(Unsupported.SKIP, None).outcome == "skipped"
