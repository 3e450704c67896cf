from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from fakes.primary import FakePrimary, bulk
from fakes.recorded import WIRE, conversation_names, load

from rdbmerge.errors import DiskError
from rdbmerge.reach.tunnels import Tunnels
from rdbmerge.replication.limits import PullLimits
from rdbmerge.replication.source import Source
from rdbmerge.snapshot.manifest import Manifest, read_manifest
from rdbmerge.snapshot.workdir import WorkDir
from rdbmerge.steps.pull_one import PullStatus, PullTools, held_snapshot, pull_one

QUICK = PullLimits(
    connect_timeout_s=2, reply_timeout_s=1, silence_timeout_s=1, header_timeout_s=5, retry_for_s=0, stream_grace_s=0.2
)
SCENARIOS = ("sync", "psync", "diskless", "psync-fallback", "sync-capa")
WITH_SNAPSHOT = [
    name for name in conversation_names() if load(name).scenario in SCENARIOS and load(name).facts["outcome"] == "rdb"
]


def tools(folder: Path) -> tuple[PullTools, list[PullStatus]]:
    told: list[PullStatus] = []
    return (
        PullTools(
            folder=WorkDir(folder),
            limits=QUICK,
            now_ms=lambda: time.time_ns() // 1_000_000,
            tell=told.append,
            stop=threading.Event(),
            tunnels=Tunnels(connect_timeout_s=2),
        ),
        told,
    )


@pytest.mark.parametrize("name", WITH_SNAPSHOT)
def test_what_any_recorded_server_sent_becomes_a_described_snapshot(name: str, tmp_path: Path) -> None:
    conversation = load(name)
    version = name.removesuffix(f"-{conversation.scenario}")
    known = WIRE / f"{version}-info.txt"
    info = bulk(known.read_bytes().decode() if known.exists() else "")
    received: list[bool] = []
    with FakePrimary({"INFO": info}, conversation=conversation) as primary:
        source = Source(host="127.0.0.1", port=primary.port, name="a")
        shared, told = tools(tmp_path)
        manifest = pull_one(source, shared, received=lambda: received.append(True))
    assert manifest.sha256 == conversation.facts["rdb_sha256"]
    assert manifest == read_manifest(tmp_path / "a.rdb")
    assert received == [True]
    assert told[-1].phase == "check"
    pulled = manifest.pulled
    assert pulled is not None
    # A release candidate says another number than its name.
    if version.replace("valkey-", "").replace(".", "").isdigit():
        assert (pulled.server_version or "").endswith(f" {version.removeprefix('valkey-')}")
    assert pulled.after is not None
    if name.startswith(("2.4", "2.6")):
        assert (pulled.command, pulled.replication_id, pulled.replication_offset) == ("SYNC", None, None)
        assert pulled.snapshot_at_from == "the replication handshake"


def test_a_file_that_no_pull_made_does_not_count(golden: Path, tmp_path: Path) -> None:
    source, (shared, _) = Source(host="127.0.0.1", port=1, name="a"), tools(tmp_path)
    assert held_snapshot(source, shared)[0].why == ""
    (tmp_path / "a.rdb").write_bytes((golden / "7.0.15" / "all_types.rdb").read_bytes())
    held, manifest = held_snapshot(source, shared)
    assert (held.current, held.why, manifest) == (False, "the file at hand has no manifest of a pull", None)
    (tmp_path / "a.rdb.manifest.json").write_text("{}")
    assert held_snapshot(source, shared)[0].why.startswith("the file at hand is of no use (the manifest ")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    shared, _ = tools(tmp_path / "not-there")
    with pytest.raises(DiskError, match=r"cannot write to .*not-there: No such file or directory"):
        pull_one(Source(host="127.0.0.1", port=1, name="a"), shared, received=lambda: None)


def test_the_model_of_a_manifest_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="extra"):
        Manifest.model_validate({"extra": 1})
