"""What is found at real targets before anything is sent."""

from __future__ import annotations

from pathlib import Path

import pytest
from rdbbytes import entry, rdb, select
from realservers import ServerBinary, each_server, need, running
from restoring import now_ms, restored

from rdbmerge.errors import UsageError
from rdbmerge.plan.profile import PROFILES, find_profile
from rdbmerge.steps.restoring.look import Target, profile_name
from rdbmerge.targets.server import Login
from rdbmerge.targets.server_cluster import Servers
from rdbmerge.targets.server_facts import ServerFacts

pytestmark = pytest.mark.once


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "a.rdb"
    made.write_bytes(rdb(9, select(0), entry(b"k", b"x" * 2_000_000), entry(b"l", expire_at_ms=now_ms() + 10**7)))
    return made


@each_server()
def test_the_target_is_told_by_its_name_and_taken_for_what_it_is(binary: ServerBinary, path: Path) -> None:
    with running(binary) as server:
        report = restored(server, path, dry_run=True)
    said = {check.name: check for check in report.checks}
    number = ".".join(map(str, binary.version))
    assert said["target"].finding.startswith(f"{binary.flavour.capitalize()} {number} at 127.0.0.1")
    assert report.rules.target == binary.name
    assert ("expiries" in said) is (binary.version < (5,))


def test_a_target_that_is_too_small_or_evicts_is_told(path: Path) -> None:
    config = {"maxmemory": "2mb", "maxmemory-policy": "allkeys-lru"}
    with running(need("redis-7.0"), config=config) as server:
        said = {check.name: check for check in restored(server, path, dry_run=True).checks}
    assert said["memory"].outcome == "WARNING"
    assert "MB as an RDB" in said["memory"].finding
    assert "allkeys-lru" in said["eviction"].finding


def test_evicted_keys_are_counted(path: Path) -> None:
    path.write_bytes(rdb(9, select(0), *(entry(b"k%d" % number, b"x" * 20_000) for number in range(500))))
    with running(need("redis-7.0")) as server:
        with server.client() as client:
            used = client.info("memory")["used_memory"]
            client.config_set("maxmemory-policy", "allkeys-random")
            client.config_set("maxmemory", used + 3_000_000)
        report = restored(server, path)
        assert report.evicted == report.restored - server.counts()[0] > 0
        assert report.exit_code == 50


def target(flavour: str, *version: int) -> Target:
    servers = Servers(lambda *_: None, Login(), "the target")
    return Target(servers, {0: ServerFacts(flavour=flavour, version=version)}, None)


@pytest.mark.parametrize(
    ("flavour", "version", "name"),
    [
        ("redis", (6, 2, 14), "redis-6.2"), ("redis", (7, 3, 0), "redis-7.2"), ("redis", (99, 0), "redis-8.10"),
        ("redis", (4, 9), "redis-4.0"), ("valkey", (8, 9, 1), "valkey-8.1"), ("valkey", (10, 0, 0), "valkey-9.1"),
    ],
)  # fmt: skip
def test_a_version_that_is_not_known_counts_as_the_one_before_it(
    flavour: str, version: tuple[int, ...], name: str
) -> None:
    assert profile_name(target(flavour, *version)) == name
    assert name in PROFILES
    assert find_profile(name).name == name


def test_versions_without_a_profile_are_told() -> None:
    with pytest.raises(UsageError, match="does not tell its version"):
        profile_name(target("redis"))
    with pytest.raises(UsageError, match="too old"):
        profile_name(target("redis", 2, 4, 18))
