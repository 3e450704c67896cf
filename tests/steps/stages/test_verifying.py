"""A merged file of a run is proved as the run file asks, or nothing goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from steps.runs import ran, two_files

from rdbmerge.errors import VerifyError
from rdbmerge.verify.report import ShardsReport, VerifyReport


def test_level_and_shards_are_those_of_the_run_file(tmp_path: Path) -> None:
    ran(two_files(tmp_path, '[verify]\nlevel = "full"\n[merge]\nshards = 2\n'))
    report = ShardsReport.model_validate_json((tmp_path / "work" / "verify.json").read_bytes())
    assert {one.level for one in report.shards} == {"full"}
    assert len(report.shards) == 2


def test_differences_end_the_run_with_the_report_at_hand(tmp_path: Path) -> None:
    """The plan says another offset than the file was written with."""
    path = two_files(tmp_path, '[merge]\nkey_prefix = "x"\n')
    ran(path, until_step="merge")
    plan, journal = tmp_path / "work" / "plan.json", tmp_path / "work" / "journal.json"
    plan.write_text(plan.read_text().replace('"key_prefix": "eA=="', '"key_prefix": "eQ=="'))
    state = json.loads(journal.read_text())
    facts = plan.stat()
    state["steps"]["merge"]["outputs"]["plan.json"] |= {"size_bytes": facts.st_size, "mtime_ns": facts.st_mtime_ns}
    journal.write_text(json.dumps(state))
    with pytest.raises(VerifyError, match="the merged file is not what the sources give: 4 differences") as failure:
        ran(path)
    assert "verify.json" in failure.value.remedy
    report = VerifyReport.model_validate_json((tmp_path / "work" / "verify.json").read_bytes())
    assert report.verdict == "failed"
