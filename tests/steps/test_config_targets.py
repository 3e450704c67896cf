"""Where the merged file goes, as a run file says it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from rdbmerge.steps.config_targets import RestoreSection, SeedSection, UploadSection
from rdbmerge.stores.base import ObjectUrl, S3Access
from rdbmerge.targets.kinds import Kind
from rdbmerge.targets.waiting import WaitLimits

pytestmark = pytest.mark.once


def test_an_upload_has_the_words_of_its_command() -> None:
    section = UploadSection.model_validate({"url": "s3://bucket/k", "region": "eu-west-1", "part_size": "100MB"})
    assert (section.url, section.part_size, section.jobs) == (ObjectUrl("bucket", "k"), 100 << 20, 10)
    assert section.access() == S3Access(None, "eu-west-1", None)
    assert (section.service, section.grant, section.force) == ("elasticache", False, False)


def seeding(**keys: object) -> SeedSection:
    return SeedSection.model_validate({"replication_group_id": "s", **keys}, context={"folder": Path()})


def test_a_seeding_has_the_words_of_its_command(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text("A = 1\nB = 2\n")
    (tmp_path / "token").write_text("hunter2\n")
    section = seeding(
        engine="valkey", shards=2, tags={"a": "b"}, from_file=str(tmp_path / "r.toml"), request={"B": 3}, poll="100ms",
        auth_token_file=str(tmp_path / "token"), execute=True,
    )  # fmt: skip
    options = section.options()
    assert (options.kind, options.name, options.engine) == (Kind.REPLICATION_GROUP, "s", "valkey")
    assert options.tags == {"a": "b"}
    assert options.shards == [[(0, 8191)], [(8192, 16383)]]
    assert options.auth_token is not None
    assert options.auth_token.get_secret_value() == "hunter2"
    assert section.beneath() == {"A": 1, "B": 3}
    assert section.limits() == WaitLimits(timeout_s=7_200.0, poll_s=0.1, jitter_s=0.025)
    assert "hunter2" not in repr(section)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"memorydb_cluster": "m"}, "needs one of"),
        ({"shards": 2, "slots": "0-16383"}, "contradict each other"),
        ({"auth_token": "a", "auth_token_file": "b"}, "both given"),
    ],
)
def test_a_seeding_that_contradicts_itself_is_refused(keys: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        seeding(**keys)


def test_shards_and_their_even_slots_agree() -> None:
    assert seeding(shards=2, slots="0-8191,8192-16383").options().shards == [[(0, 8191)], [(8192, 16383)]]


def test_a_restore_has_the_words_of_its_command_and_of_servers() -> None:
    keys = {"url": "rediss://h:7000", "user": "u", "password": "hunter2", "big_key": "1MB", "max_latency": "0"}
    section = RestoreSection.model_validate(keys)
    server = section.server()
    assert (server.address, server.username, server.password) == ("rediss://h:7000", "u", "hunter2")
    assert (section.big_key, section.max_latency, section.on_busy, section.connections) == (1 << 20, 0, None, 4)
    for wrong, said in (
        ({"url": "h:0"}, "port"),
        ({"user": "u", "password": None}, "no password"),
        ({"big_key": "0"}, "0"),
    ):
        with pytest.raises(ValidationError, match=said):
            RestoreSection.model_validate({**keys, **wrong})
