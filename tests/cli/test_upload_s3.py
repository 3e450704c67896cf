"""The command as its users meet it: its words, its exit codes, and its end by signals of every kind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import objectstores
import pytest
from cli.running import command, process, run
from fakes.hostile_s3 import HostileS3, Trouble
from objectstores import ObjectStore
from rdbbytes import entry, select

from rdbmerge.steps.upload_report import UploadReport

pytestmark = pytest.mark.once

PARTS = 5


@pytest.fixture
def folder(golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a.rdb of one part."""
    shutil.copy(golden / "6.2.16" / "all_types.rdb", tmp_path / "a.rdb")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def big(folder: Path) -> Path:
    """A sound file of five parts of the smallest size, as a server writes it that was told to write no checksum."""
    path = folder / "big.rdb"
    rows = b"".join(entry(b"k%d" % n, os.urandom(5 << 20)) for n in range(PARTS - 1))
    path.write_bytes(b"REDIS0009" + select(0) + rows + entry(b"k") + b"\xff" + bytes(8))
    assert -(-path.stat().st_size // (5 << 20)) == PARTS
    return path


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """A server that takes megabytes in no time, with the bucket `seeds`; it has neither checksums nor conditions."""
    if objectstores.program("rclone") is None:
        pytest.skip(f"rclone, a server that speaks S3, is not there: {objectstores.HOW_TO_GET}")
    (tmp_path / "objects" / "seeds").mkdir(parents=True)
    with objectstores.running_rclone(tmp_path / "objects") as store:
        for name, value in store.environment.items():
            monkeypatch.setenv(name, value)
        yield store


def test_the_look_the_object_and_its_proof_are_shown(folder: Path, bucket: str) -> None:
    result = run("upload-s3", "a.rdb", f"s3://{bucket}/x/a.rdb", "--report", "r.json")
    assert result.exit_code == 0
    assert f"OK       bucket                s3://{bucket} is there, in us-east-1\n" in result.stdout
    assert f"s3://{bucket}/x/a.rdb: " in result.stdout
    assert "CRC64NVME" in result.stdout
    assert "Proved by CRC64NVME by the store" in result.stderr
    assert "elasticache may not read it yet: --grant makes a statement" in result.stderr
    report = UploadReport.model_validate_json(Path("r.json").read_text())
    assert (report.outcome, report.path) == ("uploaded", "a.rdb")
    again = run("upload-s3", "a.rdb", f"s3://{bucket}/x/a.rdb", "-q", "--grant")
    assert again.exit_code == 0
    assert "is there already with the same" in again.stdout
    assert "OK " not in again.stdout
    assert f"To undo: aws s3api delete-bucket-policy --bucket {bucket}" in again.stderr


def test_a_dry_run_ends_before_the_first_byte(folder: Path, bucket: str, object_store: ObjectStore) -> None:
    result = run("upload-s3", "a.rdb", f"s3://{bucket}/a.rdb", "--dry-run")
    assert result.exit_code == 0
    assert "dry run: nothing was sent; a.rdb (" in result.stdout
    assert f"would become s3://{bucket}/a.rdb in 1 parts of 64.0 MB" in result.stdout
    assert "Contents" not in object_store.client().list_objects_v2(Bucket=bucket)


def test_files_of_shards_go_into_a_folder(folder: Path, bucket: str, object_store: ObjectStore) -> None:
    shutil.copy("a.rdb", "b.rdb")
    result = run("upload-s3", "a.rdb", "b.rdb", f"s3://{bucket}/x/", "--report", "r.json", "--grant")
    assert result.exit_code == 0
    keys = [each["Key"] for each in object_store.client().list_objects_v2(Bucket=bucket)["Contents"]]
    assert keys == ["x/a.rdb", "x/b.rdb"]
    assert [one["outcome"] for one in json.loads(Path("r.json").read_text())] == ["uploaded", "uploaded"]
    policy = json.loads(object_store.client().get_bucket_policy(Bucket=bucket)["Policy"])
    (statement,) = policy["Statement"]
    assert len(statement["Resource"]) == 3


@pytest.mark.parametrize(
    ("arguments", "code", "finding"),
    [
        (["a.rdb"], 2, "is not the address of an object"),
        (["s3://{}/a.rdb"], 2, "no file is named"),
        (["a.rdb", "a.rdb", "s3://{}/a.rdb"], 2, "2 files cannot become one object"),
        (["a.rdb", "x/a.rdb", "s3://{}/x/"], 2, "two files have the same name"),
        (["none.rdb", "s3://{}/a.rdb"], 2, "cannot read none.rdb"),
        (["a.rdb", "s3://{}/a.rdb", "--part-size", "1MB"], 2, "parts of 1.0 MB cannot be"),
        (["a.rdb", "s3://{}-none/a.rdb"], 40, "there is no such bucket"),
        (["a.rdb", "s3://{}/a.rdb", "--endpoint-url", "http://127.0.0.1:1"], 40, "no answer from http://127.0.0.1:1"),
        (["a.rdb", "s3://{}/a.rdb", "--profile", "nobody"], 40, "The config profile (nobody) could not be found"),
        (["s3://{}/x/", "--abandon"], 2, "is a folder"),
    ],
)
def test_what_cannot_be_is_refused_in_words(
    folder: Path, bucket: str, arguments: list[str], code: int, finding: str
) -> None:
    result = run("upload-s3", *(argument.format(bucket) for argument in arguments))
    assert result.exit_code == code
    assert finding in result.stderr
    assert "\nTry:   " in result.stderr


def test_without_credentials_it_ends_at_once(folder: Path, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    result = process("upload-s3", "a.rdb", f"s3://{bucket}/a.rdb")
    assert result.returncode == 40
    assert "there are no credentials to use" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_object_that_exists_is_not_replaced(folder: Path, bucket: str, object_store: ObjectStore) -> None:
    object_store.client().put_object(Bucket=bucket, Key="a.rdb", Body=b"theirs")
    result = run("upload-s3", "a.rdb", f"s3://{bucket}/a.rdb", "-q")
    assert result.exit_code == 2
    assert f"Error: s3://{bucket}/a.rdb exists\nTry:   choose another key, or replace it with --force" in result.stderr
    assert run("upload-s3", "a.rdb", f"s3://{bucket}/a.rdb", "-q", "--force").exit_code == 0


# --- ends of every kind -------------------------------------------------------------------------------------------


def started(hostile: HostileS3, path: Path, url: str) -> subprocess.Popen[str]:
    """An upload that has sent some parts; the fourth one hangs."""
    words = command(
        "upload-s3", path, url, "--part-size", "5MB", "--jobs", "1", "-q", "--endpoint-url", hostile.endpoint
    )
    child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while 4 not in hostile.parts_sent():
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return child


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_an_upload_that_is_ended_sends_only_what_is_missing(
    big: Path, quick: ObjectStore, number: signal.Signals
) -> None:
    url = "s3://seeds/big.rdb"
    with HostileS3(quick.endpoint, Trouble(lambda r: r.part == 4, 1, wait_s=20)) as hostile:
        child = started(hostile, big, url)
        child.send_signal(number)
        _, said = child.communicate(timeout=15)  # far sooner than the part that hangs
        if number is signal.SIGKILL:
            assert child.returncode == -signal.SIGKILL
        else:
            assert child.returncode == 130
            assert "3 of 5 parts of" in said
            assert "run the same command again for the rest, or give them up with --abandon" in said
        assert "Contents" not in quick.client().list_objects_v2(Bucket="seeds")
        hostile.requests.clear()
        again = process(
            "upload-s3", big, url, "-q", "--endpoint-url", hostile.endpoint, "--report", big.parent / "r.json"
        )
        assert again.returncode == 0, again.stderr
        assert hostile.parts_sent() == [4, 5]
    assert "(3 of 5 parts from an earlier try)" in again.stdout
    report = UploadReport.model_validate_json((big.parent / "r.json").read_text())
    assert (report.parts, report.parts_kept) == (5, 3)
    assert quick.client().get_object(Bucket="seeds", Key="big.rdb")["Body"].read() == big.read_bytes()
    assert [path.name for path in big.parent.glob(".*")] == []


def test_an_unfinished_upload_is_given_up(big: Path, quick: ObjectStore) -> None:
    url = "s3://seeds/big.rdb"
    with HostileS3(quick.endpoint, Trouble(lambda r: r.part == 4, 1, wait_s=20)) as hostile:
        child = started(hostile, big, url)
        child.kill()
        child.communicate()
        result = run("upload-s3", big, url, "--abandon", "--endpoint-url", hostile.endpoint)
    assert (result.exit_code, result.stdout) == (0, f"{url}: 1 unfinished upload given up\n")
    assert "Uploads" not in quick.client().list_multipart_uploads(Bucket="seeds")
    assert [path.name for path in big.parent.glob(".*")] == []
    assert run("upload-s3", url, "--abandon").stdout == f"{url}: 0 unfinished uploads given up\n"
