"""The options of `restore` that say how it goes about it: what to do with keys that are there, how fast, how long."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from rdbmerge.cli.options import DURATION, EXISTING, SECONDS, SIZE, Decorator, with_all
from rdbmerge.errors import UsageError

_RESTORE: tuple[tuple[str, Decorator], ...] = (
    (
        "on_busy",
        click.option(
            "--on-busy",
            type=click.Choice(("fail", "skip", "replace")),
            help="What becomes of a key that the target holds already: end there, leave it, or replace it.  [default:"
            " fail; must be given for a target that is not empty]",
        ),
    ),
    (
        "connections",
        click.option(
            "--connections", type=click.IntRange(1, 256), default=4, show_default=True, metavar="N",
            help="Connections (to each primary of a cluster) that share the work.",
        ),
    ),
    (
        "big_bytes",
        click.option(
            "--big-key", "big_bytes", type=SIZE, default="32MB", show_default=True,
            help="Larger lists, sets, hashes and streams are sent item by item, so that they do not block the target.",
        ),
    ),
    (
        "max_qps",
        click.option("--max-qps", type=click.IntRange(1), metavar="N", help="Commands a second, of all connections."),
    ),
    (
        "max_bytes_per_s",
        click.option("--max-bandwidth", "max_bytes_per_s", type=SIZE, help="Bytes a second, of all connections."),
    ),
    (
        "max_latency_ms",
        click.option(
            "--max-latency", "max_latency_ms", type=DURATION, default="50ms", show_default=True,
            help="Slow down while a PING takes so much longer than before the restore; 0: never.",
        ),
    ),
    (
        "retry_for_s",
        click.option(
            "--retry-for", "retry_for_s", type=SECONDS, default="5m", show_default=True,
            help="How long to wait for a target that is full, loading, read-only, down or away.",
        ),
    ),
    (
        "timeout_s",
        click.option(
            "--timeout", "timeout_s", type=SECONDS, default="1m", show_default=True,
            help="How long the target may be silent before it counts as away.",
        ),
    ),
    (
        "connect_timeout_s",
        click.option(
            "--connect-timeout", "connect_timeout_s", type=SECONDS, default="10s", show_default=True,
            help="For a connection.",
        ),
    ),
    (
        "checkpoint",
        click.option(
            "--checkpoint", type=EXISTING, metavar="FILE",
            help="Where it is kept how far the restore is.  [default: beside the first source]",
        ),
    ),
    (
        "rejected",
        click.option(
            "--rejected", type=EXISTING, metavar="FILE",
            help="List of the keys that the target refuses.  [default: beside the first source]",
        ),
    ),
)  # fmt: skip


def restore_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options; the command gets one `how`, for `RestoreOptions(**how)`, instead of them."""

    @functools.wraps(command)
    def with_options(**values: Any) -> Any:
        how = {name: values.pop(name) for name, _ in _RESTORE}
        _check(how)
        return command(how=how, **values)

    return with_all(with_options, [option for _, option in _RESTORE])


def _check(how: dict[str, Any]) -> None:
    for name, option in (("timeout_s", "--timeout"), ("connect_timeout_s", "--connect-timeout")):
        if how[name] <= 0:
            raise UsageError(f"{option}: must be more than 0", remedy="write it as 30s or 5m")
    for name, option in (("retry_for_s", "--retry-for"), ("max_latency_ms", "--max-latency")):
        if how[name] < 0:
            raise UsageError(f"{option}: cannot be negative", remedy="write it as 30s or 5m, or 0 for none")
    for name, option in (("big_bytes", "--big-key"), ("max_bytes_per_s", "--max-bandwidth")):
        if how[name] == 0:
            raise UsageError(f"{option}: must be more than 0", remedy="write it as 64MB")
