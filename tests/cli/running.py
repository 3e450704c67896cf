"""Runs the command line as its users do: in this process for speed, or as a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner, Result

from rdbmerge.cli import main

COMMANDS = (
    "init",
    "check",
    "pull",
    "inspect",
    "merge",
    "split",
    "verify",
    "upload-s3",
    "seed-elasticache",
    "restore",
    "targets",
    "run",
)


def run(*arguments: str | Path, **options: object) -> Result:
    """In this process; stdout and stderr apart, exit status in `exit_code`."""
    result = CliRunner().invoke(main, [str(one) for one in arguments], **options)  # type: ignore[arg-type]
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "rdbmerge", *(str(one) for one in arguments)]


def process(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload,no-any-return]
