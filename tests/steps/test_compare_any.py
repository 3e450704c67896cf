"""Whatever is merged for a server, and loaded by it, is what the sources give under the rules; a key lost is missed."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from anytarget import RULES, SOURCES
from hypothesis import HealthCheck, Phase, assume, given, settings
from live import compared, found, total
from realservers import RunningServer, ServerRefused, need, running
from verify.test_any_merge import merge

from rdbmerge.plan.model import Rules

pytestmark = pytest.mark.once

_EXAMPLES = 12  # a server each


@pytest.mark.parametrize(
    ("target", "name"), [("redis-6.2", "redis-6.2"), ("redis-7.4", "redis-8.2"), ("valkey-9.1", "valkey-9.1")]
)
def test_any_merge_that_a_server_loaded_passes(target: str, name: str) -> None:
    binary = need(name)

    # Without shrinking: each step of it starts a server.
    @settings(max_examples=_EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
    @given(SOURCES, RULES)
    def one(files: Any, setting: dict[str, Any]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            [output], rules, _ = merge(Path(folder), files, setting | {"target": target, "shards": None})
            sources = sorted(Path(folder).glob("?.rdb"))
            try:
                with running(binary, rdb=output, config={"databases": "100"}) as server:
                    _passes_and_misses(server, sources, rules, Path(folder) / "plan.json")
            except ServerRefused:
                assume(False)  # data of modules that it does not have

    one()


def _passes_and_misses(server: RunningServer, sources: Sequence[Path], rules: Rules, plan: Path) -> None:
    for report in (compared(server, *sources, rules=rules), compared(server, plan)):
        assert report.differences == []
        assert report.failed_checks == []
    if total(report, "agreed"):
        lost = _lose_one(server)
        assert found(compared(server, *sources, rules=rules)).keys() == {lost}


def _lose_one(server: RunningServer) -> bytes:
    for db in sorted(server.counts()):
        with server.client(db=db) as client:
            key: bytes | None = client.randomkey()
            if key is not None:
                client.delete(key)
                return key
    raise AssertionError("no key to lose")
