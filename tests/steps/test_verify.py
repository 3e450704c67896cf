"""What the writer makes of real files the verifier passes, and neither knows the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rdbmerge.errors import UsageError
from rdbmerge.merge.writer import write_plan
from rdbmerge.plan.model import PLANS, KeyPattern, Plan, Rules, Unsupported
from rdbmerge.plan.planner import make_plan
from rdbmerge.plan.sharding import Slots, even_slots, parse_slots
from rdbmerge.snapshot.indexer import read_index
from rdbmerge.snapshot.segment import open_segments
from rdbmerge.steps.merge import output_paths, planned_merge, write_merge
from rdbmerge.steps.verify import read_plans, verify
from rdbmerge.verify.report import ShardsReport, VerifyReport

NOW_MS = 1_795_400_000_000
DAY_MS = 86_400_000
FOLDERS = [
    ["2.4.18"], ["2.8.24", "3.2.13"], ["5.0.14", "6.2.16"], ["7.0.15", "7.2.6", "valkey-8.1.1"],
    ["7.4.1", "8.2.3"], ["valkey-9.1.2", "7.0.15"],
]  # fmt: skip
RULES: dict[str, dict[str, Any]] = {
    "as it is": {},
    "later": {"ttl_offset_ms": 3 * DAY_MS, "on_conflict": "last"},
    "sooner": {"ttl_offset_ms": -(1 << 46), "on_conflict": "longest-ttl"},
    "frozen": {"ttl_freeze_until_ms": NOW_MS, "on_conflict": "longest-ttl"},
    "prefixed": {"key_prefix": b"new:", "db_map": {5: 0}},
    "everything dead": {"snapshot_at_ms": 1 << 45},
    "nothing dropped": {"drop_expired": False, "ttl_offset_ms": 1},
    "chosen": {
        "types": ["hash", "string"],
        "dbs": [0, 5],
        "exclude_keys": [KeyPattern(kind="glob", text=b"*[0-9]")],
        "include_keys": [KeyPattern(kind="re", text=b"[a-z]")],
    },
}


def merged(folder: Path, golden: Path, versions: list[str], name: str, rules: Rules) -> Path:
    paths = []
    for version in versions:
        path = folder / f"{version}.rdb"
        path.write_bytes((golden / version / f"{name}.rdb").read_bytes())
        paths.append(path)
    with open_segments(paths) as segments:
        plan = make_plan(segments, [read_index(one) for one in segments], rules, now_ms=NOW_MS)
        write_plan(plan, segments, folder / "out" / "merged.rdb", jobs=2)
    (folder / "out" / "plan.json").write_text(plan.model_dump_json())
    return folder / "out" / "merged.rdb"


@pytest.mark.parametrize("versions", FOLDERS, ids="+".join)
@pytest.mark.parametrize("case", RULES)
@pytest.mark.parametrize("name", ["all_types", "expired"])
def test_what_is_merged_by_rules_passes_by_them(
    tmp_path: Path, golden: Path, versions: list[str], case: str, name: str
) -> None:
    (tmp_path / "out").mkdir()
    rules = Rules(**{"on_conflict": "first", **RULES[case]})
    output = merged(tmp_path, golden, versions, name, rules)
    report = verify(output, against=[output.parent / "plan.json"], rules=None, level="full", jobs=2, now_ms=NOW_MS)
    assert [(check.name, check.detail) for check in report.failed_checks] == []
    assert report.differences == []
    assert report.verdict == "passed"
    sources = [tmp_path / f"{version}.rdb" for version in versions]
    assert verify(output, against=sources, rules=rules, level="digest", jobs=1, now_ms=NOW_MS).verdict == "passed"
    other = rules.model_copy(update={"key_prefix": b"other:"})
    wrong = verify(output, against=sources, rules=other, level="digest", jobs=1, now_ms=NOW_MS)
    assert (wrong.verdict == "failed") == bool(sum(line.expected for line in wrong.ledger))


def test_a_plan_brings_its_own_rules(tmp_path: Path, golden: Path) -> None:
    (tmp_path / "out").mkdir()
    output = merged(tmp_path, golden, ["7.0.15"], "expired", Rules())
    with pytest.raises(UsageError, match="its own rules"):
        verify(output, against=[output.parent / "plan.json"], rules=Rules(), now_ms=NOW_MS)


@pytest.mark.parametrize("text", ["{}", "[]", "[{}]", "no JSON", "null"])
def test_what_is_no_plan_is_refused(tmp_path: Path, golden: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(UsageError, match="is not a plan"):
        verify(golden / "7.0.15" / "all_types.rdb", against=[path], rules=None, now_ms=NOW_MS)


def test_a_file_is_not_verified_against_itself(golden: Path) -> None:
    path = golden / "7.0.15" / "all_types.rdb"
    with pytest.raises(UsageError, match="one of its own sources"):
        verify(path, against=[path], rules=Rules(), now_ms=NOW_MS)


def test_progress_is_told_of_every_byte(tmp_path: Path, golden: Path) -> None:
    (tmp_path / "out").mkdir()
    output = merged(tmp_path, golden, ["7.0.15"], "all_types", Rules())
    told: list[int] = []
    verify(output, against=[tmp_path / "7.0.15.rdb"], rules=Rules(), jobs=1, now_ms=NOW_MS, progress=told.append)
    assert sum(told) >= output.stat().st_size - 8


# --- targets ------------------------------------------------------------------------------------------------------

TARGET_FOLDERS = [["8.2.3", "7.4.1"], ["unstable-2026-06", "unstable-rdb13"], ["valkey-9.1.2", "7.0.15"]]
TARGETS = ["redis-2.8", "redis-3.2", "redis-6.2", "redis-7.0", "redis-7.4", "redis-8.6", "valkey-8.1", "valkey-9.1"]


def written_for(
    folder: Path, golden: Path, versions: list[str], name: str, rules: Rules, slots: list[Slots] | None = None
) -> list[Path]:
    """The files that the merger makes of copies of real files, and its plan beside them."""
    (folder / "in").mkdir()
    (folder / "out").mkdir()
    paths = []
    for version in versions:
        paths.append(folder / "in" / f"{version}.rdb")
        paths[-1].write_bytes((golden / version / f"{name}.rdb").read_bytes())
    with planned_merge(paths, rules, now_ms=NOW_MS, jobs=2, shards=slots) as planned:
        write_merge(planned, folder / "out" / "merged.rdb", jobs=2)
        (folder / "out" / "plan.json").write_bytes(PLANS.dump_json(list(planned.plans)))
    return output_paths(folder / "out" / "merged.rdb", slots)


@pytest.mark.parametrize("versions", TARGET_FOLDERS, ids="+".join)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("policy", ["strip", "skip"])
def test_what_is_merged_for_a_target_passes_for_it(
    tmp_path: Path, golden: Path, versions: list[str], target: str, policy: str
) -> None:
    rules = Rules(target=target, on_unsupported=policy, on_conflict="longest-ttl", ttl_offset_ms=DAY_MS)
    (output,) = written_for(tmp_path, golden, versions, "all_types", rules)
    report = verify(output, against=[output.parent / "plan.json"], rules=None, level="full", jobs=2, now_ms=NOW_MS)
    assert isinstance(report, VerifyReport)
    assert [(check.name, check.detail) for check in report.failed_checks] == []
    assert (report.differences, report.verdict) == ([], "passed")
    strict = rules.model_copy(update={"on_unsupported": Unsupported.FAIL})
    sources = [tmp_path / "in" / f"{version}.rdb" for version in versions]
    by_strict = verify(output, against=sources, rules=strict, level="digest", jobs=1, now_ms=NOW_MS)
    lost = any(line.rejected or line.stripped for line in report.ledger)
    assert (by_strict.verdict == "failed") == (lost or target in ("redis-2.8", "redis-3.2", "redis-6.2"))  # libraries


@pytest.mark.parametrize("policy", ["first", "last", "longest-ttl"])
def test_what_lost_a_conflict_was_not_stripped(tmp_path: Path, golden: Path, policy: str) -> None:
    """Both sources hold the same hashes with field expiries: one of each pair is written, and stripped."""
    rules = Rules(target="redis-6.2", on_unsupported="strip", on_conflict=policy)
    (output,) = written_for(tmp_path, golden, ["7.4.1", "8.2.3"], "all_types", rules)
    report = verify(output, against=[output.parent / "plan.json"], rules=None, level="counts", now_ms=NOW_MS)
    assert isinstance(report, VerifyReport)
    assert [check.detail for check in report.failed_checks] == []
    assert sum(line.stripped for line in report.ledger) > 0
    assert not any(line.stripped for line in report.ledger if line.conflict_dropped == line.read)


# --- shards -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slots", [even_slots(3), parse_slots("0-99+200-9000,100-199,9001-16383"), even_slots(1)])
@pytest.mark.parametrize("level", ["counts", "digest", "full"])
def test_the_files_of_shards_pass_by_their_plan_and_by_their_rules(
    tmp_path: Path, golden: Path, slots: list[Slots], level: str
) -> None:
    rules = Rules(on_conflict="last", ttl_offset_ms=DAY_MS, db_map={5: 0, 9: 0}, target="redis-6.2",
                  on_unsupported="strip")  # fmt: skip
    outputs = written_for(tmp_path, golden, ["7.0.15", "8.2.3"], "cluster", rules, slots)
    plan = outputs[0].parent / "plan.json"
    for report in (
        verify(outputs[::-1], against=[plan], rules=None, level=level, jobs=2, now_ms=NOW_MS),
        verify(outputs, against=[tmp_path / "in"], rules=rules, shards=slots, level=level, jobs=1, now_ms=NOW_MS),
    ):
        assert isinstance(report, ShardsReport)
        assert [check.detail for check in report.failed_checks] == []
        assert [(shard.verdict, shard.differences) for shard in report.shards] == [("passed", [])] * len(slots)
        assert report.verdict == "passed"
        assert [Path(shard.merged.path) for shard in report.shards] == outputs


@pytest.fixture
def three(tmp_path: Path, golden: Path) -> list[Path]:
    """The files of three shards, with their plan beside them."""
    return written_for(tmp_path, golden, ["7.0.15"], "cluster", Rules(), even_slots(3))


def test_a_plan_brings_its_own_shards(three: list[Path]) -> None:
    plan = three[0].parent / "plan.json"
    with pytest.raises(UsageError, match="a plan holds its own"):
        verify(three, against=[plan], rules=None, shards=even_slots(3), now_ms=NOW_MS)


def test_a_plan_of_one_file_takes_no_shards(tmp_path: Path, golden: Path) -> None:
    (output,) = written_for(tmp_path, golden, ["7.0.15"], "expired", Rules())
    plan = output.parent / "plan.json"
    with pytest.raises(UsageError, match="a plan holds its own"):
        verify([output, output], against=[plan], rules=None, shards=even_slots(2), now_ms=NOW_MS)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_plan_of_shards_wants_as_many_files(three: list[Path], count: int) -> None:
    plan = three[0].parent / "plan.json"
    with pytest.raises(UsageError, match="3 merged files, one a shard, are expected"):
        verify((three * 2)[:count], against=[plan], rules=None, now_ms=NOW_MS)


def test_several_files_without_shards_are_refused(three: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="1 merged file is expected, 3 are given"):
        verify(three, against=[tmp_path / "in"], rules=Rules(), now_ms=NOW_MS)


def test_two_plans_are_refused(three: list[Path]) -> None:
    plan = three[0].parent / "plan.json"
    with pytest.raises(UsageError, match="2 plans are given"):
        verify(three, against=[plan, plan], rules=None, now_ms=NOW_MS)


def test_each_shards_plan_is_compared_with_its_file(three: list[Path]) -> None:
    path = three[0].parent / "plan.json"
    plans: list[Plan] = read_plans(path)
    plans[1].sources[0].runs[0].elsewhere += 1
    path.write_bytes(PLANS.dump_json(plans))
    report = verify(three, against=[path], rules=None, now_ms=NOW_MS)
    assert isinstance(report, ShardsReport)
    assert [[check.name for check in shard.failed_checks] for shard in report.shards] == [[], ["plan"], []]


def test_a_shard_is_not_verified_against_itself(three: list[Path]) -> None:
    with pytest.raises(UsageError, match="one of its own sources"):
        verify(three, against=[three[0].parent], rules=Rules(), shards=even_slots(3), now_ms=NOW_MS)


def test_sources_are_read_once_for_all_shards(three: list[Path], tmp_path: Path) -> None:
    told: list[int] = []
    verify(three, against=[tmp_path / "in"], rules=Rules(), shards=even_slots(3), now_ms=NOW_MS, progress=told.append)
    most = sum(path.stat().st_size for path in [*three, *(tmp_path / "in").glob("*.rdb")])
    assert sum(told) <= most
