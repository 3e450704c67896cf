"""Pulling what was found: clusters as their shards, services as their primary."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.running import run
from clusters import RunningCluster, command, running_cluster, running_sentinel, until
from realservers import need, running
from sshserver import need_sshd, ssh_server

from rdbmerge.snapshot.manifest import read_manifest

KEYS = 300


@pytest.fixture(scope="module")
def cluster() -> Iterator[RunningCluster]:
    with running_cluster(need("valkey-8.1"), config={"requirepass": "Secret-Token-1234567"}) as one:
        one.fill(KEYS)
        yield one


def test_a_cluster_is_pulled_as_its_shards_and_merged_again(cluster: RunningCluster, tmp_path: Path) -> None:
    node = f"127.0.0.1:{cluster.primaries[1].port}"
    folder = tmp_path / "s"
    env = {"RDBMERGE_PASSWORD": "Secret-Token-1234567"}
    words = ("pull", "--cluster", f"shop={node}", "--dir", folder, "--report", tmp_path / "report.json", "--force")
    result = run(*words, env=env)
    assert result.exit_code == 0, result.stderr
    names = ["shop-0-5460", "shop-5461-10921", "shop-10922-16383"]
    assert [line.split()[0] for line in result.stdout.splitlines()[2:]] == names
    report = json.loads((tmp_path / "report.json").read_text())
    assert [one["source"] for one in report["sources"]] == names
    assert report["warnings"] == []
    keys = 0
    for name, primary in zip(names, cluster.primaries, strict=True):
        manifest = read_manifest(folder / f"{name}.rdb")
        assert manifest is not None
        assert manifest.pulled is not None
        found = manifest.pulled.found
        assert found is not None
        assert (found.by, found.group, found.role, found.node_id) == (
            "cluster",
            "shop",
            "primary",
            cluster.node_id(primary),
        )
        assert found.slots == name.removeprefix("shop-")
        assert found.address == manifest.pulled.address == f"127.0.0.1:{primary.port}"
        keys += manifest.keys_in_file[0]
    assert keys == KEYS
    again = run("pull", f"shop=redis-cluster://{node}", "--dir", folder, env=env)
    assert again.stdout.count("unchanged") == 3
    merged = run("merge", folder, "-o", tmp_path / "merged.rdb")
    assert merged.exit_code == 0, merged.stderr
    assert f"{KEYS} keys" in merged.stdout


def test_a_cluster_behind_ssh_is_pulled_beside_a_server_that_is_down(cluster: RunningCluster, tmp_path: Path) -> None:
    need_sshd()
    with ssh_server() as bastion:
        (tmp_path / "sources").write_text(
            f"shop=redis-cluster://127.0.0.1:{cluster.primaries[0].port} ssh=bastion\ncart=127.0.0.1:1\n"
        )
        result = run(
            "pull", f"@{tmp_path}/sources", "--dir", tmp_path / "s", "--ssh-config", bastion.config,
            env={"RDBMERGE_PASSWORD": "Secret-Token-1234567"},
        )  # fmt: skip
        assert bastion.log.count("Accepted publickey") == 1
    assert result.exit_code == 30
    assert [line.split()[0] for line in result.stdout.splitlines()[2:]][-1] == "cart"
    assert "3 pulled, 0 unchanged, 1 failed: 300 keys" in result.stderr
    manifest = read_manifest(tmp_path / "s" / "shop-0-5460.rdb")
    assert manifest is not None
    assert manifest.pulled is not None
    assert manifest.pulled.address == f"127.0.0.1:{cluster.primaries[0].port} via bastion"


def test_a_cluster_that_is_not_whole_fails_and_the_others_are_pulled(tmp_path: Path) -> None:
    with running(need("redis-6.2")) as server:
        result = run(
            "pull", f"cart=127.0.0.1:{server.port}", "--cluster", f"shop=127.0.0.1:{server.port}", "--dir", tmp_path
        )
    assert result.exit_code == 30
    assert "Error: shop (redis-cluster://127.0.0.1:" in result.stderr
    assert "1 pulled, 0 unchanged, 1 failed" in result.stderr
    assert (tmp_path / "cart.rdb").exists()


def test_a_cluster_that_was_resharded_is_told_of_its_old_files(tmp_path: Path) -> None:
    with running_cluster(need("redis-7.0")) as cluster:
        first, second, _ = cluster.primaries
        words = ("pull", "--cluster", f"shop=127.0.0.1:{first.port}", "--dir", tmp_path)
        assert run(*words).exit_code == 0
        for node in cluster.primaries:
            command(node, "CLUSTER", "SETSLOT", "0", "NODE", cluster.node_id(second))
        until(cluster.agree, "the nodes agree")
        result = run(*words)
    assert result.exit_code == 0, result.stderr
    assert (
        "Warning: shop-0-5460.rdb, shop-5461-10921.rdb: of slots that cluster shop now holds otherwise" in result.stderr
    )


def test_a_service_is_pulled_from_its_primary_whichever_that_is(tmp_path: Path) -> None:
    binary = need("redis-6.2")
    with running(binary) as primary:
        with primary.client() as client:
            client.set("a", "1")
        with running_sentinel(binary, {"shop": primary}) as sentinel:
            address = f"redis-sentinel://127.0.0.1:{sentinel.port}/shop"
            result = run("pull", address, "--dir", tmp_path)
            assert result.exit_code == 0, result.stderr
            again = run("pull", address, "--dir", tmp_path)
            wanted = run("pull", address, "--dir", tmp_path, "--prefer-replica", "--force")
    manifest = read_manifest(tmp_path / "shop.rdb")
    assert manifest is not None
    assert manifest.pulled is not None
    assert manifest.pulled.address == address
    assert manifest.pulled.found is not None
    assert (manifest.pulled.found.by, manifest.pulled.found.role) == ("sentinel", "primary")
    assert manifest.pulled.found.address == f"127.0.0.1:{primary.port}"
    assert "unchanged" in again.stdout
    assert f"shop: pulled from 127.0.0.1:{primary.port}, its primary by the sentinels\n" in result.stderr
    assert "Warning: shop: the sentinels know no sound replica, so the primary was taken" in wanted.stderr
