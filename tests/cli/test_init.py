"""The command `init`, as its users see it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from cli.running import run

from rdbmerge.steps.example import EXAMPLE

pytestmark = pytest.mark.once


def test_the_example_is_written_for_the_user_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    old = os.umask(0o077)
    try:
        done = run("init")
        assert run("init", "n.toml").exit_code == 0
    finally:
        os.umask(old)
    assert (done.exit_code, done.stdout) == (0, "")
    assert "`rdbmerge check migration.toml`" in done.stderr
    assert Path("migration.toml").read_text() == Path("n.toml").read_text() == EXAMPLE
    assert stat.S_IMODE(Path("migration.toml").stat().st_mode) == 0o600


def test_nothing_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "m.toml"
    path.write_text("mine")
    done = run("init", path)
    assert (done.exit_code, path.read_text()) == (2, "mine")
    assert "exists" in done.stderr
    gone = run("init", tmp_path / "none" / "m.toml")
    assert gone.exit_code == 2
    assert "cannot write" in gone.stderr
