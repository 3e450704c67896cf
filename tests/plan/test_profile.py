"""The table of targets is that of rdb-format.md 3 and aws-seeding.md 2, written out here once more."""

from __future__ import annotations

import pytest

from rdbmerge.errors import UsageError
from rdbmerge.format.dialects import Dialect
from rdbmerge.plan.profile import PROFILES, find_profile


def numbers(text: str) -> set[int]:
    """`0-5, 7`: what the column "types loadable" says."""
    ends = [part.split("-") for part in text.replace(" ", "").split(",")]
    return {number for end in ends for number in range(int(end[0]), int(end[-1]) + 1)}


# rdb-format.md 3.1, row by row: names, newest header, types loadable, 64-bit lengths. Not offered: 2.2 and 2.4, whose
# headers hold no checksum, and versions that are not released.
REDIS = [
    (["2.6", "2.8", "3.0"], 6, "0-4, 9-13", False),
    (["3.2"], 7, "0-4, 9-14", False),
    (["4.0"], 8, "0-5, 7, 9-14", True),
    (["5.0", "6.0", "6.2"], 9, "0-5, 7, 9-15", True),
    (["7.0"], 10, "0-5, 7, 9-19", True),
    (["7.2"], 11, "0-5, 7, 9-21", True),
    (["7.4", "8.0", "8.2", "8.4"], 12, "0-5, 7, 9-25", True),
    (["8.6"], 13, "0-5, 7, 9-26", True),
    (["8.8"], 14, "0-5, 7, 9-28", True),
    (["8.10"], 15, "0-5, 7, 9-32", True),
]
TEMPLATES = {29, 30, 31, 32}  # never written: the ids of several sources would collide
VALKEY = [(["7.2", "8.0", "8.1"], 0, "0-5, 7, 9-21"), (["9.0", "9.1"], 80, "0-5, 7, 9-22")]
SERVERS = {f"redis-{name}" for names, *_ in REDIS for name in names} | {
    f"valkey-{name}" for names, *_ in VALKEY for name in names
}
# rdb-format.md 3.2 and aws-seeding.md 2: the engine's newest header. No new cache can be made of Redis 2.6 to 3.2.
MANAGED = {
    "elasticache-redis": {"4.0": 8, "5.0": 9, "6.0": 9, "6.2": 9, "7.0": 10, "7.1": 10},
    "elasticache-valkey": {"7.2": 11, "8.0": 11, "8.1": 11, "8.2": 11, "9.0": 80, "9.1": 80},
    "memorydb-redis": {"6.2": 9, "7.0": 10, "7.1": 10},
    "memorydb-valkey": {"7.2": 11, "7.3": 11},
}
SERVICES = {f"{line}-{version}": rdb for line, versions in MANAGED.items() for version, rdb in versions.items()}


@pytest.mark.parametrize(("names", "newest", "types", "long_lengths"), REDIS, ids=lambda one: str(one))
def test_redis_loads_what_the_reference_says(names: list[str], newest: int, types: str, long_lengths: bool) -> None:
    for name in names:
        profile = PROFILES[f"redis-{name}"]
        assert (profile.line, profile.redis_version, profile.valkey_version) == ("redis", newest, 0)
        assert profile.types == numbers(types) - TEMPLATES
        assert profile.long_lengths == long_lengths
        assert profile.many_dbs


@pytest.mark.parametrize(("names", "own", "types"), VALKEY, ids=lambda one: str(one))
def test_valkey_loads_what_the_reference_says(names: list[str], own: int, types: str) -> None:
    for name in names:
        profile = PROFILES[f"valkey-{name}"]
        assert (profile.line, profile.redis_version, profile.valkey_version) == ("valkey", 11, own)
        assert profile.types == numbers(types)
        assert profile.long_lengths
        assert profile.many_dbs


@pytest.mark.parametrize(("name", "rdb"), SERVICES.items())
def test_a_managed_service_loads_what_its_engine_loads_but_modules(name: str, rdb: int) -> None:
    profile = PROFILES[name]
    engine = next(one for one in PROFILES.values() if one.measured and rdb in (one.valkey_version, one.redis_version))
    assert max(profile.redis_version, profile.valkey_version) == rdb
    assert profile.types == engine.types - {7}
    assert not profile.modules
    assert not profile.measured
    assert profile.many_dbs == name.startswith("elasticache")


def test_serverless_gets_what_both_of_its_engines_load() -> None:
    profile = PROFILES["elasticache-serverless"]
    assert profile.types == PROFILES["redis-7.0"].types & PROFILES["valkey-8.1"].types - {7}
    assert (profile.redis_version, profile.functions, profile.many_dbs) == (10, False, False)


