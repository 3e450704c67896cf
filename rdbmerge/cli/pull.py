"""The command `pull`: sources in, snapshots and their manifests in a folder out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rdbmerge.cli.files import refuse_existing_files, write_json
from rdbmerge.cli.options import EXISTING, quiet_option, report_option
from rdbmerge.cli.output import show_failure, show_table, spent, talk, warn
from rdbmerge.cli.progress import pull_progress
from rdbmerge.cli.server_options import tunnels_for
from rdbmerge.cli.source_options import parse_sources, source_options
from rdbmerge.cli.stopping import stoppable
from rdbmerge.units import format_bytes, format_instant

if TYPE_CHECKING:
    from rdbmerge.replication.limits import PullLimits
    from rdbmerge.replication.source import SourceOptions
    from rdbmerge.steps.pull import PullReport, SourceOutcome
    from rdbmerge.steps.pull_one import Via

EPILOG = """\b
Example:
  rdbmerge pull 10.0.0.1:6379 rediss://10.0.0.2:6380 --dir snapshots/
  rdbmerge pull @sources.txt --dir snapshots/ --jobs 8 --report pull.json
  rdbmerge pull rediss://cache.example:6379 --dir snapshots/ --via scan
  rdbmerge pull --cluster 10.0.0.1:7000 --dir snapshots/ --ssh ops@bastion --prefer-replica

SOURCE is host:port, redis://, rediss:// (TLS) or unix://, with user:password@ if it
needs one; redis-sentinel://host:port,host:port/service, whose primary is asked for; or
redis-cluster://host:port, any node: every primary is pulled, as NAME-SLOTS. @FILE names a
file with one SOURCE a line, where name=SOURCE gives a name, ssh=[USER@]HOST after it the
SSH server on the way, ${VARIABLE} stands for a value of the environment, # begins a comment.

Run the same command again after a failure: it pulls only what is missing or changed. A
snapshot stays when its file is whole and INFO shows that nothing was written since (same
replication id, and same offset or count of changes). Where INFO cannot tell, the source
is pulled again. Each pull makes its source fork once, as a replica that joins does; an
ACL user needs +psync +replconf +ping, and +info +time for the checks.

Where replication is forbidden, as in managed caches, --via scan takes SCAN, DUMP and the
expiries instead (+scan +dump +pttl +pexpiretime +time +select). What is written meanwhile
is in the file or not; the manifest says whether anything was. What is read so counts as
used, but for servers from Redis 7.2 on that allow CLIENT NO-TOUCH."""


@click.command(epilog=EPILOG)
@click.argument("sources", nargs=-1, metavar="SOURCE...|@FILE")
@click.option(
    "--cluster",
    "clusters",
    multiple=True,
    metavar="NODE",
    help="Pull every primary of the cluster that this node is of (the same as redis-cluster://).",
)
@click.option("--dir", "folder", type=EXISTING, required=True, help="Folder for the snapshots; made if need be (0700).")
@click.option(
    "--jobs", type=click.IntRange(1, 1024), metavar="N", default=8, show_default=True, help="Sources at once."
)
@click.option(
    "--jobs-per-host",
    type=click.IntRange(1, 1024),
    metavar="N",
    default=1,
    show_default=True,
    help="Sources at once of one machine: each forks, and may double its memory.",
)
@click.option(
    "--via",
    type=click.Choice(("replication", "scan")),
    default="replication",
    show_default=True,
    help="scan: ask for key after key where SYNC is forbidden; no snapshot of one moment.",
)
@source_options
@click.option("--force", is_flag=True, help="Pull every source, and replace the --report file.")
@report_option
@quiet_option
def pull(
    sources: tuple[str, ...],
    clusters: tuple[str, ...],
    folder: Path,
    jobs: int,
    jobs_per_host: int,
    via: Via,
    options: SourceOptions,
    limits: PullLimits,
    force: bool,
    report: Path | None,
    quiet: bool,
) -> int:
    """Pull a checked snapshot of every SOURCE into a folder."""
    from rdbmerge.steps.pull import pull as pull_all

    parsed = [*parse_sources(sources, options), *parse_sources(clusters, {**options, "cluster": True})]
    refuse_existing_files(report, force=force)
    with (
        stoppable() as stop,
        tunnels_for(parsed, connect_timeout_s=limits.connect_timeout_s, stop=stop) as tunnels,
        pull_progress(quiet) as progress,
    ):
        done = pull_all(
            parsed,
            folder,
            jobs=jobs,
            jobs_per_host=jobs_per_host,
            limits=limits,
            tunnels=tunnels,
            now_ms=_now_ms,
            force=force,
            progress=progress,
            stop=stop,
            via=via,
        )
    write_json(report, done.model_dump_json(indent=2))
    _show(done)
    return done.exit_code


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _show(report: PullReport) -> None:
    show_table(
        ("Source", "Server", "Outcome", ">Keys", ">Size", "Snapshot taken", "Written since"),
        [_row(one) for one in report.sources],
    )
    for one in report.sources:
        found = one.manifest.pulled.found if one.manifest and one.manifest.pulled else None
        if found and found.by == "sentinel":
            talk(f"{one.source}: pulled from {found.address}, its {found.role} by the sentinels")
        for warning in one.warnings:
            warn(f"{one.source}: {warning}")
    for warning in report.warnings:
        warn(warning)
    for one in report.sources:
        if one.outcome == "failed":
            show_failure(one.error, one.remedy)
    talk(_summary(report))


def _row(one: SourceOutcome) -> tuple[str, ...]:
    manifest, pulled = one.manifest, one.manifest.pulled if one.manifest else None
    outcome = "unchanged" if one.outcome == "skipped" else one.outcome
    if manifest is None or pulled is None:
        return one.source, "-", outcome, "-", "-", "-", "-"
    return (
        one.source,
        pulled.server_version or "?",
        outcome,
        f"{sum(manifest.keys_in_file.values()):,}",
        format_bytes(manifest.size_bytes),
        format_instant(manifest.snapshot_at_ms),
        {"quiet": "no", "written": "YES", "unknown": "?"}[pulled.written],
    )


def _summary(report: PullReport) -> str:
    counts = {name: sum(one.outcome == name for one in report.sources) for name in ("pulled", "skipped", "failed")}
    manifests = [one.manifest for one in report.sources if one.manifest]
    size = sum(manifest.size_bytes for manifest in manifests)
    keys = sum(sum(manifest.keys_in_file.values()) for manifest in manifests)
    again = "; run the same command again for what failed" if counts["failed"] else ""
    return (
        f"{counts['pulled']} pulled, {counts['skipped']} unchanged, {counts['failed']} failed:"
        f" {keys:,} keys, {format_bytes(size)} in {report.folder}"
        f" ({spent(report.duration_s)}){again}"
    )
