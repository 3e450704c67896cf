"""What holds for every command: help, versions, messages, exit statuses."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli.running import COMMANDS, command, process, run

from rdbmerge import __version__
from rdbmerge.format import core


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str) -> None:
    result = run(name, "--help")
    assert result.exit_code == 0
    assert "Example:" in result.stdout
    assert re.search(rf"^ +rdbmerge {name}\b", result.stdout.split("Example:")[1], re.MULTILINE)
    assert run(name, "-h").stdout == result.stdout


def test_the_help_shows_all_commands_in_the_order_of_their_use_and_the_exit_codes() -> None:
    text = run("--help").stdout
    places = [text.index(f"\n  {name} ") for name in COMMANDS]
    assert places == sorted(places)
    assert "30 source" in text
    assert "..." not in text.split("Commands:")[1].split("Example:")[0]


def test_the_version_says_which_core_is_loaded() -> None:
    kind = "compiled" if core.COMPILED else "interpreted"
    assert re.fullmatch(rf"rdbmerge {__version__} \({kind} core, Python [\d.]+\)\n", run("--version").stdout)


@pytest.mark.once
def test_help_is_quick_and_loads_nothing_heavy() -> None:
    probe = "import sys; from rdbmerge.cli import main\ntry: main(['merge', '--help'])\nexcept SystemExit: pass\n"
    probe += "print([n for n in ('numpy', 'redis', 'rich', 'pydantic', 'anycrc') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")
    best = 9.0
    for _ in range(3):
        began = time.monotonic()
        process("--help")
        best = min(best, time.monotonic() - began)
    assert best < 1  # 0.1 s when idle; this machine may not be


@pytest.mark.parametrize(
    ("arguments", "stderr"),
    [
        (["nope"], "Error: no such command 'nope'\nTry:   rdbmerge --help\n"),
        (["pull"], "Error: missing option '--dir'\nTry:   rdbmerge pull --help\n"),
        (["pull", "--dir", "x"], "Error: no sources are named\nTry:   name at least one, as host:port or @file\n"),
        (["split"], "Error: missing argument 'FILE'\nTry:   rdbmerge split --help\n"),
        (["pull", "a"], "Error: missing option '--dir'\nTry:   rdbmerge pull --help\n"),
        (
            ["pull", "a", "--dirr", "x"],
            "Error: no such option '--dirr'\nTry:   --dir; all options: rdbmerge pull --help\n",
        ),
        (["inspect", "x.rdb", "--top", "-1"], None),
        (["merge", "x", "-o", "y", "--on-conflict", "newest"], None),
    ],
)
def test_a_wrong_command_line_is_told_in_two_lines(arguments: list[str], stderr: str | None) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert stderr is None or result.stderr == stderr
    assert re.fullmatch(r"Error: .+\nTry:   .+\n", result.stderr)


def test_without_a_command_the_help_is_shown() -> None:
    result = run()
    assert result.exit_code == 2
    assert "Commands:" in result.stderr


@pytest.mark.once
def test_a_failure_ends_the_process_with_its_code_and_shows_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "x.rdb").write_bytes(b"no RDB at all")
    done = process("inspect", "x.rdb", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (10, "")
    assert done.stderr.startswith("Error: x.rdb at byte 0: not an RDB file")
    assert "Traceback" not in done.stderr


@pytest.mark.once
def test_a_debugger_gets_the_traceback(tmp_path: Path) -> None:
    done = process("--debug", "merge", "nope", "-o", "x", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: nope is not there\nTry:   check the path\nTraceback")


def test_a_defect_asks_to_be_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # The one thing that cannot be provoked from outside: something that nobody thought of.
    monkeypatch.setattr("rdbmerge.snapshot.segment.find_rdb_files", lambda _paths: 1 / 0)
    result = run("inspect", tmp_path)
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: unexpected ZeroDivisionError: division by zero\n"
        "Try:   report this with the traceback that RDBMERGE_DEBUG=1 (or --debug) shows\n"
    )


@pytest.mark.once
def test_a_reader_that_leaves_early_is_no_failure(golden: Path) -> None:
    path = golden / "7.0.15" / "all_types.rdb"
    writer = subprocess.Popen(
        command("inspect", path, "--json", "--top", "5000"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert writer.stdout is not None
    assert writer.stderr is not None
    writer.stdout.read(1)
    writer.stdout.close()
    assert writer.stderr.read() == b""
    writer.stderr.close()
    assert writer.wait(30) == 0
