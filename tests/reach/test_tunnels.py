from __future__ import annotations

import os
import signal
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes.primary import FakePrimary, Hang, Say
from realservers import free_port, need, running
from sshserver import SshServer, need_sshd, ssh_server

from rdbmerge.errors import SourceError, StoppedError, TargetError
from rdbmerge.reach.connection import Wire, open_socket, tunnel_failure
from rdbmerge.reach.server import Server
from rdbmerge.reach.tunnels import Tunnels
from rdbmerge.replication.source import Source

pytestmark = pytest.mark.once

PING = b"*1\r\n$4\r\nPING\r\n"


@pytest.fixture(scope="module")
def bastion() -> Iterator[SshServer]:
    need_sshd()
    with ssh_server() as server:
        yield server


@pytest.fixture
def tunnels() -> Iterator[Tunnels]:
    with Tunnels(connect_timeout_s=5) as every:
        yield every


def behind(bastion: SshServer, port: int, config: Path | None = None, **options: object) -> Server:
    place = {"host": "127.0.0.1", "port": port, "ssh": "bastion", "ssh_config": str(config or bastion.config)}
    return Server(**(place | options))  # type: ignore[arg-type]


def ask(server: Server) -> bytes | None:
    """What PING gets; the failure of the tunnel is raised."""
    wire = Wire(server, timeout_s=5)
    try:
        wire.send(PING, timeout_s=5)
        said = wire.receive(100, timeout_s=10)
        if not said:
            raise tunnel_failure(server) or AssertionError("the connection ended, and nobody knows why")
        return said
    finally:
        wire.close()


def wait_until(true: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.02)
    return False


