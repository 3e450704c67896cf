"""The command `check`: sources, a folder, a bucket, a target in; one line a question out, before the work."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rdbmerge.cli.files import refuse_existing_files, write_json
from rdbmerge.cli.options import EXISTING, force_option, report_option
from rdbmerge.cli.output import say, show_preflight, talk
from rdbmerge.cli.server_options import tunnels_for
from rdbmerge.cli.source_options import parse_sources, source_options
from rdbmerge.cli.stopping import stoppable
from rdbmerge.cli.store_options import URL, access_options, service_option
from rdbmerge.errors import UsageError

if TYPE_CHECKING:
    from rdbmerge.replication.limits import PullLimits
    from rdbmerge.replication.source import SourceOptions
    from rdbmerge.steps.check import CheckReport, Look
    from rdbmerge.stores.base import ObjectUrl, S3Access

EPILOG = """\b
Example:
  rdbmerge check migration.toml
  rdbmerge check 10.0.0.1:6379 10.0.0.2:6379 --dir snapshots/
  rdbmerge check @sources.txt --target elasticache-valkey-8.1 --bucket s3://seeds/merged.rdb
  rdbmerge check 10.0.0.1:6379 --target redis://10.0.0.9:6379

SOURCE is as for pull. A run file (.toml) brings its own sources, folder, bucket and target.
Only reads: no snapshot is asked for, nothing is written. Exit code: 0 without a FAILED
line; else 30 for sources, 2 for disks, 40 for the bucket, 50 for the target, the first
of these that failed."""


@click.command(epilog=EPILOG, short_help="Look whether everything is ready, before a maintenance window.")
@click.argument("words", nargs=-1, metavar="[FILE.toml] [SOURCE...|@FILE]")
@click.option("--dir", "folder", type=EXISTING, help="Folder for the snapshots: is there room?")
@click.option(
    "--target", metavar="NAME|SERVER", help="What is to get the data: one of `rdbmerge targets`, or a live server."
)
@click.option("--bucket", type=URL, metavar="s3://BUCKET/KEY", help="Where the merged file is to be uploaded.")
@service_option
@access_options
@source_options
@report_option
@force_option
def check(
    words: tuple[str, ...], folder: Path | None, target: str | None, bucket: ObjectUrl | None, service: str,
    access: S3Access, options: SourceOptions, limits: PullLimits, report: Path | None, force: bool,
) -> int:  # fmt: skip
    """Look at sources, disks, bucket and target, and change nothing."""
    from rdbmerge.steps.check import check as check_all
    from rdbmerge.steps.upload import check_bucket

    refuse_existing_files(report, force=force)
    look, timeout_s = _look(words, options, folder, target), limits.connect_timeout_s
    if bucket is not None:
        look = replace(look, bucket=partial(check_bucket, bucket, access=access, service=service))
    _refuse_nothing(look)
    servers = [one for one in (*(asked.server for asked in look.sources), look.target) if one is not None]
    with stoppable() as stop, tunnels_for(servers, connect_timeout_s=timeout_s, stop=stop) as tunnels:
        done = check_all(look, tunnels=tunnels, timeout_s=timeout_s, now_ms=_now_ms, stop=stop)
    write_json(report, done.model_dump_json(indent=2))
    _show(done)
    return done.exit_code


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _look(words: Sequence[str], options: SourceOptions, folder: Path | None, target: str | None) -> Look:
    """What is asked for: by a run file, if there is one, and by the other arguments."""
    from rdbmerge.steps.check import Asked, Look
    from rdbmerge.steps.check_file import look_of_file
    from rdbmerge.steps.run_file import read_run_file

    files = [word for word in words if word.endswith(".toml")]
    if len(files) > 1:
        raise UsageError("two run files are given", remedy="give one")
    named = parse_sources([word for word in words if word not in files], options)
    look = look_of_file(read_run_file(Path(files[0]), os.environ)) if files else Look()
    look = replace(look, sources=[*look.sources, *(Asked(one.name, one) for one in named)])
    if folder is not None:
        look = replace(look, snapshots=folder)
    if target is not None:
        look = replace(look, **_target(target, options))
    return look


def _refuse_nothing(look: Look) -> None:
    if not look.sources and all(one is None for one in (look.snapshots, look.bucket, look.profile, look.target)):
        raise UsageError("nothing to look at is named", remedy="name a run file, sources, --dir, --bucket or --target")


def _target(text: str, options: SourceOptions) -> dict[str, Any]:
    """A name of a target, else the address of a server, which gets the credentials of the options."""
    from rdbmerge.plan.profile import find_profile
    from rdbmerge.reach.server import Server, ServerOptions

    if ":" not in text:
        return {"profile": find_profile(text)}
    known = ServerOptions.__annotations__
    return {"target": Server.parse(text, **{name: value for name, value in options.items() if name in known})}


def _show(report: CheckReport) -> None:
    for part, checks in report.parts.items():
        say(f"{part}:")
        show_preflight(checks)
        say()
    counts = Counter(str(one.outcome) for checks in report.parts.values() for one in checks)
    talk(", ".join(f"{counts[name]} {name}" for name in ("OK", "WARNING", "FAILED")))
