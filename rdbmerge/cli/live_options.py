"""The options of a comparison with a live server, and the call they make."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rdbmerge.cli.options import DURATION, EXISTING, SECONDS, Decorator, Parsed, with_all
from rdbmerge.cli.server_options import server_options, tunnels_for
from rdbmerge.errors import UsageError

if TYPE_CHECKING:
    import threading

    from rdbmerge.plan.model import Rules
    from rdbmerge.reach.server import ServerOptions
    from rdbmerge.snapshot.index import Progress
    from rdbmerge.verify.live_report import LiveReport


def _parse_sample(text: str) -> int | None:
    if text == "all":
        return None
    digits = text.replace(",", "")
    if not (digits.isascii() and digits.isdigit() and 0 < int(digits) < 1 << 40):
        raise UsageError(f"{text!r} is not a number of keys", remedy="write it as 10000, or all")
    return int(digits)


_LIVE: tuple[tuple[str, Decorator], ...] = (
    (
        "live",
        click.option(
            "--live",
            metavar="TARGET",
            help="Compare with a live server or cluster: redis://, rediss://, redis-cluster://, redis-sentinel://.",
        ),
    ),
    (
        "sample",
        click.option(
            "--sample",
            type=Parsed("sample", _parse_sample),
            default="all",
            show_default=True,
            metavar="N|all",
            help="With --live: how many keys to compare each way.",
        ),
    ),
    (
        "tolerance_ms",
        click.option(
            "--ttl-tolerance",
            "tolerance_ms",
            type=DURATION,
            default="1s",
            show_default=True,
            help="With --live: how much an expiry may differ.",
        ),
    ),
    (
        "checkpoint",
        click.option(
            "--checkpoint",
            type=EXISTING,
            metavar="FILE",
            help="With --live: where an interrupted comparison is taken up from.",
        ),
    ),
    (
        "connections",
        click.option(
            "--connections",
            type=click.IntRange(1, 64),
            default=2,
            show_default=True,
            metavar="N",
            help="With --live: to each server.",
        ),
    ),
    (
        "max_qps",
        click.option(
            "--max-qps",
            type=click.IntRange(1),
            metavar="N",
            help="With --live: commands a second, of all connections together; a key takes two.",
        ),
    ),
    (
        "timeout",
        click.option(
            "--timeout", type=SECONDS, default="1m", show_default=True, help="With --live: silence in an answer."
        ),
    ),
    (
        "retry_for",
        click.option(
            "--retry-for",
            type=SECONDS,
            default="1m",
            show_default=True,
            help="With --live: ask again for so long when a connection is lost, or the server loads.",
        ),
    ),
)


def live_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options; the command gets one `live`, which compares, or None without --live, instead of them."""

    @server_options
    @functools.wraps(command)
    def with_live(*, server: ServerOptions, **values: Any) -> Any:
        own = {name: values.pop(name) for name, _ in _LIVE}
        return command(live=None if own["live"] is None else Live(server=server, **own), **values)

    return with_all(with_live, [option for _, option in _LIVE])


class Live:
    """A comparison that was asked for."""

    def __init__(
        self,
        *,
        live: str,
        server: ServerOptions,
        sample: int | None,
        tolerance_ms: int,
        checkpoint: Path | None,
        connections: int,
        max_qps: int | None,
        timeout: float,
        retry_for: float,
    ) -> None:
        from rdbmerge.reach.server import Server

        if tolerance_ms < 0:
            raise UsageError("--ttl-tolerance: a tolerance cannot be negative", remedy="write it as 0 or 1s")
        if timeout <= 0:
            raise UsageError("--timeout: must be more than 0", remedy="write it as 30s or 5m")
        self.target = Server.parse(live, **server)
        self._sample = sample
        self._tolerance_ms = tolerance_ms
        self._checkpoint = checkpoint
        self._connections = connections
        self._max_qps = max_qps
        self._timeout_s = timeout
        self._retry_for_s = max(0.0, retry_for)

    def compare(
        self,
        files: list[Path],
        rules: Rules | None,
        *,
        jobs: int,
        now_ms: Callable[[], int],
        progress: Progress | None,
        stop: threading.Event,
    ) -> LiveReport:
        """Compare the files, or the plan, with the target."""
        from rdbmerge.steps.asking import Patience
        from rdbmerge.steps.compare import compare
        from rdbmerge.steps.comparing.nodes import Manners
        from rdbmerge.targets.server_pacing import RateLimit

        patience = Patience(min(10.0, self._timeout_s), self._timeout_s)
        limit = None if self._max_qps is None else RateLimit(self._max_qps)
        manners = Manners(patience=patience, retry_for_s=self._retry_for_s, limit=limit, stop=stop)
        with tunnels_for([self.target], connect_timeout_s=patience.connect_timeout_s, stop=stop) as tunnels:
            return compare(
                self.target,
                against=files,
                rules=rules,
                tunnels=tunnels,
                now_ms=now_ms,
                manners=manners,
                sample=self._sample,
                tolerance_ms=self._tolerance_ms,
                connections=self._connections,
                checkpoint=self._checkpoint,
                jobs=jobs,
                progress=progress,
            )
