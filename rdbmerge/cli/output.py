"""Tables on stdout, words on stderr. Knows how values are shown, not where they come from."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from rdbmerge.units import format_duration_ms

if TYPE_CHECKING:
    from rdbmerge.ledger import Ledger
    from rdbmerge.preflight import PreflightCheck

_WIDE = 250  # columns where there is no terminal: a file or a pipe must not cut a line
RIGHT = ">"


def show_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "", total: bool = False) -> None:
    """A table on stdout; a column whose heading begins with ">" is aligned right; the last row may be a total."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=title or None, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False,
        show_edge=False, header_style="bold",
    )  # fmt: skip
    for column in columns:
        right = column.startswith(RIGHT)
        table.add_column(column.removeprefix(RIGHT), justify="right" if right else "left", overflow="fold")
    for number, row in enumerate(rows):
        if total and number == len(rows) - 1:
            table.add_section()
        # Text, not markup: a name may hold brackets.
        table.add_row(*(Text(cell) for cell in row))
    console = Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else _WIDE)
    with console.capture() as capture:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in capture.get().rstrip("\n").split("\n")))


def say(text: str = "") -> None:
    """A line on stdout."""
    click.echo(text)


def talk(text: str) -> None:
    """A line on stderr."""
    click.echo(text, err=True)


def warn(text: str) -> None:
    """A warning on stderr."""
    click.echo(f"Warning: {text}", err=True)


def spent(seconds: float) -> str:
    """Time for people: `12 ms`, `3.4 s`, `5m12s`."""
    if seconds < 1:
        return f"{seconds * 1_000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 60 else format_duration_ms(round(seconds) * 1_000)


def show_failure(message: str, remedy: str) -> None:
    """A failure that did not end the command, in the words of one that does."""
    click.echo(f"Error: {message}", err=True)
    if remedy:
        click.echo(f"Try:   {remedy}", err=True)


def show_ledger(ledger: Ledger, *, done: str = "Written") -> None:
    """The balance sheet, one line a source and db, and its total; columns that are 0 throughout are left out.

    `done` says what became of the rest.
    """
    total = ledger.total()
    names = [name for name in left_out_names(total) if name != "stripped"]
    stripped = ("stripped",) if total.stripped else ()
    rows = []
    for line in (*ledger.lines, total):
        moved = f"{line.db} -> {line.target_db}" if line.db != line.target_db else str(line.db)
        counts = [f"{getattr(line, name):,}" for name in ("read", *names, "written", *stripped)]
        rows.append((line.source, "" if line is total else moved, *counts))
    of_them = [">Of them stripped"] if stripped else []
    show_table(("Source", ">Db", ">Read", *map(heading_of, names), f">{done}", *of_them), rows, total=True)


def show_preflight(checks: Sequence[PreflightCheck]) -> None:
    """One line an answer on stdout, with what to do below it where something needs doing."""
    width = max((len(check.name) for check in checks), default=0)
    for check in checks:
        say(f"{check.outcome:<7}  {check.name:<{width}}  {check.finding}")
        if check.remedy:
            say(f"{'':<7}  {'':<{width}}  -> {check.remedy}")


def left_out_names(*lines: object) -> list[str]:
    """The columns of a balance sheet, besides what is written, in which any of the lines has a number, but 0."""
    names = ("expired", "filtered", "conflict_dropped", "rejected", "elsewhere", "skipped", "stripped")
    return [name for name in names if any(getattr(line, name, 0) for line in lines)]


def heading_of(name: str) -> str:
    """The heading of such a column."""
    return f">{name.replace('conflict_dropped', 'lost conflict').capitalize()}"
