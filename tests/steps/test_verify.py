"""What the writer makes of real files the verifier passes, and neither knows the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rdbmerge.errors import UsageError
from rdbmerge.merge.writer import write_plan
from rdbmerge.plan.model import KeyPattern, Rules
from rdbmerge.plan.planner import make_plan
from rdbmerge.snapshot.indexer import read_index
from rdbmerge.snapshot.segment import open_segments
from rdbmerge.steps.verify import verify

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


def test_what_is_no_plan_is_refused(tmp_path: Path, golden: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("{}")
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
