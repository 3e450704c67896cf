"""Whether data fits an engine and its nodes: each rule at its border."""

from __future__ import annotations

from typing import Any

import pytest
from targets.asking import EVEN_TWO, GROUP, MEMORYDB, SERVERLESS, contents, request

from rdbmerge.preflight import Outcome, PreflightCheck
from rdbmerge.snapshot.contents import PARTS, slot_shares_text
from rdbmerge.targets.fit import SeedFile, cluster_key_bytes, fit_checks, layout_of, profile_of
from rdbmerge.targets.node_types import maxmemory_of

pytestmark = pytest.mark.once
OK, WARNING, FAILED = Outcome.OK, Outcome.WARNING, Outcome.FAILED
REDIS = {**GROUP, "engine": "redis", "engine_version": "7.1"}


def lines(
    said: dict[str, Any], parameters: dict[str, str] | None = None, more: dict | None = None, **held: Any
) -> dict[str, PreflightCheck]:
    checks = fit_checks(request(said, **(more or {})), [SeedFile("it", contents(**held))], parameters)
    return {check.name: check for check in checks}


@pytest.mark.parametrize(
    ("said", "held", "name", "outcome"),
    [
        (GROUP, {"magic": "REDIS0011"}, "RDB version", OK),
        (GROUP, {"magic": "REDIS0012"}, "RDB version", FAILED),
        (GROUP, {"magic": "VALKEY080"}, "RDB version", FAILED),
        ({**GROUP, "engine_version": "9.0"}, {"magic": "VALKEY080"}, "RDB version", OK),
        (REDIS, {"magic": "REDIS0010"}, "RDB version", OK),
        (REDIS, {"magic": "REDIS0011"}, "RDB version", FAILED),
        (MEMORYDB, {"magic": "REDIS0011"}, "RDB version", OK),
        (SERVERLESS, {"magic": "REDIS0011"}, "RDB version", OK),
        (SERVERLESS, {"magic": "REDIS0012"}, "RDB version", FAILED),
        (REDIS, {"types": {0: 1, 20: 3}}, "value types", FAILED),
        (GROUP, {"types": {0: 1, 20: 3}}, "value types", OK),
        (GROUP, {"types": {7: 3}}, "value types", FAILED),
        (SERVERLESS, {"libraries": 2}, "functions", FAILED),
        (GROUP, {"modules": ["ReJSON-RL"]}, "modules", FAILED),
        (SERVERLESS, {"longest_key_bytes": 4_096}, "longest key", OK),
        (SERVERLESS, {"longest_key_bytes": 4_097}, "longest key", FAILED),
        (SERVERLESS, {"longest_string_bytes": (512 << 20) + 1}, "largest element", FAILED),
        (SERVERLESS, {"largest_entry_bytes": 600 << 20}, "largest element", WARNING),
        (SERVERLESS, {"heaviest_slot_bytes": 33 << 30}, "heaviest slot", FAILED),
        (SERVERLESS, {"memory_bytes": {"redis": 1, "valkey": 5_001 << 30}}, "memory", FAILED),
        (SERVERLESS, {"keys": {0: 1, 1: 1}}, "one db", FAILED),
        (MEMORYDB, {"keys": {3: 1}}, "one db", FAILED),
        (GROUP, {"keys": {0: 1, 15: 1}}, "databases", OK),
        (GROUP, {"keys": {0: 1, 16: 1}}, "databases", FAILED),
        ({**GROUP, "node_type": "cache.r99.large"}, {}, "memory", WARNING),
        ({**GROUP, "engine_version": None}, {}, "engine version", WARNING),
        ({**GROUP, "engine_version": "99.1"}, {}, "engine version", WARNING),
    ],
)  # fmt: skip
def test_each_rule_at_its_border(said: dict, held: dict, name: str, outcome: Outcome) -> None:
    check = lines(said, **held)[name]
    assert check.outcome is outcome, check
    if outcome is FAILED and name in ("RDB version", "value types", "functions", "modules", "one db", "databases"):
        assert check.remedy


def test_of_a_file_that_is_known_by_its_manifest_only_the_rest_is_a_warning() -> None:
    little = {"types": {}, "memory_bytes": {}}
    for said in (GROUP, SERVERLESS):
        found = lines(said, **little)
        assert found["RDB version"].outcome is OK
        assert found["value types"].outcome is found["memory"].outcome is WARNING
    assert found["Serverless limits"].outcome is WARNING
    assert lines(GROUP, **little, keys={0: 1, 16: 1})["databases"].outcome is FAILED


def test_functions_and_modules_are_not_mentioned_where_there_are_none() -> None:
    assert not {"functions", "modules"} & lines(GROUP).keys()


