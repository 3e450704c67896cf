"""The command `run`: a run file in, the whole line done as far as it is not, a table of what was done out."""

from __future__ import annotations

import os
import shlex
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rdbmerge.cli.options import EXISTING, default_jobs, quiet_option
from rdbmerge.cli.output import say, show_table, spent, talk, warn
from rdbmerge.cli.progress import bytes_progress, pull_progress, sum_progress
from rdbmerge.cli.seed_elasticache import WaitingLines
from rdbmerge.cli.server_options import tunnels_for
from rdbmerge.cli.stopping import stoppable
from rdbmerge.errors import UsageError
from rdbmerge.units import format_bytes

if TYPE_CHECKING:
    from rdbmerge.reach.server import Server
    from rdbmerge.reach.tunnels import Tunnels
    from rdbmerge.steps.config import RunFile
    from rdbmerge.steps.run_report import RunLine, RunReport
    from rdbmerge.steps.stages.tools import RunTools

EPILOG = """\b
Example:
  rdbmerge init migration.toml
  rdbmerge run migration.toml --dry-run
  rdbmerge run migration.toml
  rdbmerge run migration.toml --from merge --until verify

Run it again after a failure, or after kill -9: what is done and still holds is kept. Each
source is asked whether it has changed since its snapshot, and pulled again if it has, or
cannot tell; --keep-snapshots goes on with those at hand. A step is done again when its
part of the run file, its sources or its files changed. Steps: pull, merge, verify, and
those that the run file has a table for. The report is in the work directory."""

_STEPS = ("pull", "merge", "verify", "upload", "seed", "restore")


@click.command(epilog=EPILOG, short_help="Do the whole line of a run file, or what is left of it.")
@click.argument("run_file", type=EXISTING, metavar="FILE")
@click.option("--until", "until_step", type=click.Choice(_STEPS), metavar="STEP", help="Stop after this step.")
@click.option(
    "--from", "from_step", type=click.Choice(_STEPS), metavar="STEP",
    help="Do this step and all after it, be they done or not; those before it must be done.",
)  # fmt: skip
@click.option("--keep-snapshots", is_flag=True, help="Pull only what is not at hand, whatever the sources say now.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and about how long it would take.")
@quiet_option
def run(
    run_file: Path, until_step: str | None, from_step: str | None, keep_snapshots: bool, dry_run: bool, quiet: bool
) -> None:
    """Pull, merge, verify, and what else FILE asks for, as far as it is not done."""
    from rdbmerge.snapshot.workdir import WorkDir
    from rdbmerge.steps.preview import preview
    from rdbmerge.steps.run import run as run_all
    from rdbmerge.steps.run_file import read_run_file

    if keep_snapshots and from_step == "pull":
        raise UsageError("--keep-snapshots and --from pull contradict each other", remedy="give one of them")
    file = read_run_file(run_file, os.environ)
    steps = {"from_step": from_step, "until_step": until_step}
    alone = nullcontext() if dry_run and not file.run.dir.exists() else WorkDir(file.run.dir).filling()
    servers: list[Server] = [server for one in file.source if (server := one.server())]
    servers += [] if file.restore is None else [file.restore.server()]
    timeout_s = file.pull.connect_timeout
    with stoppable() as stop, alone, tunnels_for(servers, connect_timeout_s=timeout_s, stop=stop) as tunnels:
        how = {"fresh": from_step == "pull", "keep_snapshots": keep_snapshots}
        tools = _tools(file, stop, tunnels, quiet=quiet, **how)
        if dry_run:
            _show(preview(tools, run_file=run_file, **steps))
            return
        report = run_all(
            tools,
            run_file=run_file,
            command=f"rdbmerge run {shlex.quote(str(run_file))}",
            on_failure=_show_lines,
            **steps,
        )
    _show(report)


def _tools(file: RunFile, stop: threading.Event, tunnels: Tunnels, *, quiet: bool, **how: bool) -> RunTools:
    from rdbmerge.snapshot.journal import Journal
    from rdbmerge.steps.run import folder_of
    from rdbmerge.steps.stages.tools import RunTools

    @contextmanager
    def progress(step: str, files: Sequence[Path]) -> Iterator[Any]:
        bars: dict[str, Callable[[], AbstractContextManager[Any]]] = {
            "pull": lambda: pull_progress(quiet),
            "verify": lambda: sum_progress(quiet, step, files),
            "upload": lambda: sum_progress(quiet, step, files, lines=True),
            "seed": lambda: nullcontext(WaitingLines(quiet)),
            "restore": lambda: bytes_progress(quiet, lines=True),
        }
        if not quiet and step != "scan":
            talk(f"{step} ...")
        with bars.get(step, lambda: bytes_progress(quiet))() as tell:
            yield tell

    folder = folder_of(file)
    return RunTools(
        file=file,
        folder=folder,
        journal=Journal(folder.path),
        jobs=file.run.jobs or default_jobs(),
        now_ms=lambda: time.time_ns() // 1_000_000,
        progress=progress,
        warn=warn,
        say=talk,
        stop=stop,
        tunnels=tunnels,
        **how,
    )


def _show_lines(report: RunReport) -> None:
    about = "About" if report.dry_run else "Duration"
    show_table(
        ("Step", "Source", "Outcome", ">Keys", ">Size", f">{about}", ">Rate", "Why"),
        [_row(line) for line in report.lines],
    )


def _show(report: RunReport) -> None:
    _show_lines(report)
    if report.dry_run:
        say(f"dry run: nothing was done; it would take about {spent(report.duration_s)}")
        return
    talk(f"All done in {spent(report.duration_s)}; the report is {report.folder}/report.json")


def _row(line: RunLine) -> tuple[str, ...]:
    rate = "-"
    if line.size_bytes and line.duration_s and line.duration_s >= 0.001:
        rate = f"{format_bytes(line.size_bytes / line.duration_s)}/s"
    return (
        line.step,
        line.source or "-",
        line.outcome,
        "-" if line.keys is None else f"{line.keys:,}",
        "-" if line.size_bytes is None else format_bytes(line.size_bytes),
        "-" if line.duration_s is None else spent(line.duration_s),
        rate,
        line.why,
    )
