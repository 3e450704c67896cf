"""`rdbmerge seed-elasticache` as its users run it: shown first, made on a word, waited for, and never removed."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from cli.running import command, run
from objectstores import ObjectStore
from rdbbytes import entry, rdb, select
from seeding import World, seeding

from rdbmerge.steps.seed import SeedReport

pytestmark = pytest.mark.once
GROUP = (
    "--replication-group-id",
    "sessions",
    "--engine",
    "redis",
    "--engine-version",
    "7.1",
    "--node-type",
    "cache.r7g.large",
)
TOKEN = "Secret-Token-1234567"


@pytest.fixture
def world(object_store: ObjectStore, bucket: str) -> Iterator[World]:
    with seeding(object_store, bucket) as one:
        yield one


@pytest.fixture
def url(world: World, tmp_path: Path) -> str:
    path = tmp_path / "merged.rdb"
    path.write_bytes(rdb(9, select(0), entry(b"a", b"1"), entry(b"b", b"2")))
    return str(world.put(path))


def arguments(world: World, url: str, *more: str | Path) -> tuple[str | Path, ...]:
    return ("seed-elasticache", url, *GROUP, "--cache-endpoint-url", world.endpoint, "--poll", "50ms", *more)


def created(world: World) -> int:
    return [asked["Action"] for asked in world.fake.requests].count("CreateReplicationGroup")


def test_without_a_word_it_shows_the_request_and_the_checks_and_makes_nothing(
    world: World, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RDBMERGE_AUTH_TOKEN", TOKEN)
    done = run(*arguments(world, url, "--report", tmp_path / "seed.json"))
    assert done.exit_code == 0
    shown = json.loads(done.stdout[done.stdout.index("{") : done.stdout.rindex("}") + 1])
    assert shown["SnapshotArns"] == [f"arn:aws:s3:::{world.bucket}/merged.rdb"]
    assert shown["AuthToken"] == "(hidden)"
    assert "OK       RDB version" in done.stdout
    assert "Nothing was created" in done.stderr
    assert created(world) == 0
    report = SeedReport.model_validate_json((tmp_path / "seed.json").read_text())
    assert report.outcome == "planned"
    assert stat.S_IMODE((tmp_path / "seed.json").stat().st_mode) == 0o600
    assert TOKEN not in done.stdout + done.stderr + (tmp_path / "seed.json").read_text()


def test_with_a_word_it_makes_it_waits_and_ends_with_the_endpoint(world: World, url: str, tmp_path: Path) -> None:
    (tmp_path / "request.toml").write_text('PreferredMaintenanceWindow = "sun:03:00-sun:04:00"\n')
    done = run(
        *arguments(
            world, url, "--execute", "--from-file", tmp_path / "request.toml", "--report", tmp_path / "seed.json"
        )
    )
    assert done.exit_code == 0, done.stderr
    assert "sessions is available at 127.0.0.1:" in done.stdout
    assert "Replication group sessions created" in done.stdout
    assert "creating" in done.stderr
    report = SeedReport.model_validate_json((tmp_path / "seed.json").read_text())
    assert report.outcome == "available"
    host, _, port = report.endpoint.partition(":")
    with redis.Redis(host, int(port)) as client:
        assert client.get("b") == b"2"
    asked = next(one for one in world.fake.requests if one["Action"] == "CreateReplicationGroup")
    assert asked["PreferredMaintenanceWindow"] == "sun:03:00-sun:04:00"


def test_what_failed_before_makes_nothing_even_on_a_word(world: World, url: str) -> None:
    bad = url.replace("merged", "none")
    shown, asked = run(*arguments(world, bad)), run(*arguments(world, bad, "--execute"))
    assert (shown.exit_code, asked.exit_code) == (50, 50)
    assert "FAILED   object" in shown.stdout
    assert "nothing was created" in asked.stderr
    assert "upload-s3" in asked.stderr
    assert created(world) == 0


def test_a_creation_that_is_refused_is_in_the_report(world: World, url: str, tmp_path: Path) -> None:
    world.fake.faults.refuse = {"CreateReplicationGroup": "NodeQuotaForCustomerExceeded"}
    done = run(*arguments(world, url, "--execute", "--report", tmp_path / "seed.json"))
    assert done.exit_code == 50
    report = SeedReport.model_validate_json((tmp_path / "seed.json").read_text())
    assert (report.outcome, "Service Quotas" in report.remedy) == ("failed", True)
    assert "NodeQuotaForCustomerExceeded" in report.error


def test_a_creation_that_fails_shows_events_and_how_to_remove_it(world: World, url: str) -> None:
    world.fake.faults.restore_failed = True
    done = run(*arguments(world, url, "--execute"))
    assert done.exit_code == 50
    assert "Restore failed" in done.stdout
    assert "Error: sessions could not be seeded" in done.stderr
    assert "To remove it: aws elasticache delete-replication-group --replication-group-id sessions" in done.stderr


def test_without_waiting_it_says_how_to_wait(world: World, url: str) -> None:
    world.fake.faults.stuck = True
    done = run(*arguments(world, url, "--execute", "--no-wait"))
    assert done.exit_code == 0
    assert "is being created" in done.stdout


def test_time_that_is_up_is_a_failure_that_says_so(world: World, url: str) -> None:
    world.fake.faults.stuck = True
    done = run(*arguments(world, url, "--execute", "--wait-timeout", "200ms"))
    assert done.exit_code == 50
    assert "goes on, and costs money" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_the_waiting_and_says_that_the_creation_goes_on(
    world: World, url: str, tmp_path: Path, number: signal.Signals
) -> None:
    world.fake.faults.stuck = True
    report = tmp_path / "seed.json"
    with subprocess.Popen(
        command(*arguments(world, url, "--execute", "--poll", "20s", "--report", report)),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ,
    ) as process:  # fmt: skip
        until = time.monotonic() + 60
        while not created(world) and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the creation of sessions goes on, and costs money" in said
    assert "run the same command again" in said
    assert SeedReport.model_validate_json(report.read_text()).outcome == "stopped"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--memorydb-cluster", "m"), "several kinds"),
        (("--from-file", "FILE"), "CacheNodeTyp"),
        (("--wait-timeout", "0"), "more than 0"),
        (("--subnet-ids", "a"), "--subnet-ids means nothing"),
    ],
)
def test_what_cannot_be_asked_for_is_a_usage_error(
    world: World, url: str, tmp_path: Path, more: tuple[str, str], words: str
) -> None:
    (tmp_path / "bad.json").write_text('{"CacheNodeTyp": "x"}')
    done = run(*arguments(world, url, *(tmp_path / "bad.json" if one == "FILE" else one for one in more)))
    assert done.exit_code == 2
    assert words in done.stderr


def test_an_address_that_is_none_is_named() -> None:
    done = run("seed-elasticache", "http://bucket/key", *GROUP)
    assert done.exit_code == 2
    assert "s3://" in done.stderr


def test_an_upload_tells_what_is_in_the_file(world: World, tmp_path: Path) -> None:
    path = tmp_path / "up.rdb"
    path.write_bytes(rdb(9, select(0), entry(b"a", b"1")))
    assert run("upload-s3", path, f"s3://{world.bucket}/up.rdb", "--grant", "-q").exit_code == 0
    done = run(*arguments(world, f"s3://{world.bucket}/up.rdb"))
    assert "1 keys" in done.stdout
    assert run("upload-s3", path, f"s3://{world.bucket}/bare.rdb", "--bare", "-q").exit_code == 0
    assert "WARNING  contents" in run(*arguments(world, f"s3://{world.bucket}/bare.rdb")).stdout
