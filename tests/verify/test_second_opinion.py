"""Verification shares no judgement with the planner and the writer: whatever goes wrong there, it finds.

Each test breaks one part of the merger, lets it plan and write as it then does, and verifies what comes out by the
very plan. Unbroken, everything passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from merging import NOW_MS, saved
from rdbbytes import entry, rdb, select
from verify.rewritten import SOURCE
from verify.world import HOUR_MS, SNAPSHOT_MS, failed

from rdbmerge.format import codes, forms, streams
from rdbmerge.format.decode import Values
from rdbmerge.format.dialects import Dialect
from rdbmerge.format.emit import Change, Emission
from rdbmerge.format.strings import length_bytes, string_bytes
from rdbmerge.format.values import Logical
from rdbmerge.merge import making
from rdbmerge.plan import conflicts, planner
from rdbmerge.plan.fitting import FITS, UNFIT, Fitting
from rdbmerge.plan.model import PLANS, KeyPattern, Policy, Rules, SourceRules
from rdbmerge.plan.sharding import Sharding, Slots, even_slots
from rdbmerge.plan.treatment import rules_of
from rdbmerge.steps.merge import output_paths, planned_merge, write_merge
from rdbmerge.steps.verify import verify
from rdbmerge.verify.report import ShardsReport, VerifyReport

Patch = pytest.MonkeyPatch
KEYS = rdb(10, select(0), *(entry(b"key:%d" % number) for number in range(60)))


def merged_and_verified(
    folder: Path, *, source: bytes = SOURCE, slots: list[Slots] | None = None, level: str = "full", **rules: Any
) -> VerifyReport | ShardsReport:
    """What verification says of what the merger makes of the source."""
    folder.mkdir(exist_ok=True)
    (folder / "source.rdb").write_bytes(source)
    declared = Rules(**{"ttl_offset_ms": HOUR_MS, "on_unsupported": "strip", "snapshot_at_ms": SNAPSHOT_MS, **rules})
    with planned_merge([folder / "source.rdb"], declared, now_ms=NOW_MS, jobs=1, shards=slots) as planned:
        write_merge(planned, folder / "merged.rdb", jobs=1)
        (folder / "plan.json").write_bytes(PLANS.dump_json(list(planned.plans)))
    outputs = output_paths(folder / "merged.rdb", slots)
    return verify(outputs, against=[folder / "plan.json"], rules=None, level=level, jobs=1, now_ms=NOW_MS)


def named(report: VerifyReport | ShardsReport) -> set[tuple[str, str]]:
    assert isinstance(report, VerifyReport)
    return {(one.kind, one.key.strip('"')) for one in report.differences}


@pytest.mark.parametrize("target", ["redis-2.8", "redis-6.2", "redis-8.2", "valkey-9.1"])
def test_unbroken_it_passes(tmp_path: Path, target: str) -> None:
    report = merged_and_verified(tmp_path, target=target)
    assert isinstance(report, VerifyReport)
    assert (failed(report), report.verdict) == ({}, "passed")


# --- the writer ---------------------------------------------------------------------------------------------------


def spoiled(patch: Patch, spoil: Callable[[Emission, int, int, int, bytes], bytes]) -> None:
    """Let every re-encoded value come out as `spoil` has it, measured and written alike."""
    treatments, recoded = Emission._treatments, Emission._recoded

    def all_here(self: Emission) -> Any:
        found = treatments(self)
        found[found == codes.RECODED] = codes.ANEW
        return found

    def other(self: Emission, row: int, number: int, start: int, end: int) -> Iterator[bytes]:
        payload = b"".join(bytes(piece) for piece in recoded(self, row, number, start, end))
        yield spoil(self, number, start, end, payload)

    patch.setattr(Emission, "_treatments", all_here)
    patch.setattr(Emission, "_recoded", other)


def items_of(emission: Emission, number: int, start: int, end: int) -> list[Any]:
    return list(Values(emission.view, emission.change.dialect).items(number, start, end))


def rewritten(items: list[Any]) -> bytes:
    """Lists, sets and hashes in their plain form."""
    parts = [part for item in items for part in (item[:2] if isinstance(item, tuple) else (item,))]
    return length_bytes(len(items)) + b"".join(map(string_bytes, parts))


SPOILERS: dict[str, Callable[[list[Any]], list[Any]]] = {
    "drops the last item": lambda items: items[:-1],
    "drops the first item": lambda items: items[1:],
    "doubles an item": lambda items: [*items, items[-1]],
    "turns them round": lambda items: items[::-1],
    "writes nothing": lambda items: [],
}


@pytest.mark.parametrize("how", SPOILERS)
@pytest.mark.parametrize("level", ["digest", "full"])
def test_a_recoder_that_spoils_items_is_found_out(tmp_path: Path, monkeypatch: Patch, how: str, level: str) -> None:
    def spoil(emission: Emission, number: int, start: int, end: int, payload: bytes) -> bytes:
        if emission.change.dialect.types[number].logical in (Logical.ZSET, Logical.STRING):
            return payload
        return rewritten(SPOILERS[how](items_of(emission, number, start, end)))

    spoiled(monkeypatch, spoil)
    found = {key for _, key in named(merged_and_verified(tmp_path, target="redis-6.2", level=level))}
    # Turned round, nothing but the list is another; and of the hash with expiries, the dead field is back.
    assert found == ({"list", "timed"} if how == "turns them round" else {"list", "set", "hash", "timed"})


def test_a_recoder_that_spoils_scores_is_found_out(tmp_path: Path, monkeypatch: Patch) -> None:
    def spoil(emission: Emission, number: int, start: int, end: int, payload: bytes) -> bytes:
        return payload.replace(b"\x04@", b"\x05@")  # 2.5 is 2.625 then

    spoiled(monkeypatch, spoil)
    assert named(merged_and_verified(tmp_path, target="redis-6.2")) == {("field", "zset")}


@pytest.mark.parametrize(
    ("spoilt", "said"), [({"ttl_offset_ms": 0}, "field expiries"), ({"fields_dead_before_ms": None}, "2 fields")]
)
def test_a_recoder_that_is_told_wrong_is_found_out(
    tmp_path: Path, monkeypatch: Patch, spoilt: dict[str, Any], said: str
) -> None:
    recoder = Change.recoder
    monkeypatch.setattr(Change, "recoder", lambda self, *rest: recoder(replace(self, **spoilt), *rest))
    report = merged_and_verified(tmp_path, target="valkey-9.1")
    assert named(report) == {("field", "timed")}
    assert isinstance(report, VerifyReport)
    assert said in report.differences[0].expected


@pytest.mark.parametrize("target", ["redis-6.2", "redis-7.2"])
@pytest.mark.parametrize("lost", ["groups", "owner", "pending", "consumers"])
def test_a_tail_that_loses_something_is_found_out(tmp_path: Path, monkeypatch: Patch, target: str, lost: str) -> None:
    write_tail = streams.write_tail
    nothing = streams.Run(0, 0, 0)

    def losing(view: memoryview, tail: streams.StreamTail, level: int) -> bytes:
        if lost == "groups":
            tail.groups = []
        changes = {"owner": {"nacked": nothing}, "pending": {"pending": nothing}, "consumers": {"consumers": []}}
        tail.groups = [replace(group, **changes.get(lost, {})) for group in tail.groups]
        return write_tail(view, tail, level)

    monkeypatch.setattr(streams, "write_tail", losing)
    assert named(merged_and_verified(tmp_path, target=target)) == {("value", "stream")}


@pytest.mark.parametrize("level", ["digest", "full"])
@pytest.mark.parametrize(("kind", "form", "key"), [(Logical.SET, 1, "set"), (Logical.LIST, 2, "list")])
def test_a_form_of_another_type_is_found_out(
    tmp_path: Path, monkeypatch: Patch, kind: Logical, form: int, key: str, level: str
) -> None:
    monkeypatch.setitem(forms._PLAIN, kind, form)
    assert named(merged_and_verified(tmp_path, target="redis-6.2", level=level)) == {("type", key)}


def test_forms_that_are_kept_though_the_target_does_not_know_them_are_found_out(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    form = forms._form

    def kept(number: int, *rest: Any) -> int:
        return forms.KEEP if number in (16, 17) else form(number, *rest)

    monkeypatch.setattr(forms, "_form", kept)
    with pytest.raises(AssertionError, match=r"REDIS0010 was planned for redis-6\.2"):
        merged_and_verified(tmp_path / "refused", target="redis-6.2")
    monkeypatch.setattr(planner.Content, "dialect", lambda _: Dialect("redis", 9))
    report = merged_and_verified(tmp_path, target="redis-6.2")
    assert isinstance(report, VerifyReport)
    assert "redis-6.2 does not know type 16 (hash_listpack)" in failed(report)["target"]


# --- the planner --------------------------------------------------------------------------------------------------


def test_a_planner_that_keeps_what_is_to_be_skipped_is_found_out(tmp_path: Path, monkeypatch: Patch) -> None:
    verdicts = Fitting.verdicts

    def lenient(self: Fitting, *rest: Any) -> Any:
        found = verdicts(self, *rest)
        return np.where(found == UNFIT, UNFIT, FITS).astype(np.uint8)

    monkeypatch.setattr(Fitting, "verdicts", lenient)
    report = merged_and_verified(tmp_path, target="redis-6.2", on_unsupported="skip")
    assert named(report) == {("unexpected", "timed"), ("unexpected", "stream")}


def test_a_planner_that_skips_what_can_be_held_is_found_out(tmp_path: Path, monkeypatch: Patch) -> None:
    def strict(self: Fitting, view: memoryview, columns: Any, wanted: Any) -> Any:
        return np.full(columns.rows, UNFIT, np.uint8)

    monkeypatch.setattr(Fitting, "verdicts", strict)
    monkeypatch.setattr(Fitting, "whys", lambda _self, _view, _columns, rows: ("because" for _ in rows))
    monkeypatch.setattr(Fitting, "fits_all", lambda *_: False)
    report = merged_and_verified(tmp_path, target="redis-6.2")
    assert named(report) == {
        ("missing", key) for key in ("plain", "idle", "list", "set", "zset", "hash", "timed", "stream")
    }


def test_a_planner_that_writes_into_the_wrong_shard_is_found_out(tmp_path: Path, monkeypatch: Patch) -> None:
    shards_of = Sharding.shards_of

    def shifted(self: Sharding, *rest: Any) -> Any:
        found = shards_of(self, *rest)
        found[::20] = (found[::20] + 1) % self.count
        return found

    monkeypatch.setattr(Sharding, "shards_of", shifted)
    report = merged_and_verified(tmp_path, source=KEYS, slots=even_slots(3))
    assert isinstance(report, ShardsReport)
    kinds = [one.kind for shard in report.shards for one in shard.differences]
    assert sorted(kinds) == ["missing"] * 3 + ["unexpected"] * 3


def test_a_planner_that_loses_a_shard_is_found_out(tmp_path: Path, monkeypatch: Patch) -> None:
    shards_of = Sharding.shards_of

    def losing(self: Sharding, *rest: Any) -> Any:
        found = shards_of(self, *rest)
        found[0] = -1
        return found

    monkeypatch.setattr(Sharding, "shards_of", losing)
    report = merged_and_verified(tmp_path, source=KEYS, slots=even_slots(3))
    assert isinstance(report, ShardsReport)
    assert [(one.kind, one.key) for shard in report.shards for one in shard.differences] == [("missing", '"key:0"')]


# --- rules of one source alone ------------------------------------------------------------------------------------

TWO = [rdb(10, select(0), *(entry(key, b"of " + name) for key in (b"k", b"p:k", b"dead"))) for name in (b"a", b"b")]
OF_A = SourceRules(key_prefix=b"p:", exclude_keys=[KeyPattern(kind="glob", text=b"dead")])


def two_verified(folder: Path, *, slots: list[Slots] | None = None, level: str = "full") -> Any:
    """What verification says of what the merger makes of two sources, one of which has rules of its own."""
    declared = Rules(on_conflict=Policy.FIRST, sources={"a.rdb": OF_A})
    with planned_merge(saved(folder, *TWO), declared, now_ms=NOW_MS, jobs=1, shards=slots) as planned:
        write_merge(planned, folder / "merged.rdb", jobs=1)
        (folder / "plan.json").write_bytes(PLANS.dump_json(list(planned.plans)))
    outputs = output_paths(folder / "merged.rdb", slots)
    return verify(outputs, against=[folder / "plan.json"], rules=None, level=level, jobs=1, now_ms=NOW_MS)


@pytest.mark.parametrize("slots", [None, even_slots(3)])
@pytest.mark.parametrize("level", ["counts", "digest", "full"])
def test_unbroken_two_sources_with_rules_of_their_own_pass(
    tmp_path: Path, slots: list[Slots] | None, level: str
) -> None:
    report = two_verified(tmp_path, slots=slots, level=level)
    assert report.verdict == "passed"
    shards = report.shards if slots else [report]
    assert sum(line.expected for shard in shards for line in shard.ledger) == 4
    assert sum(line.conflict_dropped for shard in shards for line in shard.ledger) == 1


def of_the_other(rules: Rules, name: str) -> Rules:
    return rules_of(rules, {"a.rdb": "b.rdb", "b.rdb": "a.rdb"}[name])


@pytest.mark.parametrize("level", ["digest", "full"])
@pytest.mark.parametrize("broken", [lambda rules, _: rules_of(rules, "nobody"), of_the_other])
def test_a_merger_that_mistakes_the_rules_of_a_source_is_found_out(
    tmp_path: Path, monkeypatch: Patch, broken: Callable[[Rules, str], Rules], level: str
) -> None:
    monkeypatch.setattr(planner, "rules_of", broken)
    monkeypatch.setattr(making, "rules_of", broken)
    report = two_verified(tmp_path, level=level)
    kinds = {(one.kind, one.key) for one in report.differences}
    assert {("missing", '"p:p:k"')} < kinds or ("value", '"p:p:k"') in kinds
    assert "plan" in failed(report)


@pytest.mark.parametrize("part", ["prefix", "meeting"])
def test_a_planner_that_does_not_see_that_keys_meet_behind_prefixes_is_found_out(
    tmp_path: Path, monkeypatch: Patch, part: str
) -> None:
    families = conflicts._families

    def broken(runs: Any) -> Any:
        for family in families(runs):
            if part == "prefix":
                yield [replace(run, prefix=b"") for run in family]
            else:
                yield from ([run] for run in family)

    monkeypatch.setattr(conflicts, "_families", broken)
    report = two_verified(tmp_path)
    assert [(one.kind, one.key, one.expected) for one in report.differences] == [
        ("unexpected", '"p:k"', "the key once")
    ]
    assert [name for name, detail in failed(report).items() if '"p:k"' in detail] == ["unique keys"]


def test_a_planner_that_forgets_the_prefix_where_it_finds_slots_is_found_out(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    shards_of = Sharding.shards_of
    monkeypatch.setattr(Sharding, "shards_of", lambda self, view, columns, _prefix: shards_of(self, view, columns))
    report = two_verified(tmp_path, slots=even_slots(16))
    kinds = sorted((one.kind, one.key) for shard in report.shards for one in shard.differences)
    assert ("missing", '"p:p:k"') in kinds
    assert ("unexpected", '"p:p:k"') in kinds
