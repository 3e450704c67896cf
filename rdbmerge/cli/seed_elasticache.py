"""The command `seed-elasticache`: uploaded files in, a request with its preflight out; with --execute, a cache."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rdbmerge.cli.files import refuse_existing_files, write_json
from rdbmerge.cli.options import (
    EXISTING,
    SECONDS,
    default_jobs,
    force_option,
    jobs_option,
    quiet_option,
    report_option,
    with_all,
)
from rdbmerge.cli.output import say, show_failure, show_preflight, spent, talk
from rdbmerge.cli.progress import sum_progress
from rdbmerge.cli.seed_options import cache_options
from rdbmerge.cli.stopping import stoppable, stopping
from rdbmerge.cli.store_options import URL, access_options
from rdbmerge.errors import RdbMergeError, UsageError
from rdbmerge.units import format_duration_ms, format_instant

if TYPE_CHECKING:
    from rdbmerge.steps.seed import SeedReport
    from rdbmerge.stores.base import ObjectUrl, S3Access
    from rdbmerge.targets.request import SeedOptions
    from rdbmerge.targets.waiting import Waiting, WaitLimits

EPILOG = """\b
Example:
  rdbmerge seed-elasticache s3://bucket/merged.rdb --replication-group-id sessions \\
      --engine valkey --engine-version 8.1 --node-type cache.r7g.large
  rdbmerge seed-elasticache s3://bucket/merged.rdb --replication-group-id sessions \\
      --engine valkey --engine-version 8.1 --node-type cache.r7g.large --shards 3 --replicas 1 \\
      --from-file request.toml --execute --report seed.json
  rdbmerge seed-elasticache s3://bucket/merged.rdb --serverless-cache-name sessions \\
      --engine valkey --engine-version 8

Without --execute the request and the preflight are shown and nothing is made. A seeded cache
is always a new one. The request file (TOML, or JSON in *.json) holds whatever else the API
takes, under the API's names: PreferredMaintenanceWindow = "sun:03:00-sun:04:00". Options win.

Ctrl-C ends the waiting, not the creation: the same command goes on waiting for a cache that
it made of the same files. rdbmerge never deletes a cache; after a failure it prints the
command that does. Exit code 50: a check FAILED, or the creation did."""

_LINE_EVERY_S = 60.0


def _wait_options(command: Callable[..., Any]) -> Callable[..., Any]:
    return with_all(
        command,
        [
            click.option("--execute", is_flag=True, help="Create it, and wait until it is there."),
            click.option("--no-wait", is_flag=True, help="With --execute: do not wait."),
            click.option("--wait-timeout", type=SECONDS, default="2h", show_default=True, help="How long to wait."),
            click.option("--poll", type=SECONDS, default="20s", show_default=True, help="Look so often."),
        ],
    )


@click.command("seed-elasticache", epilog=EPILOG, short_help="Make a managed cache of AWS out of uploaded files.")
@click.argument("urls", nargs=-1, required=True, type=URL, metavar="s3://BUCKET/KEY...")
@cache_options
@click.option("--from-file", type=EXISTING, metavar="FILE", help="More parameters of the request, as the API has them.")
@click.option(
    "--rdb", "files", type=EXISTING, multiple=True, metavar="FILE",
    help="The file that was uploaded, to be checked instead of what the object tells.",
)  # fmt: skip
@_wait_options
@access_options
@click.option("--cache-endpoint-url", metavar="URL", help="Of a stand-in for ElastiCache or MemoryDB.")
@report_option
@force_option
@jobs_option
@quiet_option
def seed_elasticache(
    urls: tuple[ObjectUrl, ...], wanted: SeedOptions, from_file: Path | None, files: tuple[Path, ...], execute: bool,
    no_wait: bool, wait_timeout: float, poll: float, access: S3Access, cache_endpoint_url: str | None,
    report: Path | None, force: bool, jobs: int | None, quiet: bool,
) -> int:  # fmt: skip
    """Make an ElastiCache or MemoryDB cache out of RDB files in S3."""
    from rdbmerge.steps.seed import plan_seed, seed
    from rdbmerge.targets.request import read_request_file

    refuse_existing_files(report, force=force)
    limits = _limits(wait_timeout, poll)
    with stoppable() as stop, sum_progress(quiet, "look", (*files, *files)) as progress:
        plan = plan_seed(
            wanted, urls, access=access, endpoint_url=cache_endpoint_url, files=files, jobs=jobs or default_jobs(),
            beneath=None if from_file is None else read_request_file(from_file), progress=stopping(progress, stop),
            stop=stop,
        )  # fmt: skip
        done = plan.report()
        _show_plan(done)
        write_json(report, done.model_dump_json(indent=2))
        if execute:
            lines = WaitingLines(quiet)
            with _reporting(done, report):
                done = seed(plan, now_ms=_now_ms, limits=limits, wait=not no_wait, progress=lines, stop=stop)
    write_json(report, done.model_dump_json(indent=2))
    _show_end(done, execute)
    return done.exit_code


@contextmanager
def _reporting(planned: SeedReport, path: Path | None) -> Iterator[None]:
    """A failure that ends the command is in its report, too."""
    try:
        yield
    except RdbMergeError as error:
        planned.outcome, planned.error, planned.remedy = "failed", str(error), error.remedy
        write_json(path, planned.model_dump_json(indent=2))
        raise


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _limits(wait_timeout: float, poll: float) -> WaitLimits:
    from rdbmerge.targets.waiting import WaitLimits

    if wait_timeout <= 0 or poll <= 0:
        raise UsageError("--wait-timeout and --poll: must be more than 0", remedy="write them as 2h and 20s")
    return WaitLimits(timeout_s=wait_timeout, poll_s=poll, jitter_s=min(poll / 4, 10.0))


def _show_plan(report: SeedReport) -> None:
    say(f"{report.kind} {report.name} in {report.region}, from {', '.join(report.objects)}:")
    say(json.dumps(report.request, indent=2))
    say()
    show_preflight(report.checks)


class WaitingLines:
    """A line on stderr whenever something changes, and once a minute."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._said = ""
        self._next_s = 0.0

    def __call__(self, waiting: Waiting) -> None:
        """Say how it stands."""
        text = waiting.trouble or str(waiting.standing or "not to be seen yet")
        if self._quiet or (text == self._said and waiting.elapsed_s < self._next_s):
            return
        self._said, self._next_s = text, waiting.elapsed_s + _LINE_EVERY_S
        talk(f"{format_duration_ms(int(waiting.elapsed_s) * 1_000):>7}  {text}")


def _show_end(report: SeedReport, execute: bool) -> None:
    for at_ms, source, message in report.events:
        say(f"{format_instant(at_ms)}  {source}  {message}")
    if report.error:
        show_failure(report.error, report.remedy)
        talk(f"To remove it: {report.clean_up}")
    elif report.outcome == "available":
        say(f"{report.name} is available at {report.endpoint} ({spent(report.duration_s)})")
    elif report.outcome == "creating":
        say(f"{report.name} is being created; the same command without --no-wait waits for it")
    elif not execute:
        talk("Nothing was created: give --execute to do so")
