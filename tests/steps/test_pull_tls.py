"""Pulling over TLS from a real server, with its users; each way to be refused is told with what to do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import FAR_AHEAD, LONG_AGO, Authority, Certificate, tls_config
from cli.running import run
from clusters import command, running_cluster, running_sentinel
from realservers import RunningServer, free_port, need, running
from sshserver import need_sshd, ssh_server

from rdbmerge.snapshot.manifest import read_manifest


class World:
    """An authority, and what it has signed."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder / "ours")
        self.stranger = Authority(folder / "theirs")
        self.server = self.authority.sign("cache", "DNS:cache.example", "DNS:localhost")
        self.client = self.authority.sign("client")
        self.foreign = self.stranger.sign("foreign")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("tls"))


@contextlib.contextmanager
def tls_server(world: World, certificate: Certificate | None = None, **how: str) -> Iterator[tuple[RunningServer, int]]:
    """Redis 7.0 of Debian, the only one here that speaks TLS, and its TLS port."""
    port = free_port()
    config = tls_config(certificate or world.server, world.authority, clients=how.pop("clients", "no"))
    with running(need("redis-7.0"), config={**config, "tls-port": str(port), **how}) as server:
        with server.client() as client:
            client.set("a", "1")
        yield server, port


@pytest.fixture(scope="module")
def server(world: World) -> Iterator[tuple[RunningServer, int]]:
    with tls_server(world) as one:
        yield one


def pull(tmp_path: Path, address: str, *words: str | Path, **env: str) -> tuple[int, str]:
    (tmp_path / "a.rdb").unlink(missing_ok=True)
    result = run("pull", f"a={address}", "--dir", tmp_path, *words, env=env)
    assert (tmp_path / "a.rdb").exists() == (result.exit_code == 0)
    return result.exit_code, result.stderr


def test_a_snapshot_comes_over_tls_in_the_name_of_the_host(
    world: World, server: tuple[RunningServer, int], tmp_path: Path
) -> None:
    code, said = pull(tmp_path, f"rediss://localhost:{server[1]}", "--tls-ca", world.authority.cert)
    assert code == 0, said
    manifest = read_manifest(tmp_path / "a.rdb")
    assert manifest is not None
    assert manifest.pulled is not None
    assert manifest.pulled.address == f"rediss://localhost:{server[1]}"
    assert (manifest.keys_in_file, manifest.pulled.written) == ({0: 1}, "quiet")


def test_another_name_is_refused_and_tls_sni_gives_the_right_one(
    world: World, server: tuple[RunningServer, int], tmp_path: Path
) -> None:
    address = f"rediss://127.0.0.1:{server[1]}"
    code, said = pull(tmp_path, address, "--tls-ca", world.authority.cert)
    assert code == 30
    assert "its certificate is not trusted: IP address mismatch" in said
    assert "--tls-sni" in said
    code, said = pull(tmp_path, address, "--tls-ca", world.authority.cert, "--tls-sni", "wrong.example")
    assert code == 30
    assert "Hostname mismatch, certificate is not valid for 'wrong.example'" in said
    assert pull(tmp_path, address, "--tls-ca", world.authority.cert, "--tls-sni", "cache.example")[0] == 0


@pytest.mark.parametrize("words", [(), ("--tls-ca", "STRANGER")])
def test_an_unknown_authority_is_refused(
    world: World, server: tuple[RunningServer, int], tmp_path: Path, words: tuple[str, ...]
) -> None:
    words = tuple(world.stranger.cert if word == "STRANGER" else word for word in words)
    code, said = pull(tmp_path, f"rediss://localhost:{server[1]}", *words)
    assert code == 30
    assert "its certificate is not trusted: self-signed certificate in certificate chain" in said
    assert "Try:   give the authority's certificate (--tls-ca)" in said
    assert pull(tmp_path, f"rediss://localhost:{server[1]}", *words, "--tls-insecure")[0] == 0


@pytest.mark.parametrize(("between", "finding"), [(LONG_AGO, "has expired"), (FAR_AHEAD, "is not yet valid")])
def test_a_certificate_out_of_its_time_is_refused(
    world: World, tmp_path: Path, between: tuple[str, str], finding: str
) -> None:
    certificate = world.authority.sign(f"timed-{between[0]}", "DNS:localhost", between=between)
    with tls_server(world, certificate) as (_, port):
        code, said = pull(tmp_path, f"rediss://localhost:{port}", "--tls-ca", world.authority.cert)
    assert code == 30
    assert f"its certificate is not trusted: certificate {finding}" in said
    assert "Try:   renew the server's certificate, and check the clocks" in said


