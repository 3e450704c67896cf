"""What stages share: where things lie, and how they are told to stop."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest
from steps.runs import tools_of, two_files

from rdbmerge.errors import DiskError, StoppedError
from rdbmerge.steps.stages.tools import RunFolder, Snapshot

pytestmark = pytest.mark.once


def test_everything_has_its_place(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.snapshots.final_path("a") == tmp_path / "snapshots" / "a.rdb"
    assert folder.merged == tmp_path / "merged.rdb"
    assert RunFolder(tmp_path, tmp_path / "o.rdb").merged == tmp_path / "o.rdb"
    assert folder.write_json("verify", "{}") == tmp_path / "verify.json"
    assert (tmp_path / "verify.json").read_text() == "{}\n"
    assert stat.S_IMODE((tmp_path / "verify.json").stat().st_mode) == 0o600
    with pytest.raises(DiskError):
        RunFolder(tmp_path / "gone").write_json("verify", "{}")


def test_progress_ends_the_work_once_it_is_to_stop(tmp_path: Path) -> None:
    stop, told = threading.Event(), []
    with tools_of(two_files(tmp_path), stop=stop) as tools:
        tools.until_stopped(told.append)(1)
        tools.until_stopped(None)(2)
        stop.set()
        with pytest.raises(StoppedError):
            tools.until_stopped(told.append)(3)
    assert told == [1]


def test_a_source_is_where_it_is_said_to_be(tmp_path: Path) -> None:
    with tools_of(two_files(tmp_path)) as tools:
        assert tools.snapshots() == [Snapshot("a", "a", tmp_path / "a.rdb"), Snapshot("b", "b", tmp_path / "b.rdb")]