def test_the_remedy_for_a_file_of_another_version_is_a_target_of_merge() -> None:
    from rdbmerge.plan.profile import find_profile

    for said in (GROUP, REDIS, SERVERLESS, MEMORYDB):
        remedy = lines(said, magic="REDIS0012")["RDB version"].remedy
        assert find_profile(remedy.rpartition(" ")[2])


def test_dbs_follow_the_parameter_group() -> None:
    mine = {**GROUP, "parameter_group": "custom.one"}
    many = {"keys": {0: 1, 20: 1}}
    assert lines(mine, None, **many)["databases"].outcome is WARNING
    assert lines(mine, {"databases": "32"}, **many)["databases"].outcome is OK
    assert lines(mine, {"databases": "20"}, **many)["databases"].outcome is FAILED


def test_in_cluster_mode_there_is_one_db_unless_valkey_9_was_told_otherwise() -> None:
    sharded = {**GROUP, "engine_version": "9.0", "shards": EVEN_TWO}
    assert lines(sharded)["one db"].outcome is OK
    assert lines(sharded, **{"keys": {0: 1, 1: 1}})["one db"].outcome is FAILED
    assert lines(sharded, **{"keys": {1: 1}})["one db"].outcome is FAILED
    assert lines(sharded, {"cluster-databases": "16"}, **{"keys": {0: 1, 1: 1}})["one db"].outcome is WARNING


@pytest.mark.parametrize(("share", "outcome"), [(0.5, OK), (0.9, WARNING), (1.1, WARNING), (1.3, FAILED)])
def test_memory_is_judged_with_what_the_estimate_may_be_wrong(share: float, outcome: Outcome) -> None:
    usable = 0.75 * (maxmemory_of("cache.r7g.large") or 0)
    check = lines(GROUP, memory_bytes={"redis": 1, "valkey": round(share * usable)})["memory"]
    assert check.outcome is outcome
    if outcome is FAILED:
        assert check.remedy == "take cache.r7g.xlarge"


def test_reserved_memory_is_that_of_the_parameter_group_where_it_is_known() -> None:
    held = {"memory_bytes": {"redis": 1, "valkey": round(0.78 * (maxmemory_of("cache.r7g.large") or 0))}}
    assert lines(GROUP, {"reserved-memory-percent": "0"}, **held)["memory"].outcome is OK
    assert lines(GROUP, {"reserved-memory-percent": "50"}, **held)["memory"].outcome is FAILED


def test_of_shards_the_fullest_counts() -> None:
    sharded = {**GROUP, "shards": EVEN_TWO}
    lopsided = slot_shares_text([1.0] * 16 + [0.0] * (PARTS - 16))
    most = round(1.6 * 0.75 * (maxmemory_of("cache.r7g.large") or 0))
    assert lines(sharded, memory_bytes={"redis": 1, "valkey": round(0.9 * most)})["memory"].outcome is OK
    check = lines(sharded, memory_bytes={"redis": 1, "valkey": most}, slot_shares=lopsided)["memory"]
    assert check.outcome is FAILED
    assert "fullest of 2 shards" in check.finding
    assert "or more shards" in check.remedy


@pytest.mark.parametrize(
    ("said", "layout"),
    [
        (GROUP, "valkey"), ({**GROUP, "engine_version": "8.0"}, "redis"), ({**GROUP, "engine_version": "7.2"}, "redis"),
        (REDIS, "redis"), (SERVERLESS, "valkey"), ({**SERVERLESS, "engine": "redis", "engine_version": "7"}, "redis"),
    ],
)  # fmt: skip
def test_memory_is_that_of_the_engine(said: dict, layout: str) -> None:
    assert layout_of(request(said)) == layout


def test_cluster_mode_takes_more_for_every_key_of_older_engines() -> None:
    sharded = {"shards": EVEN_TWO}
    assert cluster_key_bytes(request(REDIS, **sharded)) == 16
    assert cluster_key_bytes(request({**REDIS, "engine_version": "6.2"}, **sharded)) == 48
    assert cluster_key_bytes(request(REDIS)) == cluster_key_bytes(request(GROUP, **sharded)) == 0
    most = round(0.75 * (maxmemory_of("cache.r7g.large") or 0))
    held = {"memory_bytes": {"redis": most, "valkey": 1}, "keys": {0: most // 16}}
    assert lines(REDIS, more=sharded, **held)["memory"].outcome is WARNING
    assert lines(REDIS, more=sharded, memory_bytes={"redis": most, "valkey": 1})["memory"].outcome is OK


def test_profiles_are_those_of_the_service() -> None:
    assert profile_of(request(REDIS)).name == "elasticache-redis-7.1"
    assert profile_of(request(MEMORYDB)).name == "memorydb-valkey-7.3"
    assert profile_of(request({**REDIS, "engine_version": "6.x"})).name == "elasticache-redis-6.0"
    serverless = profile_of(request(SERVERLESS))
    assert not serverless.functions
    assert not serverless.many_dbs
