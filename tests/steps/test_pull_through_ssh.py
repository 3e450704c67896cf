"""Pulling through a real SSH server: what comes is what comes without, and each way to fail leaves nothing."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.running import command, run
from realservers import RunningServer, free_port, need, running
from sshserver import SshServer, need_sshd, ssh_server

from rdbmerge.replication.limits import BandwidthLimit, PullLimits
from rdbmerge.replication.source import Source
from rdbmerge.snapshot.manifest import read_manifest
from rdbmerge.steps.pull import pull
from rdbmerge.steps.pull_one import PullStatus


@pytest.fixture(scope="module")
def bastion() -> Iterator[SshServer]:
    need_sshd()
    with ssh_server() as server:
        yield server


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running(need("redis-6.2"), config={"rdbcompression": "no"}) as one:
        with one.client() as client:
            client.set("a", "1", ex=1000)
            client.set("big", os.urandom(1 << 20) * 24)
        yield one


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def test_a_snapshot_comes_through_ssh_as_it_comes_without(
    bastion: SshServer, server: RunningServer, tmp_path: Path
) -> None:
    place = f"127.0.0.1:{server.port}"
    closed = free_port()
    ssh = ("--ssh", "bastion", "--ssh-config", bastion.config)
    result = run("pull", f"a={place}", f"b=127.0.0.1:{closed}", "--dir", tmp_path / "ssh", *ssh)
    assert result.exit_code == 30
    assert (
        f"Error: b (127.0.0.1:{closed} via bastion): SSH server bastion got: connection refused: nothing listens there"
    ) in result.stderr
    assert run("pull", f"a={place}", "--dir", tmp_path / "direct").exit_code == 0
    through, direct = (read_manifest(tmp_path / way / "a.rdb") for way in ("ssh", "direct"))
    assert through is not None
    assert direct is not None
    assert through.pulled is not None
    assert through.pulled.address == f"{place} via bastion"
    assert (through.keys_in_file, through.pulled.written) == (direct.keys_in_file, "quiet")
    assert abs(through.size_bytes - direct.size_bytes) < 100
    again = run("pull", f"a={place}", "--dir", tmp_path / "ssh", *ssh)
    assert "unchanged" in again.stdout
    # One address is not the same server when it is looked at from elsewhere.
    assert "(the file at hand came from" in run("pull", f"a={place}", "--dir", tmp_path / "ssh").stderr


def test_an_ssh_connection_that_dies_in_the_middle_is_told_and_leaves_nothing(
    server: RunningServer, tmp_path: Path
) -> None:
    need_sshd()
    limits = PullLimits(limiter=BandwidthLimit(4 << 20), retry_for_s=0)
    with ssh_server() as dying:

        def cut(status: PullStatus) -> None:
            if status.phase == "transfer" and status.done_bytes > 100_000:
                dying.stop()

        source = Source(host="127.0.0.1", port=server.port, name="a", ssh="bastion", ssh_config=str(dying.config))
        report = pull([source], tmp_path, jobs=1, limits=limits, now_ms=now_ms, progress=cut)
    (one,) = report.sources
    assert (one.outcome, one.exit_code) == ("failed", 30)
    assert "bytes of the snapshot: the SSH connection to bastion ended (ssh: " in one.error
    assert "the network to it are up" in one.remedy
    assert [path.name for path in tmp_path.iterdir()] == [".rdbmerge.lock"]


def test_ctrl_c_ends_a_pull_through_ssh_in_order(bastion: SshServer, server: RunningServer, tmp_path: Path) -> None:
    words = command(
        "pull", f"a=127.0.0.1:{server.port}", "--dir", tmp_path, "--ssh", "bastion", "--ssh-config", bastion.config,
        "--max-bandwidth", "1MB/s",
    )  # fmt: skip
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "receiving" in line:
            break
    os.killpg(process.pid, signal.SIGINT)
    said = process.stderr.read()
    assert process.wait(10) == 130
    assert "stopped: 0 of 1 sources are in" in said
    assert [path.name for path in tmp_path.iterdir()] == [".rdbmerge.lock"]


def test_ssh_asks_on_the_terminal_before_anything_is_drawn(
    bastion: SshServer, server: RunningServer, tmp_path: Path
) -> None:
    locked = bastion.folder / "locked"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "open sesame", "-f", locked], check=True)
    with (bastion.folder / "authorized").open("a") as authorized:
        authorized.write(locked.with_suffix(".pub").read_text())
    config = bastion.write_config(IdentityFile=str(locked), IdentityAgent="none")
    words = command("pull", f"a=127.0.0.1:{server.port}", "--dir", tmp_path, "--ssh", "bastion", "--ssh-config", config)
    quiet = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert quiet.returncode == 30
    assert "SSH server bastion refused the login (ssh: " in quiet.stderr
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(words[0], words, {**os.environ, "TERM": "xterm"})  # noqa: S606 - no shell is wanted
    said = b""
    with contextlib.suppress(OSError):  # the terminal ends with the process
        while piece := os.read(terminal, 4096):
            said += piece
            if b"Enter passphrase for key" in said and b"open" not in said:
                os.write(terminal, b"open sesame\n")
                said += b" open"
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, said
    assert said.lstrip().startswith(b"Enter passphrase for key")
    assert b"sesame" not in said
    assert (tmp_path / "a.rdb").exists()
