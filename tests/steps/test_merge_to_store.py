"""A merge without a local copy: the very bytes of the file, visible when whole, and the refusals of files."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
import storing
from fakes.hostile_s3 import HostileS3, Trouble
from merging import NOW_MS, saved
from objectstores import ObjectStore
from rdbbytes import entry, rdb, select
from writing import big

from rdbmerge.errors import ConflictError, LedgerError, StoppedError, StoreError, UsageError
from rdbmerge.plan.model import Policy, Rules
from rdbmerge.plan.sharding import even_slots
from rdbmerge.preflight import PreflightCheck
from rdbmerge.snapshot.manifest import Manifest
from rdbmerge.steps.merge_run import MergeReport, run_merge
from rdbmerge.steps.merge_to_store import StoreOutput
from rdbmerge.stores import part_sink
from rdbmerge.stores.base import ObjectUrl, S3Access

pytestmark = pytest.mark.once


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    storing.small_parts(monkeypatch)
    monkeypatch.setattr(part_sink, "STREAM_PART_BYTES", storing.PART)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture
def sources(golden: Path, tmp_path: Path) -> list[Path]:
    for version in ("6.0.20", "6.2.16"):
        shutil.copy(golden / version / "all_types.rdb", tmp_path / f"{version}.rdb")
    return [tmp_path / "6.0.20.rdb", tmp_path / "6.2.16.rdb"]


@pytest.fixture
def url(bucket: str) -> ObjectUrl:
    return ObjectUrl(bucket, "2026/merged.rdb")


RULES = Rules(on_conflict=Policy.FIRST, ttl_offset_ms=1_000)


def run(
    sources: list[Path], url: ObjectUrl, *, endpoint: str | None = None, rules: Rules = RULES, **how: Any
) -> MergeReport:
    options = {name: how.pop(name) for name in ("grant", "service", "on_checks", "show") if name in how}
    store = StoreOutput(url=url, access=S3Access(endpoint_url=endpoint), **options)
    return run_merge(sources, None, rules, now_ms=NOW_MS, jobs=2, store=store, **how)


def objects(store: ObjectStore, bucket: str) -> dict[str, bytes]:
    s3 = store.client()
    keys = [each["Key"] for each in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]
    return {key: s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


def unfinished(store: ObjectStore, bucket: str) -> int:
    return len(store.client().list_multipart_uploads(Bucket=bucket).get("Uploads", []))


def test_the_object_has_the_bytes_of_the_file(
    sources: list[Path], url: ObjectUrl, object_store: ObjectStore, tmp_path: Path
) -> None:
    checks: list[PreflightCheck] = []
    report = run(sources, url, on_checks=checks.extend)
    local = run_merge(sources, tmp_path / "merged.rdb", RULES, now_ms=NOW_MS, jobs=2)
    found = objects(object_store, url.bucket)
    assert found[url.key] == (tmp_path / "merged.rdb").read_bytes()
    assert set(found) == {url.key, f"{url.key}.manifest.json"}
    (file,) = report.files
    assert file.manifest == local.files[0].manifest
    assert Manifest.model_validate_json(found[f"{url.key}.manifest.json"]) == file.manifest
    assert (file.path, file.upload is not None) == (str(url), True)
    assert file.upload is not None
    assert file.upload.crc64 == file.manifest.crc64
    assert file.upload.parts == -(-file.output_bytes // storing.PART) == 3
    assert (file.upload.encryption, file.upload.checks) == ("AES256", checks)
    assert file.upload.grant is not None
    assert file.upload.grant.outcome == "needed"
    assert MergeReport.model_validate_json(report.model_dump_json()) == report


def test_nothing_is_left_here_but_lists(sources: list[Path], url: ObjectUrl, tmp_path: Path) -> None:
    report = run(sources, url)
    assert [path.name for path in Path.cwd().iterdir()] == ["merged.rdb.conflicts.jsonl"]
    assert report.conflicts_file == "merged.rdb.conflicts.jsonl"
    assert {path.suffix for path in tmp_path.iterdir()} == {"", ".rdb", ".index"}


def test_conflicts_end_it_before_a_byte_is_sent(sources: list[Path], url: ObjectUrl, object_store: ObjectStore) -> None:
    with pytest.raises(ConflictError, match=r"all of them are listed in merged\.rdb\.conflicts\.jsonl"):
        run(sources, url, rules=Rules())
    assert objects(object_store, url.bucket) == {}


def test_each_shard_becomes_an_object(
    sources: list[Path], url: ObjectUrl, object_store: ObjectStore, tmp_path: Path
) -> None:
    rules = Rules(on_conflict=Policy.FIRST, dbs=[0])
    report = run(sources, url, rules=rules, shards=even_slots(3), grant=True)
    run_merge(sources, tmp_path / "merged.rdb", rules, now_ms=NOW_MS, jobs=2, shards=even_slots(3))
    found = objects(object_store, url.bucket)
    for slots in ("0-5460", "5461-10922", "10923-16383"):
        assert found[f"2026/merged.{slots}.rdb"] == (tmp_path / f"merged.{slots}.rdb").read_bytes()
    assert [file.path for file in report.files] == [
        f"s3://{url.bucket}/2026/merged.{slots}.rdb" for slots in ("0-5460", "5461-10922", "10923-16383")
    ]
    (statement,) = json.loads(object_store.client().get_bucket_policy(Bucket=url.bucket)["Policy"])["Statement"]
    assert len(statement["Resource"]) == 4


def test_a_dry_run_looks_and_sends_nothing(sources: list[Path], url: ObjectUrl, object_store: ObjectStore) -> None:
    with HostileS3(object_store.endpoint) as hostile:
        report = run(sources, url, endpoint=hostile.endpoint, dry_run=True)
        assert {request.method for request in hostile.requests} == {"GET", "HEAD"}
    assert report.write_s is None
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize("key", ["2026/merged.rdb", "2026/merged.rdb.manifest.json"])
def test_an_object_in_the_way_is_refused_before_any_work(
    sources: list[Path], url: ObjectUrl, object_store: ObjectStore, key: str
) -> None:
    object_store.client().put_object(Bucket=url.bucket, Key=key, Body=b"theirs")
    with pytest.raises(UsageError, match=f"{key} exists"):
        run(sources, url)
    assert objects(object_store, url.bucket) == {key: b"theirs"}
    assert not list(sources[0].parent.glob("*.index"))
    run(sources, url, force=True)
    assert len(objects(object_store, url.bucket)) == 2


def test_an_object_that_appears_meanwhile_is_kept(
    sources: list[Path], url: ObjectUrl, object_store: ObjectStore
) -> None:
    def appear(_: object) -> None:
        object_store.client().put_object(Bucket=url.bucket, Key=url.key, Body=b"theirs")

    with pytest.raises(UsageError, match="exists"):
        run(sources, url, on_plan=appear)
    assert objects(object_store, url.bucket) == {url.key: b"theirs"}
    assert unfinished(object_store, url.bucket) == 0


def test_shards_that_are_there_when_another_fails_are_named(
    sources: list[Path], url: ObjectUrl, object_store: ObjectStore
) -> None:
    def appear(_: object) -> None:
        object_store.client().put_object(Bucket=url.bucket, Key="2026/merged.5461-10922.rdb", Body=b"theirs")

    with pytest.raises(
        StoreError, match=r"exists\n  of the same merge, there are already s3://\S+0-5460\.rdb$"
    ) as error:
        run(sources, url, rules=Rules(on_conflict=Policy.FIRST, dbs=[0]), shards=even_slots(3), on_plan=appear)
    assert "delete those before the next try" in error.value.remedy
    assert unfinished(object_store, url.bucket) == 0


def test_a_folder_or_a_bucket_that_is_not_there_is_refused(sources: list[Path], url: ObjectUrl) -> None:
    with pytest.raises(UsageError, match="is a folder"):
        run(sources, ObjectUrl(url.bucket, "2026/"))
    with pytest.raises(StoreError, match="there is no such bucket"):
        run(sources, ObjectUrl(f"{url.bucket}-none", "a.rdb"))


def test_a_burst_of_slow_down_and_a_cut_do_not_change_a_byte(
    sources: list[Path], url: ObjectUrl, object_store: ObjectStore, tmp_path: Path
) -> None:
    troubles = (Trouble(lambda r: r.part == 2, 4, 503, "SlowDown"), Trouble(lambda r: r.part == 3, 2, cut_after=9_999))
    with HostileS3(object_store.endpoint, *troubles) as hostile:
        run(sources, url, endpoint=hostile.endpoint)
    run_merge(sources, tmp_path / "merged.rdb", RULES, now_ms=NOW_MS, jobs=2)
    assert objects(object_store, url.bucket)[url.key] == (tmp_path / "merged.rdb").read_bytes()


def test_a_store_that_fails_leaves_nothing(sources: list[Path], url: ObjectUrl, object_store: ObjectStore) -> None:
    with (
        HostileS3(object_store.endpoint, Trouble(lambda r: r.part == 3, None, 400, "ExpiredToken")) as hostile,
        pytest.raises(StoreError, match="the credentials have expired"),
    ):
        run(sources, url, endpoint=hostile.endpoint)
    assert (objects(object_store, url.bucket), unfinished(object_store, url.bucket)) == ({}, 0)


@pytest.mark.parametrize("denied", [False, True])
def test_a_stop_leaves_nothing_or_says_what(
    tmp_path: Path, url: ObjectUrl, object_store: ObjectStore, denied: bool
) -> None:
    source, stop = big(tmp_path, 2), threading.Event()

    def progress(status: Any) -> None:
        if status.phase == "upload" and status.done_bytes > 5 * storing.PART:
            stop.set()

    troubles = [Trouble(lambda r: r.method == "DELETE", None, 403, "AccessDenied")] if denied else []
    with HostileS3(object_store.endpoint, *troubles) as hostile:
        text = "could not be given up" if denied else "stopped while writing; nothing was left behind"
        with pytest.raises(StoppedError, match=text) as stopped:
            run([source], url, endpoint=hostile.endpoint, stop=stop, progress=progress)
    assert objects(object_store, url.bucket) == {}
    assert unfinished(object_store, url.bucket) == int(denied)
    assert ("--abandon" in stopped.value.remedy) == denied


def test_a_source_that_changes_makes_no_object(tmp_path: Path, url: ObjectUrl, object_store: ObjectStore) -> None:
    (source,) = saved(tmp_path, rdb(9, select(0), entry(b"a", b"x" * 1_000)))

    def change(status: Any) -> None:
        if status.phase == "upload":
            source.touch()

    with pytest.raises(UsageError, match="changed while it was being read"):
        run([source], url, progress=change)
    assert (objects(object_store, url.bucket), unfinished(object_store, url.bucket)) == ({}, 0)


def test_bytes_that_are_not_those_that_were_made_make_no_object(
    tmp_path: Path, url: ObjectUrl, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defect of the sink, or of memory, planted."""
    (source,) = saved(tmp_path, rdb(9, select(0), entry(b"a", b"x" * 1_000)))
    plain = part_sink.PartSink.write

    def write(self: part_sink.PartSink, data: bytes | bytearray | memoryview) -> None:
        plain(self, bytes(data).replace(b"xx", b"xy", 1))

    monkeypatch.setattr(part_sink.PartSink, "write", write)
    with pytest.raises(LedgerError, match="was sent where") as defect:
        run([source], url)
    assert "report" in defect.value.remedy
    assert (objects(object_store, url.bucket), unfinished(object_store, url.bucket)) == ({}, 0)
