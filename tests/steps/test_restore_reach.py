"""Restoring into servers that hide: behind SSH, behind sentinels, over TLS, as a cluster behind one SSH server."""

from __future__ import annotations

from pathlib import Path

import pytest
from certificates import Authority, tls_config
from cli.running import run
from clusters import running_cluster, running_sentinel
from rdbbytes import entry, rdb, select
from realservers import free_port, need, running
from sshserver import need_sshd, ssh_server

KEYS = 300


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.rdb"
    path.write_bytes(rdb(9, select(0), *(entry(b"key:%d" % number, b"value") for number in range(KEYS))))
    return path


def restore(file: Path, address: str, *words: str | Path, **env: str) -> tuple[int, str]:
    result = run("restore", file, address, *words, env=env)
    return result.exit_code, result.stdout + result.stderr


def test_a_server_behind_ssh_is_restored_into(file: Path) -> None:
    need_sshd()
    with running(need("redis-6.2")) as server, ssh_server() as bastion:
        ssh = ("--ssh", "bastion", "--ssh-config", bastion.config)
        code, said = restore(file, f"redis://127.0.0.1:{server.port}", *ssh)
        assert code == 0, said
        assert f"300 keys are in 127.0.0.1:{server.port} via bastion" in said
        assert server.counts() == {0: KEYS}
        closed = free_port()
        code, said = restore(file, f"redis://127.0.0.1:{closed}", *ssh)
    assert code == 50
    assert "SSH server bastion got: connection refused: nothing listens there" in said


def test_a_cluster_behind_one_ssh_server_is_restored_into(file: Path) -> None:
    need_sshd()
    with running_cluster(need("redis-7.0")) as cluster, ssh_server() as bastion:
        address = f"redis://127.0.0.1:{cluster.primaries[0].port}"
        code, said = restore(file, address, "--ssh", "bastion", "--ssh-config", bastion.config)
        assert code == 0, said
        assert sum(node.counts()[0] for node in cluster.primaries) == KEYS
        assert bastion.log.count("Accepted publickey") == 1


def test_the_primary_of_a_service_is_restored_into(file: Path) -> None:
    binary = need("redis-6.2")
    with running(binary) as server, running_sentinel(binary, {"shop": server}) as sentinel:
        code, said = restore(file, f"redis-sentinel://127.0.0.1:{sentinel.port}/shop")
        assert code == 0, said
        assert server.counts() == {0: KEYS}
        code, said = restore(file, f"redis-sentinel://127.0.0.1:{sentinel.port}/cart")
    assert code == 50
    assert "knows no service cart" in said


def test_tls_and_a_user_are_restored_with(file: Path, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    port = free_port()
    config = tls_config(authority.sign("cache", "DNS:cache.example"), authority)
    with running(need("redis-7.0"), config={**config, "tls-port": str(port)}) as server:
        with server.client() as client:
            client.execute_command("ACL", "SETUSER", "ann", "on", ">Secret-Token-1234567", "~*", "+@all")
            client.execute_command("ACL", "SETUSER", "default", "off")
        address, words = f"rediss://127.0.0.1:{port}", ("--tls-ca", authority.cert, "--user", "ann")
        password = {"RDBMERGE_PASSWORD": "Secret-Token-1234567"}
        code, said = restore(file, address, *words, **password)
        assert code == 50
        assert "its certificate is not trusted: IP address mismatch" in said
        code, said = restore(file, address, *words, "--tls-sni", "cache.example", RDBMERGE_PASSWORD="wrong-Secret")
        assert code == 50
        assert "wrong-Secret" not in said
        code, said = restore(file, address, *words, "--tls-sni", "cache.example", **password)
        assert code == 0, said
        with server.client(username="ann", password="Secret-Token-1234567") as client:
            assert client.dbsize() == KEYS
