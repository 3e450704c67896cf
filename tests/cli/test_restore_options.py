"""How a restore goes about it, as it is said on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli.running import run

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--timeout", "0"], "--timeout: must be more than 0"),
        (["--connect-timeout", "-5s"], "--connect-timeout: must be more than 0"),
        (["--retry-for", "-5s"], "--retry-for: cannot be negative"),
        (["--max-latency", "-5ms"], "--max-latency: cannot be negative"),
        (["--big-key", "0"], "--big-key: must be more than 0"),
        (["--max-bandwidth", "0"], "--max-bandwidth: must be more than 0"),
        (["--max-bandwidth", "fast"], "--max-bandwidth: 'fast' is not a size"),
        (["--on-busy", "merge"], "'merge' is not one of"),
        (["--connections", "0"], "0 is not in the range"),
        (["--max-qps", "0"], "0 is not in the range"),
    ],
)
def test_what_cannot_be_is_named_with_its_option(words: list[str], said: str, tmp_path: Path) -> None:
    result = run("restore", tmp_path / "a.rdb", "redis://127.0.0.1:1", *words)
    assert result.exit_code == 2
    assert said in result.stderr


@pytest.mark.parametrize("address", ["http://host", "redis://host/3", "host:port"])
def test_what_is_no_target_is_told(address: str, tmp_path: Path) -> None:
    (tmp_path / "a.rdb").write_bytes(b"")
    result = run("restore", tmp_path / "a.rdb", address)
    assert result.exit_code == 2
    assert "target address" in result.stderr or "dbs of a server" in result.stderr


def test_a_file_that_is_not_there_is_told_before_anybody_is_asked(tmp_path: Path) -> None:
    result = run("restore", tmp_path / "none.rdb", "redis://127.0.0.1:1")
    assert result.exit_code == 2
    assert "is not there" in result.stderr
