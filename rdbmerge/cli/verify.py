"""The command `verify`: a merged file and what it was made of in, a verdict with its reasons out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rdbmerge.cli.files import refuse_existing_files, write_json
from rdbmerge.cli.live_options import live_options
from rdbmerge.cli.options import (
    EXISTING,
    default_jobs,
    force_option,
    jobs_option,
    quiet_option,
    report_option,
    rules_options,
    shards_options,
)
from rdbmerge.cli.progress import sum_progress
from rdbmerge.cli.stopping import stoppable, stopping
from rdbmerge.cli.verdict import show_report
from rdbmerge.errors import UsageError, VerifyError

if TYPE_CHECKING:
    from rdbmerge.cli.live_options import Live
    from rdbmerge.plan.model import Rules

EPILOG = """\b
Example:
  rdbmerge verify merged.rdb --against snapshots/ --ttl-offset 3h
  rdbmerge verify merged.rdb --against a.rdb b.rdb --on-conflict first --level full
  rdbmerge verify merged.rdb --against plan.json --witness server --report verify.json
  rdbmerge verify merged.*.rdb --against snapshots/ --shards 3
  rdbmerge verify merged.rdb --live rediss://cache.example:6379

Give the rules that the merge was given, in other words: an outside declaration of what the
file should be. A plan brings its own. The merged file is read again by code that does not
share the writer's. counts: structure, CRC-64, keys per db; digest: also every key, type,
value and expiry, by 128-bit digests; full: also entry by entry, byte by byte, and every
value decoded. Values that were re-encoded for a target are compared by what they mean.

With --live a server or cluster is asked for every entry of the files (SCAN, DUMP, PTTL; no
CONFIG, DEBUG or KEYS), or of --against with its rules or plan: missing and unexpected keys,
types, values by what they mean, expiries. Keys whose time has come since are no difference.

A witness is another program: rdbtools (up to RDB 9) or a scratch server that loads the file.
Exit code 22 means that there are differences."""


class _SeveralAgainst(click.Command):
    """Lets one --against take all the paths up to the next option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        out: list[str] = []
        taking = False
        for number, argument in enumerate(args):
            if argument.startswith("-") and argument != "-":
                taking = argument == "--against"
                out.append(argument)
            elif taking and args[number - 1] != "--against":
                out += ["--against", argument]
            else:
                out.append(argument)
        return super().parse_args(ctx, out)


@click.command(cls=_SeveralAgainst, epilog=EPILOG, short_help="Prove a merged file, or show where it is wrong.")
@click.argument("merged", nargs=-1, type=EXISTING, metavar="MERGED...")
@click.option(
    "--against",
    type=EXISTING,
    multiple=True,
    metavar="FILES|PLAN",
    help="The files or folders that were merged, in their order; or the plan.",
)
@rules_options
@shards_options
@click.option(
    "--level",
    type=click.Choice(("counts", "digest", "full")),
    default="digest",
    show_default=True,
    help="How much is compared; see below.",
)
@click.option(
    "--witness",
    type=click.Choice(("rdbtools", "server", "none")),
    default="none",
    show_default=True,
    help="Another program to ask.",
)
@click.option("--witness-server", type=EXISTING, metavar="BINARY", help="The redis-server or valkey-server to ask.")
@live_options
@report_option
@force_option
@jobs_option
@quiet_option
def verify(
    merged: tuple[Path, ...], against: tuple[Path, ...], rules: Rules, report: Path | None, force: bool,
    jobs: int | None, quiet: bool, live: Live | None, **how: Any,
) -> int:  # fmt: skip
    """Prove that MERGED is what the files give under the rules, or that a live server holds it; or show where not."""
    from rdbmerge.plan.model import Rules as AllRules
    from rdbmerge.steps.verify import verify as verify_all

    refuse_existing_files(report, force=force)
    _refuse_missing(merged, against, live, how)
    if live is not None:
        return _compare(live, [*merged, *against], None if rules == AllRules() else rules, report, jobs, quiet)
    with stoppable() as stop, sum_progress(quiet, "verify", (*merged, *against)) as progress:
        done = verify_all(
            merged,
            against=against,
            rules=None if rules == AllRules() else rules,
            jobs=jobs or default_jobs(),
            progress=stopping(progress, stop),
            now_ms=time.time_ns() // 1_000_000,
            **how,
        )
    write_json(report, done.model_dump_json(indent=2))
    show_report(done)
    return 0 if done.verdict == "passed" else VerifyError.exit_code


def _refuse_missing(
    merged: tuple[Path, ...], against: tuple[Path, ...], live: Live | None, how: dict[str, Any]
) -> None:
    if live is None and not (merged and against):
        raise UsageError(
            "missing option '--against'" if merged else "missing argument 'MERGED...'",
            remedy="rdbmerge verify --help: a merged file and what was merged, or one of them and --live",
        )
    if live is None:
        return
    if bool(merged) == bool(against):
        raise UsageError(
            "--live compares one side with a server, and " + ("both are given" if merged else "no files are given"),
            remedy="give the merged file, or --against with the files that were merged and their rules, or a plan",
        )
    if how["shards"] is not None or how["witness"] != "none" or how["level"] != "digest":
        raise UsageError("--live takes no --shards, --slots, --level or --witness", remedy="leave them out")


def _compare(
    live: Live, files: list[Path], rules: Rules | None, report: Path | None, jobs: int | None, quiet: bool
) -> int:
    from rdbmerge.cli.live_verdict import show_live_report

    with stoppable() as stop, sum_progress(quiet, "compare", files) as progress:
        done = live.compare(
            files, rules, jobs=jobs or default_jobs(), now_ms=lambda: time.time_ns() // 1_000_000, progress=progress,
            stop=stop,
        )  # fmt: skip
    write_json(report, done.model_dump_json(indent=2))
    show_live_report(done)
    return 0 if done.verdict == "passed" else VerifyError.exit_code
