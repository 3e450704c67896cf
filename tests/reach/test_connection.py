from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import pytest
from fakes.primary import Close, FakePrimary, Hang, Say

from rdbmerge.errors import SourceError, StoppedError, UsageError
from rdbmerge.reach.connection import Wire, open_socket
from rdbmerge.replication.source import Source


def local(port: int, **options: object) -> Source:
    return Source(host="127.0.0.1", port=port, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -keyout k.pem -out c.pem -days 2 -subj /CN=cache.example"
    subprocess.run(
        [*command.split(), "-addext", "subjectAltName=DNS:cache.example"], cwd=folder, check=True, capture_output=True
    )
    return str(folder / "c.pem"), str(folder / "k.pem")


@pytest.fixture
def tls(certificate: tuple[str, str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


def fails(source: Source, timeout_s: float = 1.0) -> tuple[str, str]:
    with pytest.raises(SourceError) as failure:
        open_socket(source, timeout_s=timeout_s)
    assert failure.value.__cause__ is not None
    return str(failure.value), failure.value.remedy


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_a_refused_connection_says_so() -> None:
    port = closed_port()
    assert fails(local(port)) == (
        f"127.0.0.1:{port}: connection refused: nothing listens there",
        "check the port, and that the server's `bind` allows this machine",
    )


def test_a_name_that_does_not_exist_says_so() -> None:
    finding, remedy = fails(Source(host="no-such-host.invalid"))
    assert "no-such-host.invalid:6379: host name not found" in finding
    assert "DNS" in remedy


def test_a_socket_file_that_does_not_exist_says_so(tmp_path: Path) -> None:
    finding, remedy = fails(Source(unix_path=str(tmp_path / "redis.sock")))
    assert finding.endswith("redis.sock: there is no such socket")
    assert "unixsocket" in remedy


def test_a_peer_that_does_not_accept_is_given_up() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        filler = [socket.socket() for _ in range(4)]
        for one in filler:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        try:
            assert fails(local(port), timeout_s=0.3)[0] == f"127.0.0.1:{port}: no connection within 300ms"
            stop = threading.Event()
            stop.set()
            with pytest.raises(StoppedError):
                open_socket(local(port), timeout_s=30, stop=stop)
        finally:
            for one in filler:
                one.close()


def test_a_unix_socket_is_connected(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        open_socket(Source(unix_path=path), timeout_s=1).close()


def test_tls_is_spoken_under_the_name_that_was_asked_for(tls: ssl.SSLContext, certificate: tuple[str, str]) -> None:
    with FakePrimary(tls=tls) as primary:
        source = local(primary.port, tls=True, tls_ca=certificate[0], tls_sni="cache.example")
        wire = Wire(source, timeout_s=5)
        wire.send(b"*1\r\n$4\r\nPING\r\n", timeout_s=5)
        assert wire.receive(100, timeout_s=5) == b"+PONG\r\n"
        wire.close()
        open_socket(local(primary.port, tls=True, tls_verify=False), timeout_s=5).close()


def test_a_certificate_that_is_not_trusted_says_so(tls: ssl.SSLContext, certificate: tuple[str, str]) -> None:
    with FakePrimary(tls=tls) as primary:
        finding, remedy = fails(local(primary.port, tls=True))
        assert "its certificate is not trusted: self-signed certificate" in finding
        assert "--tls-ca" in remedy
        finding, remedy = fails(local(primary.port, tls=True, tls_ca=certificate[0]))
        assert "IP address mismatch" in finding
        assert "--tls-sni" in remedy


def test_a_plain_port_spoken_to_in_tls_says_so() -> None:
    with FakePrimary(unasked=[Say(b"-ERR max number of clients reached\r\n"), Hang()]) as primary:
        finding, remedy = fails(local(primary.port, tls=True))
        assert finding.endswith("it answers TLS with plain text")
        assert remedy == "this is no TLS port: write the address without rediss://"
    with FakePrimary(unasked=[Hang()]) as primary:
        finding, remedy = fails(local(primary.port, tls=True), timeout_s=0.3)
        assert finding.endswith("no answer to TLS")
        assert "without rediss://" in remedy
    with FakePrimary(unasked=[Close()]) as primary:
        assert "TLS failed" in fails(local(primary.port, tls=True))[0]


def test_a_missing_client_certificate_says_so(tls: ssl.SSLContext, certificate: tuple[str, str]) -> None:
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(certificate[0])
    with FakePrimary(tls=tls) as primary:
        with pytest.raises(SourceError, match="it wants a certificate from us") as failure:
            Wire(local(primary.port, tls=True, tls_verify=False), timeout_s=5).receive(10, timeout_s=5)
        assert "--tls-cert" in failure.value.remedy
        cert, key = certificate
        source = local(primary.port, tls=True, tls_verify=False, tls_cert=cert, tls_key=key)
        open_socket(source, timeout_s=5).close()


@pytest.mark.parametrize("option", ["tls_ca", "tls_cert"])
def test_a_tls_file_that_cannot_be_used_is_named(option: str, tmp_path: Path) -> None:
    bad = tmp_path / "bad.pem"
    for content in (None, "no pem"):
        if content:
            bad.write_text(content)
        with pytest.raises(UsageError, match=r"cannot use the TLS files .*bad\.pem"):
            open_socket(local(1, tls=True, **{option: str(bad)}), timeout_s=1)


def test_silence_is_none_and_an_end_is_empty() -> None:
    ticks: list[float] = []
    with FakePrimary({"PING": [Say(b"a"), Hang(0.5), Close()]}) as primary:
        wire = Wire(local(primary.port), timeout_s=1)
        wire.send(b"PING\r\n", timeout_s=1)
        assert wire.receive(10, timeout_s=1) == b"a"
        assert wire.receive(10, timeout_s=0.3, on_tick=lambda: ticks.append(time.monotonic())) is None
        assert ticks
        assert wire.receive(10, timeout_s=5) == b""
        assert wire.failure is None
        wire.close()


def test_a_reset_is_an_end_with_its_reason() -> None:
    with FakePrimary({"PING": [Close(reset=True)]}) as primary:
        wire = Wire(local(primary.port), timeout_s=1)
        wire.send(b"PING\r\n", timeout_s=1)
        assert wire.receive(10, timeout_s=5) == b""
        assert isinstance(wire.failure, ConnectionResetError)
        wire.close()


def test_a_wait_ends_soon_after_stop() -> None:
    stop = threading.Event()
    with FakePrimary() as primary:
        wire = Wire(local(primary.port), timeout_s=1, stop=stop)
        threading.Timer(0.2, stop.set).start()
        started = time.monotonic()
        with pytest.raises(StoppedError):
            wire.receive(10, timeout_s=30)
        assert time.monotonic() - started < 2
        wire.close()
