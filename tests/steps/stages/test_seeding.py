"""The end of the line: a cache made of what was uploaded, once, and only on an explicit word."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from fakes.elasticache import stop
from objectstores import ObjectStore
from seeding import World, seeding
from steps.runs import outcomes, previewed, ran, rdb_of, two_files

from rdbmerge.errors import StoppedError, TargetError
from rdbmerge.steps.seed import SeedReport

pytestmark = pytest.mark.once


@pytest.fixture
def world(object_store: ObjectStore, bucket: str) -> Iterator[World]:
    with seeding(object_store, bucket) as one:
        yield one


def run_file(folder: Path, world: World, more: str = "", upload: str = "") -> Path:
    text = f'[upload]\nurl = "s3://{world.bucket}/m.rdb"\ngrant = true\n{upload}'
    text += '[seed]\nreplication_group_id = "sessions"\nengine = "redis"\nengine_version = "7.1"\npoll = "100ms"\n'
    text += f'node_type = "cache.r7g.large"\nauth_token = "${{TOKEN}}"\ncache_endpoint_url = "{world.endpoint}"\n{more}'
    return two_files(folder, text)


TOKEN = {"TOKEN": "Secret-Token-1234567"}


def test_the_whole_line_ends_in_a_cache_that_has_the_keys(tmp_path: Path, world: World) -> None:
    path = run_file(tmp_path, world, "execute = true\n")
    report = ran(path, variables=TOKEN)
    assert outcomes(report) == {
        "pull a": "kept", "pull b": "kept", "merge": "done", "verify": "done", "upload m.rdb": "done",
        "seed sessions": "done",
    }  # fmt: skip
    host, _, port = str(report.facts["seed"]["endpoint"]).partition(":")
    with redis.Redis(host, int(port), password=TOKEN["TOKEN"]) as client:
        assert sorted(client.keys()) == [b"a", b"b:k", b"k"]
    assert set(outcomes(ran(path, variables=TOKEN)).values()) == {"kept"}
    assert set(outcomes(previewed(path, variables=TOKEN)).values()) == {"would be kept"}
    saved = [one.read_bytes() for one in (tmp_path / "work").rglob("*") if one.is_file()]
    assert not any(TOKEN["TOKEN"].encode() in data for data in saved)


def test_without_the_word_it_is_planned_and_nothing_is_made(tmp_path: Path, world: World) -> None:
    path, warnings = run_file(tmp_path, world), list[str]()
    report = ran(path, variables=TOKEN, warnings=warnings)
    assert report.lines[-1].why == "planned"
    assert warnings[-1].startswith("sessions was only planned")
    assert world.fake.groups == {}
    assert SeedReport.model_validate_json((tmp_path / "work" / "seed.json").read_bytes()).outcome == "planned"
    path.write_text(path.read_text() + "execute = true\n")
    assert outcomes(ran(path, variables=TOKEN))["seed sessions"] == "done"
    assert list(world.fake.groups) == ["sessions"]


def test_what_the_service_would_refuse_is_not_asked_for(tmp_path: Path, world: World) -> None:
    path = run_file(tmp_path, world, "execute = true\ntls = false\n")
    with pytest.raises(TargetError) as failure:
        ran(path, variables=TOKEN)
    assert failure.value.exit_code == 50
    assert "goes on with seed" in failure.value.remedy
    assert world.fake.groups == {}


def test_a_cache_is_not_made_again_because_it_is_gone(tmp_path: Path, world: World) -> None:
    path = run_file(tmp_path, world, "execute = true\n")
    ran(path, variables=TOKEN)
    for node in world.fake.groups.pop("sessions").nodes:
        stop(node)
    assert outcomes(ran(path, variables=TOKEN))["seed sessions"] == "kept"
    assert outcomes(ran(path, variables=TOKEN, from_step="seed"))["seed sessions"] == "done"


def test_other_content_under_a_name_that_is_taken_is_refused(tmp_path: Path, world: World) -> None:
    path = run_file(tmp_path, world, "execute = true\n")
    ran(path, variables=TOKEN)
    (tmp_path / "b.rdb").write_bytes(rdb_of(b"other"))
    for _ in range(2):
        with pytest.raises(TargetError, match="sessions is there, made of an earlier upload of this run"):
            ran(path, variables=TOKEN)
    path.write_text(path.read_text().replace('"sessions"', '"sessions-2"'))
    assert outcomes(ran(path, variables=TOKEN))["seed sessions-2"] == "done"
    assert sorted(world.fake.groups) == ["sessions", "sessions-2"]


def test_a_run_that_was_ended_while_it_waited_goes_on_waiting(tmp_path: Path, world: World) -> None:
    path, ended = run_file(tmp_path, world, "execute = true\n"), threading.Event()
    world.fake.faults.latency_s = 4.0
    ran(path, variables=TOKEN, until_step="upload")
    threading.Timer(1.5, ended.set).start()
    with pytest.raises(StoppedError, match="goes on, and costs money"):
        ran(path, variables=TOKEN, stop=ended)
    assert outcomes(ran(path, variables=TOKEN))["seed sessions"] == "done"
    assert list(world.fake.groups) == ["sessions"]
