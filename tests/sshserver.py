"""A real SSH server for tests and the demo: the system's sshd on a free loopback port, with keys of its own.

`config` is what a user would have in ~/.ssh/config: with it `ssh bastion` gets in. Knows nothing of rdbmerge.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from realservers import HOST, free_port

HINT = "apt-get install --no-install-recommends openssh-server"


def find_sshd() -> Path | None:
    """Its absolute path: it starts itself anew for each connection."""
    for name in (shutil.which("sshd"), "/usr/sbin/sshd"):
        if name and os.access(name, os.X_OK):
            return Path(name)
    return None


def need_sshd() -> None:
    """Skips the running test where there is no sshd."""
    import pytest

    if find_sshd() is None or shutil.which("ssh") is None:
        pytest.skip(f"sshd is missing: {HINT}")


@dataclass
class SshServer:
    """It listens on `port` until the block ends; `config` is for `ssh -F`, with a Host `bastion`."""

    port: int
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def config(self) -> Path:
        return self.folder / "config"

    def write_config(self, **changes: str) -> Path:
        """Another configuration: settings by name that take the place of the usual ones."""
        settings = {
            "HostName": HOST,
            "Port": str(self.port),
            "User": getpass.getuser(),
            "IdentityFile": str(self.folder / "id"),
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": str(self.folder / "known"),
            "StrictHostKeyChecking": "yes",
        } | changes
        path = self.folder / "-".join(["config", *(f"{name}.{abs(hash(text))}" for name, text in changes.items())])
        path.write_text("Host bastion\n" + "".join(f"  {name} {value}\n" for name, value in settings.items()))
        return path

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def stop(self) -> None:
        """End the listener and every session; safe to call twice."""
        for child in _below(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, 9)
        self.process.kill()
        self.process.wait(10)


def _below(pid: int) -> list[int]:
    """All processes that come from one: sessions are its children, and have some of their own."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in task.read_text().split():
                found += [*_below(int(child)), int(child)]
    return found


@contextlib.contextmanager
def ssh_server(**settings: str) -> Iterator[SshServer]:
    """An sshd of its own; `settings` are of sshd_config, such as `AllowTcpForwarding="no"`."""
    sshd = find_sshd()
    assert sshd is not None, HINT
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="sshd-") as name:
        folder = Path(name)
        for key in ("host", "id", "stranger"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
        shutil.copyfile(folder / "id.pub", folder / "authorized")
        (folder / "authorized").chmod(0o600)
        server = _start(sshd, folder, settings)
        try:
            yield server
        finally:
            server.stop()


def _start(sshd: Path, folder: Path, settings: dict[str, str]) -> SshServer:
    for _ in range(5):
        port = free_port()
        lines = {
            "Port": str(port), "ListenAddress": HOST, "HostKey": str(folder / "host"), "PidFile": "none",
            "AuthorizedKeysFile": str(folder / "authorized"), "StrictModes": "no", "UsePAM": "no",
            "PasswordAuthentication": "no", "KbdInteractiveAuthentication": "no",
            "PermitRootLogin": "prohibit-password", "MaxStartups": "100",
        } | settings  # fmt: skip
        (folder / "sshd_config").write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen([sshd, "-D", "-e", "-f", folder / "sshd_config"], stdout=log, stderr=log)
        server = SshServer(port, folder, process)
        deadline = time.monotonic() + 10
        while process.poll() is None and time.monotonic() < deadline:
            if "Server listening" in server.log:
                key = (folder / "host.pub").read_text().split()[:2]
                (folder / "known").write_text(f"[{HOST}]:{port} {' '.join(key)}\n")
                server.write_config()
                return server
            time.sleep(0.02)
        server.stop()
        if "Address already in use" not in server.log:
            raise AssertionError(f"sshd did not start: {server.log}")
    raise AssertionError("no free port for sshd")
