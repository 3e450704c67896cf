from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from rdbmerge.cli import options
from rdbmerge.errors import UsageError
from rdbmerge.plan.model import KeyPattern, Policy, Rules, Unsupported
from rdbmerge.plan.sharding import Slots


def rules_of(*arguments: str) -> Rules:
    got: list[Rules] = []

    @click.command()
    @options.rules_options
    def probe(rules: Rules) -> None:
        got.append(rules)

    result = CliRunner().invoke(probe, list(arguments), standalone_mode=False)
    if result.exception:
        raise result.exception
    return got[0]


def test_without_options_the_rules_are_the_plain_ones() -> None:
    assert rules_of() == Rules()


def test_every_option_has_its_place_in_the_rules() -> None:
    rules = rules_of(
        "--ttl-offset", "3h", "--ttl-freeze-until", "2026-11-23T02:00:00Z", "--snapshot-time", "1700000000",
        "--on-conflict", "longest-ttl", "--db-map", "1:0, 2:5", "--db", "2,1,1", "--type", "Hash,string",
        "--include-key", "user:*", "--include-key", "re:^a", "--exclude-key", "glob:re:*", "--key-prefix", "p:",
        "--keep-expired", "--target", "Redis-6.2.14", "--on-unsupported", "strip",
    )  # fmt: skip
    assert rules == Rules(
        ttl_offset_ms=10_800_000,
        ttl_freeze_until_ms=1_795_399_200_000,
        snapshot_at_ms=1_700_000_000_000,
        on_conflict=Policy.LONGEST_TTL,
        db_map={1: 0, 2: 5},
        dbs=[1, 2],
        types=["hash", "string"],
        include_keys=[KeyPattern(kind="glob", text=b"user:*"), KeyPattern(kind="re", text=b"^a")],
        exclude_keys=[KeyPattern(kind="glob", text=b"re:*")],
        key_prefix=b"p:",
        drop_expired=False,
        target="redis-6.2",
        on_unsupported=Unsupported.STRIP,
    )


def test_a_negative_offset_is_a_value_and_no_option() -> None:
    assert rules_of("--ttl-offset", "-15m").ttl_offset_ms == -900_000
    assert rules_of("--ttl-offset=-1d12h").ttl_offset_ms == -129_600_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ttl-offset", "3 hours"], "--ttl-offset: '3 hours' is not a duration"),
        (["--ttl-freeze-until", "2026-11-23T02:00:00"], "--ttl-freeze-until: '2026-11-23T02:00:00' has no time zone"),
        (["--snapshot-time", "noon"], "--snapshot-time: 'noon' is not a time"),
        (["--db-map", "1"], "--db-map: '1' is not a map of dbs"),
        (["--db-map", "1:0,1:2"], "--db-map: '1:0,1:2' is not a map of dbs"),
        (["--db-map", "1:-2"], "--db-map: '-2' is not the number of a db"),
        (["--db", "all"], "--db: 'all' is not the number of a db"),
        (["--type", "strings"], "--type: 'strings' is not a type"),
        (["--include-key", "re:("], "--include-key: '(' is not a regular expression"),
        (["--target", "redis"], "--target: 'redis' is no target that is known"),
        (["--on-unsupported", "skip"], "--on-unsupported skip is given without a --target"),
        (["--target", "rdb-99"], "--target: rdb-99 is no version that is written"),
    ],
)
def test_what_cannot_be_is_told_with_its_option(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        rules_of(*arguments)
    assert str(refused.value).startswith(message)
    assert refused.value.remedy


def shards_of(*arguments: str) -> list[Slots] | None:
    got: list[list[Slots] | None] = []

    @click.command()
    @options.shards_options
    def probe(shards: list[Slots] | None) -> None:
        got.append(shards)

    result = CliRunner().invoke(probe, list(arguments), standalone_mode=False)
    if result.exception:
        raise result.exception
    return got[0]


def test_shards_are_given_by_their_number_or_by_their_slots() -> None:
    assert shards_of() is None
    assert shards_of("--shards", "2") == [[(0, 8191)], [(8192, 16383)]] == shards_of("--slots", "0-8191,8192-16383")
    assert shards_of("--slots", "0-9+11-16383,10") == [[(0, 9), (11, 16383)], [(10, 10)]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--shards", "2", "--slots", "0-16383"], "--shards and --slots are both given"),
        (["--shards", "501"], "501 shards cannot be"),
        (["--slots", "0-5,7-16383"], "--slots: slot 6 is given to no shard"),
        (["--slots", "0-5,5-16383"], "--slots: slot 5 is given twice"),
        (["--slots", "x"], "--slots: 'x' is no run of slots"),
    ],
)
def test_shards_that_cannot_be_are_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        shards_of(*arguments)
    assert str(refused.value) == message
    assert refused.value.remedy


def test_keys_that_are_no_text_come_through() -> None:
    assert rules_of("--key-prefix", b"\xff:".decode("utf-8", "surrogateescape")).key_prefix == b"\xff:"


def test_threads_are_as_many_as_processors() -> None:
    assert options.default_jobs() >= 1
