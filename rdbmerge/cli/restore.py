"""The command `restore`: RDB files and rules in, their keys in a live server or cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rdbmerge.cli.files import refuse_existing_files, write_json
from rdbmerge.cli.options import (
    EXISTING,
    default_jobs,
    force_option,
    jobs_option,
    live_rules_options,
    quiet_option,
    report_option,
)
from rdbmerge.cli.output import say, show_failure, show_ledger, show_preflight, spent, talk, warn
from rdbmerge.cli.progress import bytes_progress
from rdbmerge.cli.restore_options import restore_options
from rdbmerge.cli.server_options import server_options, tunnels_for
from rdbmerge.cli.stopping import stoppable, stopping

if TYPE_CHECKING:
    from rdbmerge.plan.model import Plan, Rules
    from rdbmerge.preflight import PreflightCheck
    from rdbmerge.steps.restoring.report import RestoreReport

EPILOG = """\b
Example:
  rdbmerge restore merged.rdb redis://10.0.0.9:6379
  rdbmerge restore snapshots/ rediss://cache.example.com:6379 --ttl-offset 3h --on-conflict first
  rdbmerge restore merged.rdb redis://10.0.0.9 --on-busy replace --max-bandwidth 50MB
  rdbmerge restore merged.rdb redis://10.0.0.9 --dry-run

SOURCE is an RDB file, or a folder: its *.rdb files by name. TARGET is a server or any
node of a cluster: host:port, redis://, rediss:// (TLS), unix://, or the primary of
redis-sentinel://host:port,host:port/service. Values are sent as they are and re-encoded
only where the target's version needs it.

After a failure run the same command again: it goes on from where it was, which is kept in
FIRST-SOURCE.TARGET.restore.json. A key that may have been sent before is compared with
what is there. What the target refuses for good is
listed in FIRST-SOURCE.TARGET.rejected.jsonl. An ACL user needs +restore +info +time +ping
+select, +cluster|slots in a cluster, +function for libraries, +exists +dump +pttl to go
on, and for values above --big-key +del +unlink +type +rename +renamenx +pexpireat and
the commands that write them and tell their size."""


@click.command(epilog=EPILOG, short_help="Restore RDB files into a live server or cluster.")
@click.argument("sources", nargs=-1, required=True, type=EXISTING, metavar="SOURCE...")
@click.argument("address", metavar="TARGET")
@restore_options
@live_rules_options
@server_options
@click.option("--dry-run", is_flag=True, help="Show the plan and what is found at the target, and stop.")
@report_option
@force_option
@jobs_option
@quiet_option
def restore(sources: tuple[Path, ...], address: str, server: Any, report: Path | None, force: bool, **how: Any) -> int:
    """Restore RDB files into a live server or cluster, each key once."""
    from rdbmerge.reach.server import Server
    from rdbmerge.snapshot.segment import find_rdb_files

    refuse_existing_files(report, force=force)
    done = _restore(find_rdb_files(sources), Server.parse(address, **server), force=force, **how)
    write_json(report, done.model_dump_json(indent=2))
    return _show_end(done)


def _restore(
    files: Sequence[Path], target: Any, *, rules: Rules, dry_run: bool, jobs: int | None, quiet: bool, force: bool,
    how: dict[str, Any],
) -> RestoreReport:  # fmt: skip
    from rdbmerge.steps.restore import restore as restore_all
    from rdbmerge.steps.restoring.report import RestoreOptions

    options = RestoreOptions(force=force, **how)
    with (
        stoppable() as stop,
        tunnels_for([target], connect_timeout_s=options.connect_timeout_s, stop=stop) as tunnels,
        bytes_progress(quiet, lines=True) as progress,
    ):
        return restore_all(
            files,
            target,
            rules,
            options,
            tunnels=tunnels,
            now_ms=lambda: time.time_ns() // 1_000_000,
            jobs=jobs or default_jobs(),
            dry_run=dry_run,
            on_plan=_show_plan,
            progress=_in_phases(progress, stopping(progress, stop)),
            say=talk,
            stop=stop,
        )


def _in_phases(restoring: Callable[[Any], None] | None, before: Callable[[Any], None]) -> Callable[[Any], None]:
    """What is sent may only end where its fate is known, so the restore looks itself whether it is to stop."""

    def tell(status: Any) -> None:
        if status.phase != "restore":
            before(status)
        elif restoring:
            restoring(status)

    return tell


def _show_plan(plan: Plan, checks: Sequence[PreflightCheck]) -> None:
    show_preflight(checks)
    say()
    show_ledger(plan.ledger(), done="To restore")
    for warning in plan.warnings:
        warn(warning)


def _show_end(report: RestoreReport) -> int:
    say()
    if report.restore_s is None:
        say(f"dry run: nothing was sent; {report.keys:,} keys would be restored into {report.target}")
        return 0
    show_ledger(report.ledger, done="Restored")
    say()
    line = f"{report.restored:,} keys are in {report.target}"
    if report.expired_meanwhile:
        line += f"; {report.expired_meanwhile:,} expired since their snapshot"
    say(line)
    if report.libraries:
        say(f"function libraries: {', '.join(report.libraries)}")
    for name in report.libraries_left_out:
        warn(f"function library {name} was left as it is in the target")
    for path in report.lists:
        talk(f"{path} lists what is in conflict, or does not fit")
    if report.done_before:
        talk(
            f"{report.done_before:,} of them had been dealt with by an earlier run; --force does not look at that and"
            " begins anew"
        )
    talk(f"Planned in {spent(report.plan_s)}, restored in {spent(report.restore_s)}")
    if report.refused:
        show_failure(
            f"{report.target} refused {report.refused:,} keys; they are listed in {report.rejected_file}",
            "see there why; restore them by --include-key when that is mended",
        )
    if report.evicted:
        show_failure(
            f"{report.target} evicted {report.evicted:,} keys meanwhile: it is too small, and some of these are gone",
            "give it more memory or maxmemory-policy noeviction, and restore again with --on-busy replace",
        )
    return report.exit_code
