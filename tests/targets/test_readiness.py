"""What is to receive the data, judged before there is any."""

from __future__ import annotations

from typing import Any

import pytest

from rdbmerge.plan.profile import find_profile
from rdbmerge.preflight import Outcome, PreflightCheck
from rdbmerge.reach.condition import Condition
from rdbmerge.reach.info import info_fields, parse_info
from rdbmerge.reach.server import Server
from rdbmerge.targets.readiness import profile_readiness, server_readiness

pytestmark = pytest.mark.once

TARGET = Server(host="t", name="t")
READY = "redis_version:7.0.15\nrole:master\nused_memory:100\nmaxmemory:0\ntotal_system_memory:1000\n"


def condition(text: str, **changes: Any) -> Condition:
    return Condition(facts=parse_info(text), fields=info_fields(text), **changes)


def wrong(checks: list[PreflightCheck]) -> dict[str, str]:
    return {one.name: str(one.outcome) for one in checks if one.outcome is not Outcome.OK}


@pytest.mark.parametrize(
    ("more", "changes", "expected"),
    [
        ("", {}, {}),
        ("loading:1", {}, {"t: loading": "FAILED"}),
        ("db0:keys=5,expires=0", {}, {"t: keys": "WARNING"}),
        ("cluster_enabled:1", {}, {"t: dbs": "FAILED"}),
        ("cluster_enabled:1", {"settings": {"cluster-databases": "16"}}, {}),
        ("", {"settings": {"databases": "3"}}, {"t: dbs": "FAILED"}),
        ("", {"settings": {"databases": "4"}}, {}),
        ("", {"missing_commands": frozenset({"RESTORE"})}, {"t: commands": "FAILED"}),
    ],
)
def test_a_server_is_judged_by_its_condition(more: str, changes: dict[str, Any], expected: dict[str, str]) -> None:
    checks = server_readiness(TARGET, condition(READY + more, **changes), needed_bytes=800, dbs={0, 3})
    assert wrong(checks) == expected


@pytest.mark.parametrize(
    ("limit", "policy", "expected"),
    [
        (0, "noeviction", {}), (900, "noeviction", {}), (899, "noeviction", {"t: memory": "FAILED"}),
        (900, "allkeys-lru", {"t: eviction": "WARNING"}),
    ],
)  # fmt: skip
def test_memory_has_to_be_enough(limit: int, policy: str, expected: dict[str, str]) -> None:
    text = READY.replace("maxmemory:0", f"maxmemory:{limit}\nmaxmemory_policy:{policy}")
    assert wrong(server_readiness(TARGET, condition(text), needed_bytes=800, dbs=set())) == expected
    assert wrong(server_readiness(TARGET, condition(READY), needed_bytes=901, dbs=set())) == {"t: memory": "FAILED"}


def test_a_replica_takes_no_writes() -> None:
    text = READY.replace("role:master", "role:slave")
    assert wrong(server_readiness(TARGET, condition(text), needed_bytes=0, dbs=set())) == {"t: role": "FAILED"}


def test_a_kind_of_target_is_judged_by_its_profile_and_the_sources() -> None:
    newer = condition("redis_version:8.2.0\nnumber_of_libraries:2", modules=("ReJSON",))
    checks = profile_readiness(find_profile("redis-6.2"), {"a": newer}, dbs={0, 1})
    assert wrong(checks) == {"target redis-6.2: a": "WARNING"}
    assert [one.finding for one in checks[1:]] == [
        "redis-8.2 writes what redis-6.2 may not load as it stands: values are re-encoded for it",
        "it has 2 function libraries, and redis-6.2 has no functions",
    ]
    managed = profile_readiness(find_profile("memorydb-valkey-7.2"), {"a": newer}, dbs={0, 1})
    assert wrong(managed) == {
        "target memorydb-valkey-7.2": "WARNING", "target memorydb-valkey-7.2: dbs": "FAILED",
        "target memorydb-valkey-7.2: a": "WARNING",
    }  # fmt: skip
    older = condition("redis_version:6.2.0")
    assert wrong(profile_readiness(find_profile("valkey-9.1"), {"a": older}, dbs={1})) == {}
