"""A source's condition, judged: what stands in the way of a pull, and what may."""

from __future__ import annotations

from typing import Any

import pytest

from rdbmerge.preflight import Outcome
from rdbmerge.reach.condition import Condition
from rdbmerge.reach.info import info_fields, parse_info
from rdbmerge.replication.readiness import readiness, wanted_commands
from rdbmerge.replication.source import Source

pytestmark = pytest.mark.once

SOURCE = Source(host="h", name="orders")
INFO = {
    "redis_version": "7.0.15", "role": "master", "connected_slaves": "1", "used_memory": "1000000",
    "total_system_memory": "9000000", "rdb_last_bgsave_status": "ok", "loading": "0",
    "db0": "keys=3,expires=1,avg_ttl=0",
}  # fmt: skip
SETTINGS = {"repl-timeout": "60", "client-output-buffer-limit": "normal 0 0 0 slave 268435456 67108864 60 pubsub 1 2 3"}


def lines(
    info: dict[str, str] | None = None, via: str = "replication", **changes: Any
) -> dict[str, tuple[Outcome, str]]:
    fields = {**INFO, **(info or {})}
    text = "\n".join(f"{name}:{value}" for name, value in fields.items() if value)
    given = {
        "facts": parse_info(text),
        "fields": info_fields(text),
        "settings": SETTINGS,
        "clock_skew_ms": 3,
        **changes,
    }
    found = readiness(SOURCE, Condition(**given), via)
    assert all(one.name.startswith("orders: ") for one in found)
    return {one.name.removeprefix("orders: "): (one.outcome, one.finding) for one in found}


def wrong(*args: Any, **changes: Any) -> dict[str, str]:
    return {name: str(outcome) for name, (outcome, _) in lines(*args, **changes).items() if outcome is not Outcome.OK}


def test_a_source_that_is_ready_has_no_other_lines_than_ok() -> None:
    found = lines()
    assert found["server"] == (Outcome.OK, "redis 7.0.15, db 0: 3 keys, 976.6 KB in memory")
    assert found["memory for the fork"][1] == "976.6 KB used of 8.6 MB"
    assert found["limits for replicas"][1] == "repl-timeout 60 s, output buffer 256.0 MB"
    assert wrong() == {}


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({"loading": "1"}, {"loading": "FAILED"}),
        ({"role": "slave", "master_link_status": "down"}, {"role": "FAILED"}),
        ({"role": "slave", "master_link_status": "up"}, {"role": "WARNING"}),
        ({"cluster_enabled": "1"}, {"cluster": "WARNING"}),
        ({"total_system_memory": "1500000"}, {"memory for the fork": "WARNING"}),
        ({"total_system_memory": ""}, {"memory for the fork": "WARNING"}),
        ({"rdb_last_bgsave_status": "err"}, {"snapshots": "WARNING"}),
        ({"rdb_bgsave_in_progress": "1"}, {"snapshots": "WARNING"}),
        ({"redis_version": "6.0.1", "used_memory": "9000000000", "total_system_memory": "99000000000"},
         {"output buffer of replicas": "WARNING"}),
        ({"used_memory": "9000000000", "total_system_memory": "99000000000"}, {}),
        ({"valkey_version": "8.1.0", "used_memory": "9000000000", "total_system_memory": "99000000000"}, {}),
    ],
)  # fmt: skip
def test_what_info_tells_is_judged(info: dict[str, str], expected: dict[str, str]) -> None:
    assert wrong(info) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"clock_skew_ms": None}, {"clock": "WARNING"}),
        ({"clock_skew_ms": -90_000}, {"clock": "WARNING"}),
        ({"modules": ("ReJSON",)}, {"modules": "WARNING"}),
        ({"settings": {}, "refused": "NOPERM"}, {"limits for replicas": "WARNING"}),
        ({"settings": {**SETTINGS, "repl-timeout": "5"}}, {"repl-timeout": "WARNING"}),
        ({"missing_commands": frozenset({"PSYNC"})}, {"commands": "WARNING"}),
        ({"missing_commands": frozenset({"PSYNC", "SYNC"})}, {"commands": "FAILED"}),
    ],
)
def test_the_rest_is_judged(changes: dict[str, Any], expected: dict[str, str]) -> None:
    assert wrong(**changes) == expected


def test_the_clock_is_told_in_words() -> None:
    assert lines(clock_skew_ms=-90_000)["clock"][1] == "this machine is 1m30s behind it"
    assert lines(clock_skew_ms=90_000)["clock"][1] == "this machine is 1m30s ahead of it"


def test_a_server_that_tells_nothing_is_one_warning() -> None:
    found = readiness(SOURCE, Condition(facts=parse_info("")))
    assert found[0].finding == "it answers, but INFO tells nothing (no version in it)"
    assert Outcome.FAILED not in {one.outcome for one in found}


def test_scan_needs_other_commands_and_no_fork() -> None:
    assert wanted_commands(SOURCE, "scan") == ("SCAN", "DUMP", "PTTL")
    assert wrong({"total_system_memory": "1"}, via="scan") == {}
    assert wrong(via="scan", missing_commands=frozenset({"DUMP"})) == {"commands": "FAILED"}
    assert wrong(via="scan", missing_commands=frozenset({"PSYNC", "SYNC"})) == {}