def ssh_processes(config: Path) -> dict[int, str]:
    """The masters that read this configuration, each with the shell that keeps it: pid -> program."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if str(config).encode() in words and b"-M" in words:
            found[int(folder.name)] = os.path.basename(words[0].decode())  # noqa: PTH119 - a word, not a path
    return found


def test_targets_behind_one_ssh_server_share_its_connection(bastion: SshServer, tunnels: Tunnels) -> None:
    config = bastion.write_config(ServerAliveInterval="31")
    with FakePrimary() as one, FakePrimary({"PING": b"+two\r\n"}) as two:
        servers = [tunnels.through(behind(bastion, port, config)) for port in (one.port, two.port, one.port)]
        assert [ask(server) for server in servers] == [b"+PONG\r\n", b"+two\r\n", b"+PONG\r\n"]
        assert sorted(ssh_processes(config).values()) == ["sh", "ssh"]
    assert servers[0].tunnel is servers[2].tunnel


def test_sockets_are_private_and_gone_at_the_end(bastion: SshServer) -> None:
    config = bastion.write_config(ServerAliveInterval="32")
    with FakePrimary() as primary, Tunnels(connect_timeout_s=5) as tunnels:
        server = tunnels.through(behind(bastion, primary.port, config))
        ask(server)
        assert server.tunnel is not None
        path = Path(server.tunnel.open(server, None))
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert path.stat().st_mode & 0o077 == 0
        assert ssh_processes(config)
    assert not path.parent.exists()
    assert not ssh_processes(config)


def test_a_server_without_ssh_is_left_as_it_is(tunnels: Tunnels) -> None:
    server = Server(host="a")
    assert tunnels.through(server) is server


def test_a_unix_socket_behind_an_ssh_server_is_reached(bastion: SshServer, tunnels: Tunnels, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with running(need("redis-6.2"), config={"unixsocket": str(path)}):
        server = Server(unix_path=str(path), ssh="bastion", ssh_config=str(bastion.config))
        assert ask(tunnels.through(server)) == b"+PONG\r\n"
    gone = Server(unix_path=str(tmp_path / "none"), ssh="bastion", ssh_config=str(bastion.config))
    assert "SSH server bastion " in fails(tunnels, gone)[0]


def test_tls_through_a_tunnel_checks_the_name_of_the_server_behind_it(
    bastion: SshServer, tunnels: Tunnels, tmp_path: Path
) -> None:
    command = "openssl req -x509 -newkey rsa:2048 -nodes -keyout k.pem -out c.pem -days 2 -subj /CN=x -addext"
    subprocess.run([*command.split(), "subjectAltName=DNS:localhost"], cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "c.pem", tmp_path / "k.pem")
    with FakePrimary(tls=context) as primary:
        how = {"tls": True, "tls_ca": str(tmp_path / "c.pem")}
        assert ask(tunnels.through(behind(bastion, primary.port, host="localhost", **how))) == b"+PONG\r\n"
        with pytest.raises(TargetError, match="its certificate is not trusted: IP address mismatch"):
            open_socket(tunnels.through(behind(bastion, primary.port, **how)), timeout_s=5)


def test_several_hops_go_by_the_users_configuration(bastion: SshServer, tunnels: Tunnels) -> None:
    with ssh_server() as inner, FakePrimary() as primary:
        config = inner.write_config(ProxyJump="outer")
        config.write_text(config.read_text() + bastion.config.read_text().replace("Host bastion", "Host outer"))
        assert ask(tunnels.through(behind(inner, primary.port, config))) == b"+PONG\r\n"
        assert "Accepted publickey" in inner.log
        assert "Accepted publickey" in bastion.log


# --- failures -----------------------------------------------------------------------------------------------------


def fails(tunnels: Tunnels, server: Server) -> tuple[str, str]:
    with pytest.raises(type(server).failure) as failure:
        ask(tunnels.through(server))
    assert str(failure.value).startswith(f"{server.place}: ")
    return str(failure.value).removeprefix(f"{server.place}: "), failure.value.remedy


def test_a_source_and_a_target_fail_each_in_their_own_way(bastion: SshServer, tunnels: Tunnels) -> None:
    config = bastion.write_config(Port=str(free_port()))
    assert (
        "SSH server bastion: connection refused (ssh: connect to host" in fails(tunnels, behind(bastion, 1, config))[0]
    )
    source = Source(host="127.0.0.1", port=1, ssh="bastion", ssh_config=str(config))
    with pytest.raises(SourceError) as failure:
        open_socket(tunnels.through(source), timeout_s=5)
    assert failure.value.exit_code == 30


@pytest.mark.parametrize(
    ("changes", "finding", "remedy"),
    [
        ({"IdentityFile": "FOLDER/stranger"}, "refused the login (ssh: ", "ssh-agent"),
        ({"UserKnownHostsFile": "/dev/null"}, "its host key is not known", "compare the fingerprint"),
        ({"UserKnownHostsFile": "FOLDER/changed"}, "its host key has CHANGED", "ssh-keygen -R"),
        ({"HostName": "no-such-host.invalid"}, "host name not found (ssh: ", "Host lines"),
        ({"NoSuchSetting": "1"}, "ssh cannot read its configuration (ssh: ", "mend that file"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_an_ssh_server_that_is_not_got_into_says_why(
    bastion: SshServer, tunnels: Tunnels, changes: dict[str, str], finding: str, remedy: str
) -> None:
    stranger = (bastion.folder / "stranger.pub").read_text().split()[:2]
    (bastion.folder / "changed").write_text(f"[127.0.0.1]:{bastion.port} {' '.join(stranger)}\n")
    config = bastion.write_config(**{key: text.replace("FOLDER", str(bastion.folder)) for key, text in changes.items()})
    said = fails(tunnels, behind(bastion, 1, config))
    assert finding in said[0]
    assert remedy in said[1]
    # Whoever comes next is told the same at once: 37 sources do not knock 37 times.
    before = bastion.log.count("Connection")
    assert fails(tunnels, behind(bastion, 2, config)) == said
    assert bastion.log.count("Connection") == before


def test_a_configuration_that_is_not_there_is_named(bastion: SshServer, tunnels: Tunnels, tmp_path: Path) -> None:
    finding, remedy = fails(tunnels, behind(bastion, 1, tmp_path / "none"))
    assert "ssh cannot read its configuration (ssh: Can't open user config file" in finding
    assert "mend" in remedy


def test_an_ssh_server_that_says_nothing_is_given_up(bastion: SshServer) -> None:
    with FakePrimary(unasked=[Hang()]) as mute, Tunnels(connect_timeout_s=1) as tunnels:
        finding, _ = fails(tunnels, behind(bastion, 1, bastion.write_config(Port=str(mute.port))))
    assert "SSH server bastion cannot be reached (ssh: Connection timed out during banner exchange" in finding


def test_no_ssh_at_all_is_said(bastion: SshServer, tunnels: Tunnels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(bastion.folder))
    finding, remedy = fails(tunnels, behind(bastion, 1))
    assert finding == "there is no `ssh` on this machine"
    assert "openssh-client" in remedy


def test_each_target_is_told_its_own_refusal(bastion: SshServer, tunnels: Tunnels) -> None:
    with FakePrimary() as primary:
        closed = [tunnels.through(behind(bastion, free_port())) for _ in range(2)]
        for server in closed:
            finding, remedy = fails(tunnels, server)
            assert finding.startswith("SSH server bastion got: connection refused: nothing listens there (ssh: ")
            assert "as seen from there" in remedy
        open_one = tunnels.through(behind(bastion, primary.port))
        assert ask(open_one) == b"+PONG\r\n"
        assert tunnel_failure(open_one) is None
        assert "connection refused" in str(tunnel_failure(closed[0]))


def test_an_ssh_server_that_forwards_nothing_says_so(tunnels: Tunnels) -> None:
    need_sshd()
    with FakePrimary() as primary, ssh_server(AllowTcpForwarding="no") as strict:
        finding, remedy = fails(tunnels, behind(strict, primary.port))
    assert "does not let us through to it (ssh: administratively prohibited" in finding
    assert "AllowTcpForwarding" in remedy


def test_a_connection_that_dies_is_explained_and_made_again(tunnels: Tunnels) -> None:
    need_sshd()
    with FakePrimary({"PING": [Say(b"+"), Hang(30)]}) as primary, ssh_server() as server:
        reached = tunnels.through(behind(server, primary.port))
        wire = Wire(reached, timeout_s=5)
        wire.send(PING, timeout_s=5)
        assert wire.receive(10, timeout_s=5) == b"+"
        (master,) = (pid for pid, program in ssh_processes(server.config).items() if program == "ssh")
        os.kill(master, signal.SIGKILL)
        assert wire.receive(10, timeout_s=10) == b""
        wire.close()
        assert "the SSH connection to bastion" in str(tunnel_failure(reached))
        assert ask(reached) == b"+"
        # The SSH server's own end.
        wire = Wire(reached, timeout_s=5)
        server.stop()
        assert wire.receive(10, timeout_s=10) == b""
        wire.close()
        assert "the SSH connection to bastion ended (ssh: " in str(tunnel_failure(reached))
        assert "SSH server bastion: connection refused" in fails(tunnels, reached)[0]


def test_stop_ends_the_wait_for_a_login(bastion: SshServer) -> None:
    stop = threading.Event()
    with FakePrimary(unasked=[Hang()]) as mute, Tunnels(connect_timeout_s=60) as tunnels:
        server = tunnels.through(behind(bastion, 1, bastion.write_config(Port=str(mute.port))))
        threading.Timer(0.3, stop.set).start()
        with pytest.raises(StoppedError):
            open_socket(server, timeout_s=60, stop=stop)
