"""Nothing of ssh outlives us, and nothing of ours gets to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.primary import FakePrimary
from reach.test_tunnels import ask, behind, ssh_processes, wait_until
from sshserver import SshServer, need_sshd, ssh_server

from rdbmerge.reach.tunnels import Tunnels

pytestmark = pytest.mark.once

HOLD = """
import signal, sys, time
from rdbmerge.reach.connection import open_socket
from rdbmerge.reach.server import Server
from rdbmerge.reach.tunnels import Tunnels
port, config, ignored = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
signal.signal(ignored, signal.SIG_IGN)
with Tunnels(connect_timeout_s=5) as tunnels:
    server = tunnels.through(Server(host="127.0.0.1", port=port, ssh="bastion", ssh_config=config))
    held = open_socket(server, timeout_s=5)
    print(server.tunnel.open(server, None), flush=True)
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def bastion() -> Iterator[SshServer]:
    need_sshd()
    with ssh_server() as server:
        yield server


def holder(port: int, config: Path, ignored: int = signal.SIGUSR1) -> subprocess.Popen[bytes]:
    """A process of its own group, as under a terminal, that holds a connection through a tunnel."""
    command = [sys.executable, "-c", HOLD, str(port), str(config), str(int(ignored))]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_killed_process_leaves_no_ssh_and_no_socket(bastion: SshServer, number: signal.Signals) -> None:
    config = bastion.write_config(ServerAliveInterval=str(40 + number))
    with FakePrimary() as primary, holder(primary.port, config) as process:
        assert process.stdout is not None
        path = Path(process.stdout.readline().decode().strip())
        assert path.is_socket()
        assert len(ssh_processes(config)) == 2
        process.send_signal(number)
        process.wait(10)
        assert wait_until(lambda: not ssh_processes(config))
        assert wait_until(lambda: not path.parent.exists())


def test_ctrl_c_on_the_terminal_does_not_end_ssh_before_us(bastion: SshServer) -> None:
    config = bastion.write_config(ServerAliveInterval="39")
    with FakePrimary() as primary, holder(primary.port, config, ignored=signal.SIGINT) as process:
        assert process.stdout is not None
        process.stdout.readline()
        os.killpg(process.pid, signal.SIGINT)
        assert not wait_until(lambda: len(ssh_processes(config)) < 2, seconds=0.5)
        process.kill()
        assert wait_until(lambda: not ssh_processes(config))


def test_our_secrets_do_not_get_to_ssh(bastion: SshServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RDBMERGE_PASSWORD", "Secret-Token-1234567")
    config = bastion.write_config(ServerAliveInterval="33")
    with FakePrimary() as primary, Tunnels(connect_timeout_s=5) as tunnels:
        ask(tunnels.through(behind(bastion, primary.port, config, password="Secret-Token-1234567")))
        assert ssh_processes(config)
        for pid in ssh_processes(config):
            for what in ("environ", "cmdline"):
                assert b"Secret-Token" not in Path(f"/proc/{pid}/{what}").read_bytes()


@pytest.mark.parametrize("name", ["x" * 90, "with space", "with:colon"])
def test_an_odd_temporary_folder_is_no_obstacle(
    bastion: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / name))
    with FakePrimary() as primary, Tunnels(connect_timeout_s=5) as tunnels:
        assert ask(tunnels.through(behind(bastion, primary.port))) == b"+PONG\r\n"
