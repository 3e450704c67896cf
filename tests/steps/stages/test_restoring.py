"""The other end of the line: the keys in a live server, each once, whatever ended the run on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from realservers import RunningServer, need, running
from steps.runs import outcomes, previewed, ran, rdb_of, two_files

from rdbmerge.errors import TargetError, UsageError
from rdbmerge.steps.check_file import look_of_file
from rdbmerge.steps.run_file import read_run_file

pytestmark = pytest.mark.once


@pytest.fixture
def target() -> Iterator[RunningServer]:
    with running(need("valkey-8.1")) as one:
        yield one


def run_file(folder: Path, target: RunningServer, more: str = "", before: str = "") -> Path:
    return two_files(folder, f'{before}[restore]\nurl = "127.0.0.1:{target.port}"\n{more}')


def keys(target: RunningServer) -> list[bytes]:
    with target.client(raw=True) as client:
        return sorted(client.keys())


def test_the_line_ends_in_a_live_server(tmp_path: Path, target: RunningServer) -> None:
    path = run_file(tmp_path, target)
    name = f"restore 127.0.0.1:{target.port}"
    assert outcomes(ran(path))[name] == "done"
    assert keys(target) == [b"a", b"b:k", b"k"]
    again = ran(path)
    assert set(outcomes(again).values()) == {"kept"}
    assert again.facts["restore"]["restored"] == 3
    assert outcomes(previewed(path))[name] == "would be kept"
    assert not list((tmp_path / "work").glob("*.checkpoint.json"))


def test_keys_that_died_since_their_snapshot_are_not_left_out_by_us(tmp_path: Path, target: RunningServer) -> None:
    """The merge has dropped what was dead in the snapshots; of the rest the target judges, by its own clock."""
    path = run_file(tmp_path, target)
    ran(path)
    report = json.loads((tmp_path / "work" / "restore.json").read_text())
    assert report["rules"]["drop_expired"] is False
    assert [line["expired"] for line in report["ledger"]["lines"]] == [0]


def test_each_shard_is_restored(tmp_path: Path, target: RunningServer) -> None:
    ran(run_file(tmp_path, target, before="[merge]\nshards = 2\n"))
    assert keys(target) == [b"a", b"b:k", b"k"]


def test_a_target_that_is_not_empty_wants_a_word(tmp_path: Path, target: RunningServer) -> None:
    with target.client() as client:
        client.set("k", "theirs")
    path = run_file(tmp_path, target)
    with pytest.raises(UsageError) as failure:
        ran(path)
    assert "goes on with restore" in failure.value.remedy
    path.write_text(path.read_text() + 'on_busy = "skip"\n')
    assert outcomes(ran(path))[f"restore 127.0.0.1:{target.port}"] == "done"
    with target.client() as client:
        assert client.get("k") in ("theirs", b"theirs")
    assert keys(target) == [b"a", b"b:k", b"k"]


def test_other_content_is_another_restore(tmp_path: Path, target: RunningServer) -> None:
    path = run_file(tmp_path, target, 'on_busy = "replace"\n')
    ran(path)
    (tmp_path / "b.rdb").write_bytes(rdb_of(b"new"))
    assert outcomes(ran(path))[f"restore 127.0.0.1:{target.port}"] == "done"
    assert b"b:new" in keys(target)


def test_a_target_that_is_not_there_ends_the_run_and_nothing_is_lost(tmp_path: Path, target: RunningServer) -> None:
    path = run_file(tmp_path, target, 'retry_for = "0s"\nconnect_timeout = "1s"\n')
    target.stop()
    with pytest.raises(TargetError) as failure:
        ran(path)
    assert failure.value.exit_code == 50
    assert (tmp_path / "work" / "merged.rdb").exists()


def test_the_target_is_looked_at_by_check(tmp_path: Path, target: RunningServer) -> None:
    look = look_of_file(read_run_file(run_file(tmp_path, target), {}))
    assert look.target is not None
    assert look.target.port == target.port
