"""The memory of a run: what is done, from what, and whether that still holds; on disk before anything goes on."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from rdbmerge.errors import DiskError, UsageError
from rdbmerge.snapshot.journal import Journal, StepLine, StepRecord, changed_inputs

pytestmark = pytest.mark.once


def record(journal: Journal, *files: Path, **inputs: str) -> StepRecord:
    return StepRecord(
        inputs=inputs, outputs=dict(journal.output(path, "d") for path in files), began_at_ms=1, finished_at_ms=2,
        duration_s=0.5, lines=[StepLine(keys=3)], facts={"any": ["thing"]},
    )  # fmt: skip


def test_what_is_done_is_there_the_next_time(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    (tmp_path / "out").write_text("x")
    journal.begin("merge", {"a": "1"}, 5)
    done = record(journal, tmp_path / "out", a="1")
    journal.finish("merge", done)
    again = Journal(tmp_path)
    assert again.record("merge") == done
    assert (again.has_begun("merge"), again.has_begun("pull"), again.record("pull")) == (True, False, None)
    assert stat.S_IMODE(again.path.stat().st_mode) == 0o600


def test_the_moment_stays_while_the_inputs_do(tmp_path: Path) -> None:
    assert Journal(tmp_path).begin("merge", {"a": "1"}, 5) == 5
    assert Journal(tmp_path).begin("merge", {"a": "1"}, 9) == 5
    assert Journal(tmp_path).begin("merge", {"a": "2"}, 9) == 9
    assert Journal(tmp_path).begin("merge", {"a": "1"}, 11) == 11


def test_a_step_that_begins_again_is_not_done(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.finish("merge", record(journal))
    journal.begin("merge", {}, 5)
    assert Journal(tmp_path).record("merge") is None


def test_files_that_are_not_as_they_were_are_named(tmp_path: Path) -> None:
    journal, path = Journal(tmp_path), tmp_path / "sub" / "out"
    path.parent.mkdir()
    path.write_text("x")
    done = record(journal, path)
    assert journal.changed_output(done) == ""
    os.utime(path, ns=(1, 1))
    assert journal.changed_output(done) == "sub/out is not the file that was made"
    path.unlink()
    assert journal.changed_output(done) == "sub/out is gone"


def test_inputs_that_are_not_as_they_were_are_named_in_their_order(tmp_path: Path) -> None:
    done = record(Journal(tmp_path), a="1", b="2", c="3")
    assert changed_inputs(done, {"a": "1", "b": "2", "c": "3"}) == []
    assert changed_inputs(done, {"d": "4", "b": "5", "a": "1"}) == ["d", "b", "c"]


@pytest.mark.parametrize("text", ["", "{", '{"journal_format": 1, "odd": 2}', "\xff"])
def test_a_journal_that_is_damaged_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "journal.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match=r"journal .*journal\.json cannot be read") as failure:
        Journal(tmp_path)
    assert "remove it to begin anew" in failure.value.remedy


def test_a_disk_that_refuses_is_told(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "gone")
    with pytest.raises(DiskError, match="cannot write to"):
        journal.begin("merge", {}, 5)
