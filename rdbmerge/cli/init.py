"""The command `init`: an example of a run file out, with every key there is."""

from __future__ import annotations

import os
from pathlib import Path

import click

from rdbmerge.cli.options import EXISTING
from rdbmerge.cli.output import talk
from rdbmerge.errors import DiskError, UsageError

EPILOG = """\b
Example:
  rdbmerge init
  rdbmerge init nightly.toml

The file (0600, for it may hold secrets) explains each key. Put in your servers, look with
`rdbmerge check FILE`, and `rdbmerge run FILE`."""


@click.command(epilog=EPILOG, short_help="Write an example of a run file, with every key.")
@click.argument("path", type=EXISTING, metavar="[FILE]", default="migration.toml")
def init(path: Path) -> None:
    """Write an example of a run file to FILE (migration.toml)."""
    from rdbmerge.steps.example import EXAMPLE

    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(EXAMPLE)
    except FileExistsError:
        raise UsageError(f"{path} exists", remedy="choose another name: nothing is replaced") from None
    except OSError as error:
        raise DiskError(f"cannot write {path}: {error.strerror}", remedy="choose another place for it") from error
    talk(f"{path} is written: put in your servers, then `rdbmerge check {path}` and `rdbmerge run {path}`")