def test_no_target_is_in_the_table_that_is_not_here() -> None:
    assert set(PROFILES) == SERVERS | set(SERVICES) | {"elasticache-serverless"}
    assert all(profile.name == name for name, profile in PROFILES.items())


@pytest.mark.parametrize("name", PROFILES)
def test_what_came_with_a_version_is_there_from_it_on(name: str) -> None:
    """rdb-format.md 4: hints and module data 5.0, functions 7.0, key metadata Redis 8.6."""
    profile = PROFILES[name]
    assert profile.module_data == (profile.redis_version >= 9 and name in SERVERS)
    assert profile.hints == (profile.redis_version >= 9)
    assert profile.functions == (profile.redis_version >= 10 and name != "elasticache-serverless")
    assert profile.key_metadata == (profile.redis_version >= 13)
    assert profile.streams == (profile.redis_version >= 9)
    assert profile.field_expiries == (profile.redis_version >= 12 or profile.valkey_version == 80)


def test_headers_are_read_up_to_the_newest_of_each_line() -> None:
    headers = [Dialect("redis", 9), Dialect("redis", 11), Dialect("redis", 12), Dialect("valkey", 80)]

    def read(name: str) -> list[bool]:
        return [PROFILES[name].reads(header) for header in headers]

    assert read("redis-6.2") == [True, False, False, False]
    assert read("redis-7.4") == [True, True, True, False]
    assert read("valkey-8.1") == [True, True, False, False]
    assert read("valkey-9.1") == [True, True, False, True]
    assert PROFILES["valkey-9.1"].accepts == "1-11, 80"
    assert PROFILES["redis-6.2"].accepts == "1-9"


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("redis-8.x", "redis-8.0"),
        ("redis-7.x", "redis-7.0"),
        ("valkey-9.x", "valkey-9.0"),
        ("elasticache-redis-6.x", "elasticache-redis-6.0"),
        ("memorydb-valkey-7.x", "memorydb-valkey-7.2"),
        ("redis-6.2.14", "redis-6.2"),
        ("elasticache-valkey-8.1.2", "elasticache-valkey-8.1"),
        ("redis-8.10", "redis-8.10"),
        ("redis-8.10.1", "redis-8.10"),
        (" Redis-7.4 ", "redis-7.4"),
        ("ELASTICACHE-Redis-7.1", "elasticache-redis-7.1"),
        ("rdb-9", "rdb-9"),
        ("RDB-009", "rdb-9"),
        ("rdb-80", "rdb-80"),
    ],
)
def test_names_as_users_have_them(name: str, found: str) -> None:
    assert find_profile(name).name == found
    assert find_profile(found) == find_profile(name)


def test_a_reader_of_a_version_loads_what_servers_of_it_load() -> None:
    for version in range(6, 16):
        reader = find_profile(f"rdb-{version}")
        server = next(one for one in PROFILES.values() if one.line == "redis" and one.redis_version == version)
        assert (reader.types, reader.redis_version, reader.line) == (server.types, version, "redis")
        assert (reader.hints, reader.functions, reader.modules) == (server.hints, server.functions, server.modules)
    assert find_profile("rdb-80").types == PROFILES["valkey-9.1"].types


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("redis-6", "give one of redis-6.0, redis-6.2; `rdbmerge targets` lists all"),
        ("redis6.2", "give one of redis-6.2, "),
        ("elasticache-6.2", "give one of elasticache-redis-6.2, "),
        ("valkey-10.0", "give one of valkey-"),
        ("redis-5.x.x", "give one of redis-5.0, "),
        ("redis-9.x", "give one of redis-"),
        ("dragonfly", "give one of redis-6.2, valkey-8.1, elasticache-redis-7.1, rdb-9, ...; "),
        ("", "give one of redis-6.2, "),
    ],
)
def test_a_name_that_is_not_known_is_answered_with_near_ones(name: str, remedy: str) -> None:
    with pytest.raises(UsageError, match="is no target that is known") as refused:
        find_profile(name)
    assert repr(name) in str(refused.value)
    assert refused.value.remedy.startswith(remedy)
    assert refused.value.remedy.count(",") < 7


@pytest.mark.parametrize("name", ["rdb-5", "rdb-0", "rdb-16", "rdb-79", "rdb-81"])
def test_versions_that_nothing_can_be_written_in_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} is no version that is written") as refused:
        find_profile(name)
    assert refused.value.remedy.startswith("give rdb-6 to rdb-15, or rdb-80")
