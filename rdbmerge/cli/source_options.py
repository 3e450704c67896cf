"""The options of pulling besides those of any server: names of commands, patience; and the sources that they make."""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rdbmerge.cli.options import SECONDS, SIZE, Decorator, with_all
from rdbmerge.cli.server_options import server_options
from rdbmerge.errors import UsageError

if TYPE_CHECKING:
    from rdbmerge.reach.server import ServerOptions
    from rdbmerge.replication.limits import PullLimits
    from rdbmerge.replication.source import Source, SourceOptions

_NAMED = re.compile(r"[\w.-]+\s*=")  # name=SOURCE

_SOURCE: tuple[tuple[str, Decorator], ...] = (
    (
        "prefer_replica",
        click.option(
            "--prefer-replica", is_flag=True, help="Of a service or a cluster, pull from replicas that are in sync."
        ),
    ),
    ("psync_command", click.option("--psync-command", metavar="NAME", help="PSYNC, where it is renamed.")),
    ("sync_command", click.option("--sync-command", metavar="NAME", help="SYNC, where it is renamed.")),
    ("replconf_command", click.option("--replconf-command", metavar="NAME", help="REPLCONF, where it is renamed.")),
)

_LIMITS: tuple[tuple[str, Decorator], ...] = (
    ("max_bandwidth", click.option("--max-bandwidth", type=SIZE, help="Bytes a second, of all sources together.")),
    (
        "connect_timeout",
        click.option("--connect-timeout", type=SECONDS, default="10s", show_default=True, help="For a connection."),
    ),
    (
        "timeout",
        click.option(
            "--timeout", type=SECONDS, default="1m", show_default=True, help="Silence in the middle of a transfer."
        ),
    ),
    (
        "header_timeout",
        click.option(
            "--header-timeout",
            type=SECONDS,
            default="1h",
            show_default=True,
            help="How long a source may take to make its snapshot.",
        ),
    ),
    (
        "retry_for",
        click.option(
            "--retry-for",
            type=SECONDS,
            default="1m",
            show_default=True,
            help="Ask a source again that loads its data, or has lost its primary, for so long.",
        ),
    ),
)


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options; the command gets `options` (of its sources) and `limits` instead of them."""

    @functools.wraps(command)
    def with_options(*, server: ServerOptions, **values: Any) -> Any:
        names: dict[str, Any] = {name: values.pop(name) for name, _ in _SOURCE}
        options = {**server, **{name: value for name, value in names.items() if value}}
        limits = _limits(**{name: values.pop(name) for name, _ in _LIMITS})
        return command(options=options, limits=limits, **values)

    with_names = with_all(with_options, [option for _, option in _SOURCE])
    return with_all(server_options(with_names), [option for _, option in _LIMITS])


def _limits(
    *, max_bandwidth: int | None, connect_timeout: float, timeout: float, header_timeout: float, retry_for: float
) -> PullLimits:
    from rdbmerge.replication.limits import BandwidthLimit, PullLimits

    for option, seconds in (
        ("--connect-timeout", connect_timeout), ("--timeout", timeout), ("--header-timeout", header_timeout),
    ):  # fmt: skip
        if seconds <= 0:
            raise UsageError(f"{option}: must be more than 0", remedy="write it as 30s or 5m")
    return PullLimits(
        connect_timeout_s=connect_timeout,
        reply_timeout_s=timeout,
        header_timeout_s=header_timeout,
        retry_for_s=max(0.0, retry_for),
        limiter=None if max_bandwidth is None else BandwidthLimit(max_bandwidth),
    )


def parse_sources(arguments: Sequence[str], options: SourceOptions) -> list[Source]:
    """The sources that the arguments name; `@file` (or `@-`) is a list with one a line."""
    from rdbmerge.replication.source import Source
    from rdbmerge.replication.source_list import read_sources

    sources: list[Source] = []
    for argument in arguments:
        if argument.startswith("@"):
            lines, origin = _lines(argument[1:])
            sources += read_sources(lines, variables=os.environ, origin=origin, **options)
        elif _NAMED.match(argument):
            sources += read_sources([argument], variables=os.environ, origin="argument", **options)
        else:
            sources.append(Source.parse(argument, **options))
    return sources


def _lines(name: str) -> tuple[list[str], str]:
    try:
        if name == "-":
            return sys.stdin.read().splitlines(), "standard input"
        return Path(name).read_text(encoding="utf-8").splitlines(), name
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise UsageError(f"cannot read the list of sources {name!r}: {reason}", remedy="check the path") from error
