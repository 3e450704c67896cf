"""What would be done, without doing it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from steps.runs import outcomes, previewed, ran, rdb_of, two_files

from rdbmerge.errors import UsageError

pytestmark = pytest.mark.once


def test_before_anything_is_done_all_is_to_do(tmp_path: Path) -> None:
    report = previewed(two_files(tmp_path))
    assert outcomes(report) == {
        "pull a": "would be kept", "pull b": "would be kept", "merge": "to do", "verify": "to do",
    }  # fmt: skip
    assert [line.why for line in report.lines] == [
        "a file at hand", "a file at hand", "not done yet", "not done yet; after merge",
    ]  # fmt: skip
    size = sum((tmp_path / name).stat().st_size for name in ("a.rdb", "b.rdb"))
    assert [line.size_bytes for line in report.lines[2:]] == [size, size]
    assert {path.name for path in (tmp_path / "work").iterdir()} == {".rdbmerge.lock"}


def test_the_preview_and_the_run_agree(tmp_path: Path) -> None:
    path = two_files(tmp_path)
    for change in ("", "b", "prefix", "gone"):
        if change == "b":
            (tmp_path / "b.rdb").write_bytes(rdb_of(b"other"))
        elif change == "prefix":
            path.write_text(path.read_text().replace("b:", "c:"))
        elif change == "gone":
            (tmp_path / "work" / "merged.rdb").unlink()
        told = previewed(path)
        done = {name: "done" if one == "to do" else "kept" for name, one in outcomes(told).items()}
        assert outcomes(ran(path)) == done
        assert set(outcomes(previewed(path)).values()) == {"would be kept"}


def test_the_time_it_took_is_the_estimate(tmp_path: Path) -> None:
    path = two_files(tmp_path)
    ran(path)
    journal = tmp_path / "work" / "journal.json"
    state = json.loads(journal.read_text())
    state["steps"]["merge"]["duration_s"] = 100.0
    journal.write_text(json.dumps(state))
    (merge,) = (line for line in previewed(path, from_step="merge").lines if line.step == "merge")
    assert merge.why == "asked for"
    assert merge.duration_s is not None
    assert merge.duration_s > 50


def test_what_a_run_refuses_a_preview_refuses(tmp_path: Path) -> None:
    path = two_files(tmp_path)
    with pytest.raises(UsageError, match="pull has to be done first"):
        previewed(path, from_step="merge")
    (tmp_path / "b.rdb").unlink()
    with pytest.raises(UsageError, match="source b: there is no file"):
        previewed(path)
