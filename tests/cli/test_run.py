"""The command `run`, as its users see it."""

from __future__ import annotations

import signal
import stat
import subprocess
import time
from pathlib import Path

import pytest
from cli.running import command, run
from fakes.primary import FakePrimary, Hang
from steps.runs import two_files, write_run_file

pytestmark = pytest.mark.once


def cells(output: str) -> list[list[str]]:
    lines = [line for line in output.splitlines() if line and not line.startswith("─")]
    return [line.split() for line in lines]


def test_a_run_shows_what_it_did_and_again_that_nothing_is_left(tmp_path: Path) -> None:
    path = two_files(tmp_path)
    first = run("run", path)
    assert first.exit_code == 0
    rows = cells(first.stdout)
    assert rows[0] == ["Step", "Source", "Outcome", "Keys", "Size", "Duration", "Rate", "Why"]
    assert [row[:4] for row in rows[1:]] == [
        ["pull", "a", "kept", "-"], ["pull", "b", "kept", "-"],
        ["merge", "-", "done", "3"], ["verify", "-", "done", "3"],
    ]  # fmt: skip
    assert f"the report is {tmp_path / 'work' / 'report.json'}" in first.stderr
    assert stat.S_IMODE((tmp_path / "work" / "report.json").stat().st_mode) == 0o600
    again = run("run", path, "-q")
    assert [row[2] for row in cells(again.stdout)[1:]] == ["kept"] * 4
    assert "merge ..." not in again.stderr


def test_a_dry_run_leaves_no_folder(tmp_path: Path) -> None:
    done = run("run", two_files(tmp_path), "--dry-run")
    assert done.exit_code == 0
    assert "dry run: nothing was done" in done.stdout
    assert not (tmp_path / "work").exists()


def test_steps_are_chosen_by_from_and_until(tmp_path: Path) -> None:
    path = two_files(tmp_path)
    assert "verify" not in run("run", path, "--until", "merge").stdout
    assert "asked for" in run("run", path, "--from", "merge").stdout
    refused = run("run", path, "--from", "pull", "--keep-snapshots")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "--keep-snapshots and --from pull contradict each other" in refused.stderr
    assert run("run", path, "--until", "nothing").exit_code == 2


def test_mistakes_in_the_file_are_told_with_their_lines(tmp_path: Path) -> None:
    path = write_run_file(tmp_path, '[[source]]\nfil = "a.rdb"\n')
    done = run("run", path)
    assert done.exit_code == 2
    assert f"{path}:5: source.fil: is no key of this table; did you mean file?" in done.stderr
    assert "Try:   mend it; `rdbmerge init`" in done.stderr
    assert not (tmp_path / "work").exists()


def test_a_failure_tells_how_to_go_on(tmp_path: Path) -> None:
    path = two_files(tmp_path)
    path.write_text(path.read_text().replace('key_prefix = "b:"\n', ""))
    done = run("run", path)
    assert done.exit_code == 20
    assert [row[:3] for row in cells(done.stdout)[1:]] == [
        ["pull", "a", "kept"], ["pull", "b", "kept"], ["merge", "-", "failed"],
    ]  # fmt: skip
    assert f"what is done stays: `rdbmerge run {path}` goes on with merge" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_130(tmp_path: Path, number: signal.Signals) -> None:
    with FakePrimary({"INFO": [Hang()], "PSYNC": [Hang()]}) as primary:
        path = write_run_file(tmp_path, f'[[source]]\naddress = "127.0.0.1:{primary.port}"\n')
        with subprocess.Popen(
            command("run", path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as running:
            while not (tmp_path / "work" / "snapshots").exists():
                time.sleep(0.05)
            time.sleep(0.2)
            running.send_signal(number)
            _, said = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "stopped" in said
    assert "goes on with pull" in said
