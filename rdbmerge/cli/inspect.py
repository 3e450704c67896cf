"""The command `inspect`: RDB files in, what they hold out, as tables or JSON."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rdbmerge.cli.options import EXISTING
from rdbmerge.cli.output import say, show_failure, show_table, warn
from rdbmerge.cli.stopping import stoppable, stopping
from rdbmerge.units import format_bytes, format_instant

if TYPE_CHECKING:
    from rdbmerge.steps.inspect import BigKey, DbDetails, FileSummary, InspectReport

EPILOG = """\b
Example:
  rdbmerge inspect snapshots/
  rdbmerge inspect dump.rdb --top 20
  rdbmerge inspect snapshots/ --json | jq '.files[].keys'
  aws s3 cp s3://bucket/backup.rdb - | rdbmerge inspect -

FILE is an RDB file, a folder (its *.rdb files) or - for standard input. Each file is
read whole and checked: structure, CRC-64, that no key stands in it twice."""


@click.command(epilog=EPILOG, short_help="Show what RDB files hold.")
@click.argument("files", nargs=-1, required=True, type=EXISTING, metavar="FILE|DIR...")
@click.option("--top", type=click.IntRange(0, 10_000), default=5, show_default=True, help="Biggest keys to show.")
@click.option("--json", "as_json", is_flag=True, help="Everything as JSON.")
def inspect(files: tuple[Path, ...], top: int, as_json: bool) -> int:
    """Show what RDB files hold: keys by db and type, expiries, sizes, biggest keys."""
    from rdbmerge.snapshot.segment import find_rdb_files
    from rdbmerge.steps.inspect import inspect as inspect_all

    with _spooled(files) as paths, stoppable() as stop:
        report = inspect_all(find_rdb_files(paths), top=top, progress=stopping(None, stop))
    if as_json:
        say(report.model_dump_json(indent=2))
    else:
        _show(report)
    for failure in report.failures:
        show_failure(failure.error, failure.remedy)
    return report.failures[0].exit_code if report.failures else 0


@contextmanager
def _spooled(files: Sequence[Path]) -> Iterator[list[Path]]:
    """`-` becomes a temporary file: an RDB has to be read sideways."""
    with tempfile.TemporaryDirectory(prefix="rdbmerge-") as folder:
        spool = Path(folder) / "standard-input"
        if Path("-") in files:
            with spool.open("wb") as target:
                shutil.copyfileobj(sys.stdin.buffer, target, 1 << 20)
        yield [spool if path == Path("-") else path for path in files]


def _show(report: InspectReport) -> None:
    for number, summary in enumerate(report.files):
        if number:
            say()
        _show_file(summary)
    if len(report.files) > 1:
        say()
        _show_overview(report.files)


def _show_file(summary: FileSummary) -> None:
    say(click.style(summary.name, bold=True))
    for label, value in _facts(summary):
        say(f"  {label:<10} {value}")
    if summary.trailing_bytes:
        warn(f"{summary.name}: {summary.trailing_bytes:,} bytes after the end of the RDB, which no server reads")
    if summary.dbs:
        say()
        show_table(
            (">Db", "Type", ">Keys", ">Size", ">With expiry", "First expiry", "Last expiry", ">Dead at snapshot"),
            [row for db in summary.dbs for row in _db_rows(db)],
        )
    if summary.biggest:
        say()
        show_table((">Size", ">Db", "Type", "Expires", "Biggest keys"), [_big_row(big) for big in summary.biggest])


def _facts(summary: FileSummary) -> Iterator[tuple[str, str]]:
    pulled = summary.manifest.pulled if summary.manifest else None
    yield "format", f"{summary.magic}, {format_bytes(summary.size_bytes)}, {summary.keys:,} keys"
    checksum = {"right": f"{summary.crc64} (right)", "off": "off (rdbchecksum no)", "none": "none in this version"}
    yield "CRC-64", checksum[summary.checksum]
    yield "snapshot", f"{format_instant(summary.snapshot_at_ms)} (by {summary.snapshot_at_from})"
    if pulled:
        yield "source", f"{pulled.address}, {pulled.server_version or 'version unknown'}"
    if summary.aux:
        yield "aux", ", ".join(f"{name}={value}" for name, value in summary.aux)
    if summary.libraries:
        yield "functions", ", ".join(summary.libraries)
    if summary.modules:
        yield "modules", ", ".join(summary.modules)


def _db_rows(db: DbDetails) -> Iterator[tuple[str, ...]]:
    yield (
        str(db.db),
        "all",
        f"{db.keys:,}",
        format_bytes(db.entry_bytes),
        f"{db.expires:,}",
        format_instant(db.first_expiry_ms),
        format_instant(db.last_expiry_ms),
        f"{db.dead:,}",
    )
    for one in db.types:
        fields = ", fields expire" if one.holds_field_expiries else ""
        yield "", f"{one.type} ({one.encoding}{fields})", f"{one.keys:,}", format_bytes(one.entry_bytes), "", "", "", ""


def _big_row(big: BigKey) -> tuple[str, ...]:
    return format_bytes(big.entry_bytes), str(big.db), big.type, format_instant(big.expire_at_ms), big.key


def _show_overview(files: Sequence[FileSummary]) -> None:
    rows = [
        (
            one.name,
            one.magic,
            f"{one.keys:,}",
            f"{sum(db.expires for db in one.dbs):,}",
            f"{sum(db.dead for db in one.dbs):,}",
            ",".join(str(db.db) for db in one.dbs) or "-",
            format_bytes(one.size_bytes),
        )
        for one in files
    ]
    keys, size = sum(one.keys for one in files), sum(one.size_bytes for one in files)
    expires = sum(db.expires for one in files for db in one.dbs)
    dead = sum(db.dead for one in files for db in one.dbs)
    rows.append((f"{len(files)} files", "", f"{keys:,}", f"{expires:,}", f"{dead:,}", "", format_bytes(size)))
    headings = ("File", "Version", ">Keys", ">With expiry", ">Dead at snapshot", "Dbs", ">Size")
    show_table(headings, rows, total=True)
