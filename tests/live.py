"""What tests of comparisons with live servers share: one call, and the answers in short."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

from realservers import RunningServer

from rdbmerge.plan.model import Rules
from rdbmerge.reach.server import Server
from rdbmerge.reach.tunnels import Tunnels
from rdbmerge.steps.asking import Patience
from rdbmerge.steps.compare import compare
from rdbmerge.steps.comparing.nodes import Manners
from rdbmerge.verify.live_report import LiveReport

QUICK = Manners(patience=Patience(5, 5), retry_for_s=0)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def compared(
    server: RunningServer | int, *files: Path, rules: Rules | None = None, manners: Manners = QUICK, **how: Any
) -> LiveReport:
    """A comparison of files with a server; `user` and `password` in `how` are the server's."""
    port = server if isinstance(server, int) else server.port
    login = {name: how.pop(name) for name in ("username", "password", "sentinels", "service") if name in how}
    target = Server(**({} if "sentinels" in login else {"host": "127.0.0.1", "port": port}), **login)
    with Tunnels(connect_timeout_s=5) as tunnels:
        return compare(target, against=files, rules=rules, tunnels=tunnels, now_ms=now_ms, manners=manners, **how)


def kinds(report: LiveReport) -> dict[str, int]:
    """How many of the listed differences are of which kind."""
    return dict(Counter(one.kind for one in report.differences))


def found(report: LiveReport) -> dict[bytes, tuple[str, str, str]]:
    """Key -> kind, expected, found."""
    return {one.key_base64: (one.kind, one.expected, one.found) for one in report.differences}


def total(report: LiveReport, name: str) -> int:
    """The sum of a column of the ledger."""
    return sum(getattr(line, name) for line in report.ledger)
