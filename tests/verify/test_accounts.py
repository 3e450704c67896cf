"""The balance against the sources and against a plan."""

from __future__ import annotations

from pathlib import Path

import pytest
from verify.world import RULES, SNAPSHOT_MS, SOURCE_A, SOURCE_B, Merged, failed

from rdbmerge.errors import UsageError
from rdbmerge.plan.model import Plan, Rules
from rdbmerge.plan.planner import make_plan
from rdbmerge.snapshot.indexer import read_index
from rdbmerge.snapshot.segment import open_segments
from rdbmerge.steps.verify import verify
from rdbmerge.verify.report import VerifyReport


def planned(folder: Path) -> Plan:
    paths = [folder / "a.rdb", folder / "b.rdb"]
    for path, source in zip(paths, (SOURCE_A, SOURCE_B), strict=True):
        path.write_bytes(source)
    with open_segments(paths) as segments:
        plan = make_plan(segments, [read_index(one) for one in segments], Rules(**RULES), now_ms=SNAPSHOT_MS)
    (folder / "merged.rdb").write_bytes(Merged().bytes())
    plan.output_bytes = (folder / "merged.rdb").stat().st_size  # the plan writes other AUX fields
    return plan


def against(folder: Path, plan: Plan) -> VerifyReport:
    path = folder / "plan.json"
    path.write_text(plan.model_dump_json())
    return verify(folder / "merged.rdb", against=[path], rules=None, level="digest", jobs=1, now_ms=SNAPSHOT_MS)


def test_a_plan_that_counts_as_we_do_passes(tmp_path: Path) -> None:
    report = against(tmp_path, planned(tmp_path))
    assert failed(report) == {}
    assert report.plan == str(tmp_path / "plan.json")
    assert [source.name for source in report.sources] == ["a.rdb", "b.rdb"]


def test_each_number_of_a_plan_is_compared(tmp_path: Path) -> None:
    names = (
        "target_db", "read", "written", "written_expires", "expired", "filtered", "conflict_dropped", "rejected",
        "elsewhere", "stripped",
    )  # fmt: skip
    for name in names:
        plan = planned(tmp_path)
        run = plan.sources[0].runs[0]
        setattr(run, name, getattr(run, name) + 1)
        assert "a.rdb db 0" in failed(against(tmp_path, plan))["plan"]


def test_offset_dbs_version_and_size_of_a_plan_are_compared(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    plan.sources[1].ttl_offset_ms += 1
    plan.dbs[0].keys += 1
    plan.magic = "REDIS0011"
    plan.output_bytes += 1
    said = failed(against(tmp_path, plan))["plan"]
    for part in ("b.rdb: an offset of", "the plan has dbs", "REDIS0011 planned", "bytes planned"):
        assert part in said


def test_a_source_that_changed_since_the_plan_is_refused(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    (tmp_path / "b.rdb").write_bytes(SOURCE_B + b"\0")
    with pytest.raises(UsageError, match="is not the file the plan was made for: size was"):
        against(tmp_path, plan)
