"""The servers we test against do what the other tests take for granted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from realservers import ServerBinary, ServerRefused, each_server, need, running

pytestmark = pytest.mark.once

GOLDEN = Path(__file__).resolve().parents[2] / "fixtures" / "rdb"
VERSIONS = sorted(path.name for path in GOLDEN.iterdir())


@each_server()
def test_a_server_says_the_version_it_was_found_under(binary: ServerBinary) -> None:
    with running(binary) as server:
        info = server.client().info("server")
    said = info.get("valkey_version") or info["redis_version"]
    assert said == ".".join(map(str, binary.version))


@each_server()
def test_a_saved_file_has_the_magic_that_the_table_says(binary: ServerBinary) -> None:
    with running(binary) as server:
        magic = server.save().read_bytes()[:9]
    assert int(magic[-3:] if magic.startswith(b"VALKEY") else magic[-4:]) == binary.rdb_version
    assert binary.can_load(magic)


@each_server()
def test_a_replica_without_primary_keeps_keys_that_have_expired(binary: ServerBinary) -> None:
    version = max((v for v in VERSIONS if binary.can_load((GOLDEN / v / "expired.rdb").read_bytes()[:9])), key=str)
    expected = json.loads((GOLDEN / version / "MANIFEST.json").read_text())["expired"]["per_db"]
    with running(binary, rdb=GOLDEN / version / "expired.rdb", as_replica=True) as server:
        assert server.counts() == {int(db): count for db, count in expected.items()}
    with running(binary, rdb=GOLDEN / version / "expired.rdb") as server:
        assert sum(server.counts().values()) < sum(expected.values())


@pytest.mark.parametrize("version", VERSIONS)
@each_server()
def test_a_server_loads_exactly_the_versions_the_table_says(binary: ServerBinary, version: str) -> None:
    file = GOLDEN / version / "cluster.rdb"
    file = file if file.exists() else GOLDEN / version / "empty.rdb"
    if binary.can_load(file.read_bytes()[:9]):
        with running(binary, rdb=file) as server:
            assert (
                sum(server.counts().values())
                == json.loads(file.with_name("MANIFEST.json").read_text())[file.stem]["keys"]
            )
        return
    with pytest.raises(ServerRefused) as refused, running(binary, rdb=file):
        pass
    assert "Can't handle RDB format version" in refused.value.log or "Wrong signature" in refused.value.log


def test_nothing_is_left_behind() -> None:
    with running(need("redis-6.2")) as server:
        folder, process = server.dir, server.process
    assert process.poll() is not None
    assert not folder.exists()
