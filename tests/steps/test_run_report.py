"""The report of a run: saved privately, and never over what is none."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from rdbmerge.errors import StoppedError, UsageError
from rdbmerge.steps.run_report import RunLine, RunReport, refuse_other_file

pytestmark = pytest.mark.once


def report() -> RunReport:
    lines = [RunLine(step="merge", outcome="done", keys=3)]
    return RunReport(run_file="m.toml", folder="w", started_at_ms=1, lines=lines)


def test_it_is_saved_privately_and_read_back(tmp_path: Path) -> None:
    made = report()
    made.save(tmp_path / "r.json")
    assert RunReport.model_validate_json((tmp_path / "r.json").read_bytes()) == made
    assert stat.S_IMODE((tmp_path / "r.json").stat().st_mode) == 0o600


def test_a_failure_is_a_line_too() -> None:
    made = report()
    made.fail("verify", StoppedError("first line\nsecond", remedy="r"))
    assert (made.lines[-1].outcome, made.lines[-1].why) == ("failed", "first line")
    assert made.failure is not None
    assert (made.failure.error, made.failure.remedy, made.failure.exit_code) == ("first line\nsecond", "r", 130)


def test_only_a_report_of_a_run_may_be_replaced(tmp_path: Path) -> None:
    refuse_other_file(None)
    refuse_other_file(tmp_path / "r.json")
    report().save(tmp_path / "r.json")
    refuse_other_file(tmp_path / "r.json")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(UsageError, match=r"other\.json exists, and is no report of a run"):
        refuse_other_file(tmp_path / "other.json")
