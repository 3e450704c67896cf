"""What a run file may say, as the values that the steps take."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from rdbmerge.plan.model import Rules, SourceRules
from rdbmerge.replication.limits import PullLimits
from rdbmerge.steps.config import MergeSection, PullSection, RunFile, SourceSection, VerifySection
from rdbmerge.verify.report import Level, Witness

pytestmark = pytest.mark.once


def source(**keys: object) -> SourceSection:
    return SourceSection.model_validate(keys, context={"folder": Path("/f")})


def test_what_is_not_said_is_as_on_the_command_line() -> None:
    assert PullSection().limits() == PullLimits()
    file = RunFile.model_validate({"run": {"dir": "w"}, "source": [{"file": "a.rdb"}]})
    assert file.rules() == Rules()
    assert file.merge.shard_slots() is None


def test_each_source_rule_is_a_key_and_each_such_key_a_rule() -> None:
    own = source(file="a.rdb", ttl_offset="1h", ttl_freeze_until="2026-11-23T02:00:00Z", snapshot_time="1795400000",
                 drop_expired=True, db_map="1:0", dbs=[1], types=["set"], include_keys=["a"], exclude_keys=["re:b"],
                 key_prefix="\u00fc").own_rules()  # fmt: skip
    assert all(value is not None for _, value in own)
    assert own.key_prefix == "\u00fc".encode()
    assert source(file="a.rdb").own_rules() == SourceRules()


def test_the_words_are_those_of_the_steps() -> None:
    fields = VerifySection.model_fields
    for name, words in (("level", Level), ("witness", Witness)):
        assert set(fields[name].annotation.__args__) == {str(word) for word in words}  # type: ignore[union-attr]


def test_names_are_given_or_derived() -> None:
    assert source(file="x/dump.rdb").source_name == "dump"
    assert source(file="x/dump.rdb", name="n").source_name == "n"
    assert source(address="10.0.0.1").source_name == "10.0.0.1-6379"


def test_a_renamed_command_goes_to_the_server() -> None:
    server = source(address="h", psync_command="P", sync_command="S", replconf_command="R").server()
    assert server is not None
    assert (server.psync_command, server.sync_command, server.replconf_command) == ("P", "S", "R")


def test_no_value_is_in_the_text_of_a_failure() -> None:
    with pytest.raises(ValidationError) as failure:
        source(address="h", password=["hunter2"])
    assert "hunter2" not in str(failure.value)


def test_shards_are_even_unless_their_slots_are_given() -> None:
    assert MergeSection(shards=2).shard_slots() == [[(0, 8191)], [(8192, 16383)]]