def test_a_certificate_of_ours_is_asked_for_and_checked(world: World, tmp_path: Path) -> None:
    with tls_server(world, clients="yes") as (_, port):
        address, ca = f"rediss://localhost:{port}", ("--tls-ca", world.authority.cert)
        code, said = pull(tmp_path, address, *ca)
        assert code == 30
        assert "it wants a certificate from us" in said
        foreign = ("--tls-cert", world.foreign.cert, "--tls-key", world.foreign.key)
        code, said = pull(tmp_path, address, *ca, *foreign)
        assert code == 30
        assert "it refused TLS" in said
        assert "check client certificate and key" in said
        own = ("--tls-cert", world.client.cert, "--tls-key", world.client.key)
        assert pull(tmp_path, address, *ca, *own)[0] == 0
        code, said = pull(tmp_path, address, *ca, "--tls-cert", world.client.cert, "--tls-key", world.foreign.key)
        assert code == 2
        assert "cannot use the TLS files" in said


def test_a_plain_port_and_a_tls_port_are_told_apart(
    world: World, server: tuple[RunningServer, int], tmp_path: Path
) -> None:
    code, said = pull(tmp_path, f"rediss://localhost:{server[0].port}", "--tls-ca", world.authority.cert)
    assert code == 30
    assert "without rediss://" in said
    code, said = pull(tmp_path, f"localhost:{server[1]}")
    assert code == 30
    assert "rediss://" in said


def test_a_user_with_no_more_rights_than_needed_is_enough(
    world: World, server: tuple[RunningServer, int], tmp_path: Path
) -> None:
    rights = ("resetkeys", "-@all", "+psync", "+replconf", "+ping")
    command(server[0], "ACL", "SETUSER", "bare", "reset", "on", ">bare-secret", *rights)
    command(server[0], "ACL", "SETUSER", "asking", "reset", "on", ">asking-secret", *rights, "+info", "+time")
    address, ca = f"rediss://localhost:{server[1]}", ("--tls-ca", world.authority.cert)
    code, said = pull(tmp_path, address, *ca, "--user", "asking", RDBMERGE_PASSWORD="asking-secret")
    assert code == 0, said
    assert "Warning" not in said
    code, said = pull(tmp_path, address, *ca, "--user", "bare", RDBMERGE_PASSWORD="bare-secret")
    assert code == 0, said
    assert "keys could not be compared with INFO" in said
    for user, password, finding in (
        ("asking", "wrong-secret", "the password is wrong"),
        ("nobody", "bare-secret", "or the user does not exist"),
    ):
        code, said = pull(tmp_path, address, *ca, "--user", user, RDBMERGE_PASSWORD=password)
        assert code == 30
        assert finding in said
        assert password not in said
    command(server[0], "ACL", "SETUSER", "reader", "reset", "on", ">reader-secret", "~*", "+@read", "+ping", "+info")
    code, said = pull(tmp_path, address, *ca, "--user", "reader", RDBMERGE_PASSWORD="reader-secret")
    assert code == 30
    assert "the user reader may not run" in said
    assert "ACL SETUSER reader on ><password> +psync +replconf +ping" in said


def test_tls_through_ssh_checks_the_name_of_the_server(
    world: World, server: tuple[RunningServer, int], tmp_path: Path
) -> None:
    need_sshd()
    with ssh_server() as bastion:
        ssh = ("--ssh", "bastion", "--ssh-config", bastion.config, "--tls-ca", world.authority.cert)
        assert pull(tmp_path, f"rediss://localhost:{server[1]}", *ssh)[0] == 0
        code, said = pull(tmp_path, f"rediss://127.0.0.1:{server[1]}", *ssh)
    assert code == 30
    assert "IP address mismatch" in said


def test_a_cluster_over_tls_is_reached_by_the_names_that_it_announces(world: World, tmp_path: Path) -> None:
    certificates = tls_config(world.server, world.authority)
    tls = {**certificates, "tls-cluster": "yes", "tls-replication": "yes", "cluster-announce-hostname": "localhost"}
    with running_cluster(need("redis-7.0"), config=tls, tls_ports=True) as cluster:
        port = cluster.tls_port(cluster.primaries[0])
        result = run(
            "pull", "--cluster", f"shop=rediss://localhost:{port}", "--dir", tmp_path, "--tls-ca", world.authority.cert
        )
    assert result.exit_code == 0, result.stderr
    assert result.stdout.count("pulled") == 3
    manifest = read_manifest(tmp_path / "shop-0-5460.rdb")
    assert manifest is not None
    assert manifest.pulled is not None
    assert manifest.pulled.address == f"rediss://localhost:{port}"


def test_sentinels_over_tls_lead_to_a_server_over_tls(world: World, tmp_path: Path) -> None:
    certificates = tls_config(world.server, world.authority)
    with tls_server(world) as (server, port):
        lines = [f"{name} {value}" for name, value in certificates.items()]
        with running_sentinel(
            server.binary, {"shop": server}, lines=[*lines, "tls-replication yes"], tls=True, primary_port=port
        ) as sentinel:
            words = ("--tls-ca", world.authority.cert, "--tls-sni", "localhost")
            code, said = pull(tmp_path, f"rediss-sentinel://127.0.0.1:{sentinel.port}/shop", *words)
    assert code == 0, said
