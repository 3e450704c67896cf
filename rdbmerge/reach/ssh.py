"""One connection to an SSH server, held by the system's `ssh`, and the sockets that lead through it.

Knows processes and what `ssh` prints; nothing of servers, nor of what passes through.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections import deque
from pathlib import Path

from rdbmerge.reach.bastion import Bastion
from rdbmerge.reach.ssh_words import Said, is_noise, why_ended, why_refused

_LOGIN_S = 60.0  # every hop, and the login, without a person
_LOGIN_ASKING_S = 300.0  # with a person who types
_FORWARD_S = 15.0
_TOLD_S = 0.5  # ssh tells of a refusal a moment after the connection ended
_LONGEST_FOLDER = 60  # a socket's path has at most 103 bytes everywhere, and ssh adds 17 to that of its own

# Between us and ssh stands a shell that waits for its stdin to end. That happens however we end, kill -9 included; it
# then ends ssh and removes the folder. Ctrl-C goes to the whole group of processes: only we may act on it.
_KEEPER = """
trap '' INT QUIT HUP
folder=$1; shift
"$@" </dev/null &
child=$!
trap 'kill "$child"' TERM
exec 2>/dev/null
read -r _
kill "$child"
wait "$child"
rm -f "$folder"/*
rmdir "$folder"
"""
_OPTIONS = (
    "ExitOnForwardFailure=yes",
    "ClearAllForwardings=yes",  # those of the user's configuration may be taken by another session
    "ControlPersist=no",
    "ServerAliveInterval=15",
    "ServerAliveCountMax=4",
    "ForwardAgent=no",
    "ForwardX11=no",
    "StreamLocalBindUnlink=no",
    "StreamLocalBindMask=0177",
)
_OPEN_FAILED = re.compile(r"channel (\d+): open failed: (.*)")
_CHANNEL_FREE = re.compile(r"debug1: channel (\d+): free: .* to (/\S.*) port \d+, nchannels")


class SshMaster:
    """The master process. `start` it, `forward` to targets; `close` ends it and all that passes through it."""

    def __init__(self, bastion: Bastion, *, connect_timeout_s: float, ask: bool) -> None:
        """`ask`: ssh may ask for passwords and the like on the terminal."""
        self._bastion = bastion
        self._connect_timeout_s = connect_timeout_s
        self._ask = ask
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = Path()
        self._lines: deque[str] = deque(maxlen=30)
        self._failed_channels: dict[str, str] = {}
        self._refusals: dict[str, str] = {}  # socket -> why the SSH server did not connect it
        self._heard = threading.Condition()
        self._ended = False
        self._sockets = 0

    @property
    def alive(self) -> bool:
        """Whether the connection stands, as far as ssh knows."""
        return self._process is not None and not self._ended

    def start(self, stop: threading.Event | None) -> Said | None:
        """Log in; what failed, or None. Returns early when `stop` is set."""
        ssh, shell = shutil.which("ssh"), shutil.which("sh")
        if not ssh or not shell:
            return Said(
                "there is no `ssh` on this machine",
                "install OpenSSH's client (on Debian: apt-get install openssh-client)",
            )
        self._folder = _private_folder()
        batch = () if self._ask else ("BatchMode=yes",)
        settings = [*_OPTIONS, *batch, f"ConnectTimeout={max(1, round(self._connect_timeout_s))}"]
        flags = [flag for setting in settings for flag in ("-o", setting)]
        # -v, for only there ssh tells which of the targets it was that refused.
        command = [ssh, "-v", "-N", "-T", "-M", "-S", self._control, *flags, *self._bastion.arguments()]
        self._process = subprocess.Popen(
            [shell, "-c", _KEEPER, "sh", str(self._folder), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=_environment(),
        )
        threading.Thread(target=self._listen, name="ssh", daemon=True).start()
        return self._wait_for_login(stop)

    @property
    def _control(self) -> str:
        return str(self._folder / "control")

    def _wait_for_login(self, stop: threading.Event | None) -> Said | None:
        allowed_s = _LOGIN_ASKING_S if self._ask else max(_LOGIN_S, self._connect_timeout_s)
        deadline_s = time.monotonic() + allowed_s
        # ssh makes this socket once the login is through.
        while not Path(self._control).exists():
            with self._heard:
                if self._ended:
                    return self.why_ended()
                self._heard.wait(0.02)
            if stop is not None and stop.is_set():
                return None
            if time.monotonic() > deadline_s:
                return Said(
                    f"no login at SSH server {self._bastion.destination} within {allowed_s:.0f} s",
                    f"run `ssh {self._bastion.destination}` by hand until it works without a question",
                )
        return None

    def _listen(self) -> None:
        """Read what ssh says until it has ended (a thread)."""
        assert self._process is not None and self._process.stderr is not None  # noqa: S101, PT018 - started
        with self._process.stderr as pipe:
            while raw := pipe.readline(8192):
                with self._heard:
                    self._hear(raw.decode("utf-8", "replace").rstrip())
                    self._heard.notify_all()
        with self._heard:
            self._ended = True
            self._heard.notify_all()

    def _hear(self, line: str) -> None:
        failed = _OPEN_FAILED.match(line)
        if failed:
            self._failed_channels[failed[1]] = failed[2]
        elif not is_noise(line):
            self._lines.append(line)
        elif free := _CHANNEL_FREE.match(line):
            reason = self._failed_channels.pop(free[1], None)
            if reason is not None:
                self._refusals[free[2]] = reason

    def forward(self, target: str) -> str | Said:
        """The path of a new socket that leads to `target` (host:port or a path, as the SSH server sees it)."""
        self._sockets += 1
        path = str(self._folder / str(self._sockets))
        # No configuration: its own forwards would be asked for as well.
        command = ["ssh", "-F", "none", "-S", self._control, "-O", "forward", "-L", f"{path}:{target}", "master"]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_FORWARD_S,
                check=False,
                env=_environment(),
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return Said(f"ssh made no way to {target}: {error}", "run the same command again")
        if done.returncode == 0:
            return path
        if not self.alive:
            return self.why_ended()
        lines = [line for line in done.stderr.decode("utf-8", "replace").splitlines() if not is_noise(line)]
        return why_ended(lines, bastion=self._bastion.destination)

    def why_ended(self) -> Said:
        """Why the connection ended."""
        return why_ended(list(self._lines), bastion=self._bastion.destination)

    def forget_refusal(self, path: str) -> None:
        """A new connection to that socket is about to be made: what refused an older one no longer counts."""
        with self._heard:
            self._refusals.pop(path, None)

    def explain(self, path: str) -> Said | None:
        """Why a connection to that socket ended, if ssh knows; waits a moment for it to say so."""
        deadline_s = time.monotonic() + _TOLD_S
        with self._heard:
            while not self._ended and path not in self._refusals:
                left_s = deadline_s - time.monotonic()
                if left_s <= 0 or not self._heard.wait(left_s):
                    break
            if path in self._refusals:
                return why_refused(self._refusals[path], bastion=self._bastion.destination)
            return self.why_ended() if self._ended else None

    def close(self) -> None:
        """End it; never raises, may be called twice."""
        process = self._process
        if process is None:
            return
        if process.stdin:
            with contextlib.suppress(OSError):
                process.stdin.close()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


def _private_folder() -> Path:
    """A folder (0700) whose path is short enough for sockets and has nothing that ssh would read as its own."""
    usual = tempfile.gettempdir()
    fits = len(os.fsencode(usual)) <= _LONGEST_FOLDER and re.fullmatch(r"[\w./+-]+", usual)
    return Path(tempfile.mkdtemp(prefix="rdbmerge-", dir=usual if fits else "/tmp"))  # noqa: S108


def _environment() -> dict[str, str]:
    """Ours, in English, without our secrets."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RDBMERGE_")}
    return {**kept, "LC_ALL": "C"}
