"""What `merge` and `split` have in common: one run of a merge, its plan and its end shown."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rdbmerge.cli.files import refuse_existing_files, write_json
from rdbmerge.cli.objects import show_checks, show_right
from rdbmerge.cli.options import default_jobs
from rdbmerge.cli.output import say, show_ledger, show_table, spent, talk, warn
from rdbmerge.cli.progress import bytes_progress
from rdbmerge.cli.stopping import stoppable, stopping
from rdbmerge.errors import UsageError
from rdbmerge.units import format_bytes, format_duration_ms, format_instant

if TYPE_CHECKING:
    from rdbmerge.plan.model import Plan, Rules
    from rdbmerge.plan.sharding import Slots
    from rdbmerge.steps.merge_run import MergeReport
    from rdbmerge.steps.merge_to_store import StoreOutput


def merge_and_show(
    sources: Sequence[Path],
    rules: Rules,
    shards: Sequence[Slots] | None,
    *,
    output: Path | None,
    store: StoreOutput | None,
    dry_run: bool,
    plan_file: Path | None,
    report: Path | None,
    force: bool,
    jobs: int | None,
    quiet: bool,
) -> None:
    """Merge `sources` into `output` or `store`, or into one file a shard; see `steps.merge_run.run_merge`."""
    from rdbmerge.steps.merge import output_paths
    from rdbmerge.steps.merge_run import run_merge

    if output is None and store is None and not dry_run:
        raise UsageError("no output is named", remedy="give one with -o, or look at the plan with --dry-run")
    if shards is not None:
        refuse_existing_files(output, force=True)  # only names are made of it: it may exist, but be no folder
    outputs = [] if output is None else output_paths(output, shards)
    refuse_existing_files(*([] if dry_run else outputs), plan_file, report, force=force)
    files = _files(sources, outputs)
    if store is not None:
        store = dataclasses.replace(store, on_checks=partial(show_checks, quiet=quiet))
    with stoppable() as stop, bytes_progress(quiet, lines=store is not None) as progress:
        done = run_merge(
            files,
            output,
            rules,
            now_ms=time.time_ns() // 1_000_000,
            jobs=jobs or default_jobs(),
            shards=shards,
            dry_run=dry_run,
            force=force,
            store=store,
            on_plan=lambda plans: _take_plans(plans, plan_file),
            progress=stopping(progress, stop),
            stop=stop,
        )
    write_json(report, done.model_dump_json(indent=2))
    _show_end(done)


def _files(sources: Sequence[Path], outputs: Sequence[Path]) -> list[Path]:
    """The files to merge; an earlier output within a folder that is named is not one of them."""
    from rdbmerge.snapshot.segment import find_rdb_files

    found = find_rdb_files(sources)
    ours = {output.resolve() for output in outputs}
    files = [path for path in found if path.resolve() not in ours]
    for output in outputs:
        if output in sources or not files:
            raise UsageError(f"{output} is both a source and the output", remedy="choose another name with -o")
    return files


def _take_plans(plans: Sequence[Plan], plan_file: Path | None) -> None:
    """Show and save them, before a byte is written."""
    from rdbmerge.ledger import balanced

    texts = [plan.model_dump_json(indent=2) for plan in plans]
    write_json(plan_file, texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]")
    show_table(
        ("Source", "Version", "Snapshot taken", "Known by", "TTL offset", ">Size"),
        [
            (
                source.name,
                source.magic,
                format_instant(source.snapshot_at_ms),
                source.snapshot_at_from,
                format_duration_ms(source.ttl_offset_ms),
                format_bytes(source.size_bytes),
            )
            for source in plans[0].sources
        ],
    )
    say()
    show_ledger(balanced([plan.ledger() for plan in plans]))
    say()
    if plans[0].rules.slots is None:
        _show_dbs(plans[0])
    else:
        _show_shards(plans)
    for warning in plans[0].warnings:
        warn(warning)


def _show_dbs(plan: Plan) -> None:
    rows = [(f"db {db.db}", f"{db.keys:,}", f"{db.expires:,}") for db in plan.dbs]
    rows.append(("all", f"{plan.keys:,}", f"{sum(db.expires for db in plan.dbs):,}"))
    show_table(("In the merged file", ">Keys", ">With expiry"), rows, total=True)


def _show_shards(plans: Sequence[Plan]) -> None:
    from rdbmerge.plan.sharding import slots_text

    numbers = [(plan.keys, sum(db.expires for db in plan.dbs), plan.output_bytes) for plan in plans]
    names = [*(slots_text(plan.rules.slots or []) for plan in plans), "all"]
    keys, expires, sizes = ([*column, sum(column)] for column in zip(*numbers, strict=True))
    rows = [
        (name, f"{its_keys:,}", f"{its_expires:,}", format_bytes(size))
        for name, its_keys, its_expires, size in zip(names, keys, expires, sizes, strict=True)
    ]
    show_table(("In the file of slots", ">Keys", ">With expiry", ">Size"), rows, total=True)


def _show_end(report: MergeReport) -> None:
    say()
    extra = [f"function libraries: {', '.join(report.libraries)}"] if report.libraries else []
    extra += [f"module data: {', '.join(report.modules)}"] if report.modules else []
    extra += [f"conflicts settled: {report.conflicts:,}"] if report.conflicts else []
    whom = report.rules.target or "the merged file"
    extra += [f"values re-encoded for {whom}: {report.recoded:,}"] if report.recoded else []
    for line in extra:
        say(line)
    if report.write_s is None:
        what = "the merged file" if len(report.files) == 1 else f"the {len(report.files):,} files"
        magic = f", {report.files[0].magic}" if len(report.files) == 1 else ""
        size = f"{report.keys:,} keys, {format_bytes(report.output_bytes)}{magic}"
        say(f"dry run: nothing was written; {what} would hold {size}")
    for file in report.files:
        if file.manifest is not None:
            size = f"{file.keys:,} keys, {format_bytes(file.output_bytes)}, {file.magic}"
            say(f"{file.path}: {size}, CRC-64 {file.manifest.crc64}")
        if file.upload is not None:
            talk(f"Proved by {file.upload.checksum_by}; its manifest is {file.upload.manifest_url}")
            show_right(file.upload)
            for warning in file.upload.warnings:
                warn(warning)
    if report.conflicts_file:
        talk(f"The conflicts are listed in {report.conflicts_file}")
    if report.rejected_file:
        talk(f"What {report.rules.target} cannot hold is listed in {report.rejected_file}")
    if report.write_s is not None:
        talk(f"Scanned and planned in {spent(report.plan_s)}, written in {spent(report.write_s)}")
