"""The options of a cache become a request; what cannot be is told with a way out; the token comes from safe places."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from rdbmerge.cli.seed_options import TOKEN_VARIABLE, cache_options
from rdbmerge.errors import UsageError
from rdbmerge.targets.kinds import Kind
from rdbmerge.targets.request import SeedOptions

pytestmark = pytest.mark.once


def parsed(*arguments: str, **options: Any) -> SeedOptions:
    found: list[SeedOptions] = []

    @click.command()
    @cache_options
    def probe(*, wanted: SeedOptions) -> None:
        found.append(wanted)

    result = CliRunner().invoke(probe, list(arguments), **options)
    if result.exception is not None:
        raise result.exception
    return found[0]


def test_everything_that_can_be_said() -> None:
    wanted = parsed(
        "--replication-group-id", "a", "--engine", "valkey", "--engine-version", "8.1", "--node-type", "t.large",
        "--shards", "2", "--replicas", "1", "--subnet-group", "n", "--security-group-ids", "sg-1, sg-2",
        "--parameter-group", "p", "--no-tls", "--kms-key-id", "k", "--tag", "team=a", "--tag", "cost=b=c",
    )  # fmt: skip
    assert wanted == SeedOptions(
        kind=Kind.REPLICATION_GROUP, name="a", engine="valkey", engine_version="8.1", node_type="t.large",
        shards=[[(0, 8_191)], [(8_192, 16_383)]], replicas=1, subnet_group="n", security_group_ids=["sg-1", "sg-2"],
        parameter_group="p", tls=False, kms_key_id="k", tags={"team": "a", "cost": "b=c"},
    )  # fmt: skip


def test_the_kind_follows_from_the_name_that_is_given() -> None:
    assert parsed("--serverless-cache-name", "a", "--subnet-ids", "s1,s2").subnet_ids == ["s1", "s2"]
    assert parsed("--memorydb-cluster", "a", "--acl", "b").kind is Kind.MEMORYDB
    assert parsed("--replication-group-id", "a", "--slots", "0-16383").shards == [[(0, 16_383)]]


@pytest.mark.parametrize(
    ("arguments", "finding"),
    [
        ((), "not said what"),
        (("--replication-group-id", "a", "--memorydb-cluster", "b"), "several kinds"),
        (("--memorydb-cluster", "a", "--shards", "2", "--slots", "0-16383"), "--shards and --slots"),
        (("--memorydb-cluster", "a", "--tag", "x"), "no tag"),
        (("--memorydb-cluster", "a", "--auth", "--auth-token-file", "x"), "--auth and --auth-token-file"),
        (("--memorydb-cluster", "a", "--auth-token-file", "/no/such/file"), "cannot read"),
    ],
)
def test_what_cannot_be_said(arguments: tuple[str, ...], finding: str) -> None:
    with pytest.raises(UsageError, match=finding) as caught:
        parsed(*arguments)
    assert caught.value.remedy


def test_the_token_comes_from_a_file_a_prompt_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = ("--replication-group-id", "a")
    (tmp_path / "token").write_text("From-a-file-123456\n")
    monkeypatch.setenv(TOKEN_VARIABLE, "From-outside-12345")

    def token(wanted: SeedOptions) -> str | None:
        return None if wanted.auth_token is None else wanted.auth_token.get_secret_value()

    assert token(parsed(*named)) == "From-outside-12345"
    assert token(parsed("--serverless-cache-name", "a")) is None
    assert token(parsed(*named, "--auth-token-file", str(tmp_path / "token"))) == "From-a-file-123456"
    assert token(parsed(*named, "--auth", input="From-a-prompt-12345\n")) == "From-a-prompt-12345"
    monkeypatch.delenv(TOKEN_VARIABLE)
    assert token(parsed(*named)) is None
