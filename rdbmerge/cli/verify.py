"""The command `verify`: a merged file and what it was made of in, a verdict with its reasons out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rdbmerge.cli.files import refuse_existing_files, write_json
from rdbmerge.cli.options import (
    EXISTING,
    default_jobs,
    force_option,
    jobs_option,
    quiet_option,
    report_option,
    rules_options,
)
from rdbmerge.cli.output import say, show_table, spent, talk, warn
from rdbmerge.cli.progress import sum_progress
from rdbmerge.cli.stopping import stoppable, stopping
from rdbmerge.errors import VerifyError

if TYPE_CHECKING:
    from rdbmerge.plan.model import Rules
    from rdbmerge.verify.report import VerifyReport

EPILOG = """\b
Example:
  rdbmerge verify merged.rdb --against snapshots/ --ttl-offset 3h
  rdbmerge verify merged.rdb --against a.rdb b.rdb --on-conflict first --level full
  rdbmerge verify merged.rdb --against plan.json --witness server --report verify.json

Give the rules that the merge was given, in other words: an outside declaration of what the
file should be. A plan brings its own. The merged file is read again by code that does not
share the writer's. counts: structure, CRC-64, keys per db; digest: also every key, type,
value and expiry, by 128-bit digests; full: also entry by entry, byte by byte.

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
@click.argument("merged", type=EXISTING)
@click.option(
    "--against",
    type=EXISTING,
    multiple=True,
    required=True,
    metavar="FILES|PLAN",
    help="The files or folders that were merged, in their order; or the plan.",
)
@rules_options
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
@report_option
@force_option
@jobs_option
@quiet_option
def verify(
    merged: Path, against: tuple[Path, ...], rules: Rules, report: Path | None, force: bool, jobs: int | None,
    quiet: bool, **how: Any,
) -> int:  # fmt: skip
    """Prove that MERGED is what the files give under the rules, or show where it is not."""
    from rdbmerge.plan.model import Rules as AllRules
    from rdbmerge.steps.verify import verify as verify_all

    refuse_existing_files(report, force=force)
    with stoppable() as stop, sum_progress(quiet, "verify", (merged, *against)) as progress:
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
    _show(done)
    return 0 if done.verdict == "passed" else VerifyError.exit_code


def _show(report: VerifyReport) -> None:
    _show_ledger(report)
    say()
    show_table(
        (">Db", ">Keys expected", ">found", ">With expiry expected", ">found", "Contents"),
        [
            (
                str(db.db),
                f"{db.expected_keys:,}",
                f"{db.found_keys:,}",
                f"{db.expected_expires:,}",
                f"{db.found_expires:,}",
                _same(db.expected_digest, db.found_digest),
            )
            for db in report.dbs
        ],
        title="In the merged file",
    )
    say()
    _show_checks(report)
    for warning in report.warnings:
        warn(warning)
    _show_differences(report)
    say()
    failed = ", ".join(check.name for check in report.failed_checks)
    say(f"{report.merged.path}: {report.verdict.upper()}{f' ({failed})' if failed else ''}")
    talk(f"Verified at level {report.level.value} in {spent(sum(report.durations_s.values()))}")


def _same(expected: str | None, found: str | None) -> str:
    return "not compared" if expected is None else "the same" if expected == found else "DIFFERENT"


def _show_ledger(report: VerifyReport) -> None:
    names = [
        name for name in ("expired", "filtered", "conflict_dropped") if any(getattr(x, name) for x in report.ledger)
    ]
    rows = []
    for line in report.ledger:
        moved = f"{line.db} -> {line.target_db}" if line.db != line.target_db else str(line.db)
        counts = [f"{getattr(line, name):,}" for name in ("read", *names, "expected")]
        rows.append((line.source, moved, *counts, "-" if line.found is None else f"{line.found:,}"))
    sums = [f"{sum(getattr(line, name) for line in report.ledger):,}" for name in ("read", *names, "expected")]
    found = [line.found for line in report.ledger if line.found is not None]
    rows.append(("total", "", *sums, f"{sum(found):,}" if len(found) == len(report.ledger) else "-"))
    left_out = [f">{name.replace('conflict_dropped', 'lost conflict').capitalize()}" for name in names]
    show_table(("Source", ">Db", ">Read", *left_out, ">Expected", ">Found"), rows, total=True)


def _show_checks(report: VerifyReport) -> None:
    words = {True: "ok", False: "FAILED", None: "not asked"}
    for check in report.checks:
        say(
            f"{words[check.ok]:<9} {check.name}: {check.detail}"
            if check.detail
            else f"{words[check.ok]:<9} {check.name}"
        )
        if check.ok:
            say(f"{'':<9} proves {check.proves}")
            say(f"{'':<9} not {check.does_not_prove}")


def _show_differences(report: VerifyReport) -> None:
    if not report.differences:
        return
    say()
    rows = [(one.kind, str(one.db), one.key, one.source or "-", one.expected, one.found) for one in report.differences]
    more = report.differences_total - len(rows)
    title = f"Differences: {report.differences_total:,}{f', the first {len(rows):,} of them' if more else ''}"
    show_table(("Kind", ">Db", "Key", "Source", "Expected", "Found"), rows, title=title)
