"""The command `check`, as its users see it."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.running import run
from realservers import RunningServer, need, running
from steps.runs import two_files

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running(need("redis-7.0")) as one:
        yield one


def test_lines_by_part_and_a_report(server: RunningServer, tmp_path: Path) -> None:
    report = tmp_path / "r.json"
    done = run(
        "check", f"orders=127.0.0.1:{server.port}", "--dir", tmp_path / "s", "--target", "redis-6.2", "--report", report
    )
    assert done.exit_code == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.endswith(":")] == ["sources:", "disk:", "target:"]
    assert "OK       orders: server" in done.stdout
    assert done.stderr.endswith(" OK, 0 WARNING, 0 FAILED\n")
    assert json.loads(report.read_text())["parts"].keys() == {"sources", "disk", "target"}
    assert stat.S_IMODE(report.stat().st_mode) == 0o600


def test_a_failed_line_is_the_exit_code(server: RunningServer) -> None:
    done = run("check", "127.0.0.1:1", f"127.0.0.1:{server.port}")
    assert done.exit_code == 30
    assert "FAILED   127.0.0.1-1: server" in done.stdout
    assert "-> check the port" in done.stdout
    assert run("check", "--target", "redis://127.0.0.1:1").exit_code == 50


def test_a_run_file_and_more(server: RunningServer, tmp_path: Path) -> None:
    path = two_files(tmp_path)
    done = run("check", path, f"more=127.0.0.1:{server.port}", "--target", f"127.0.0.1:{server.port}")
    assert done.exit_code == 0, done.stderr
    assert "a: file" in done.stdout
    assert "more: server" in done.stdout
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing to look at is named"),
        (["a.toml", "b.toml"], "two run files are given"),
        (["h", "--target", "redis-1"], "'redis-1' is no target that is known"),
        (["none.toml"], "cannot read the run file none.toml"),
    ],
)
def test_what_cannot_be_asked(arguments: list[str], said: str) -> None:
    done = run("check", *arguments)
    assert done.exit_code == 2
    assert said in done.stderr


def test_a_bucket_is_looked_at(bucket: str) -> None:
    done = run("check", "--bucket", f"s3://{bucket}/m.rdb")
    assert done.exit_code == 0, done.stdout
    assert done.stdout.startswith("bucket:\n")
    assert run("check", "--bucket", f"s3://{bucket}-other/m.rdb").exit_code == 40
