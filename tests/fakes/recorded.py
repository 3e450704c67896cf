"""The recorded conversations of fixtures/wire, as answers to commands that need not be the recorded ones.

A handshake under test sends other REPLCONFs than the recorder did; so the reply to each command is looked up by the
command's name. What came after PSYNC or SYNC is kept as one run of bytes.
"""

from __future__ import annotations

import base64
import json
from collections import defaultdict, deque
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

WIRE = Path(__file__).parents[2] / "fixtures" / "wire"
_UNRECOGNIZED = b"-ERR Unrecognized REPLCONF option: %s\r\n"


def conversation_names() -> list[str]:
    return sorted(path.stem for path in WIRE.glob("*.json"))


def load(name: str) -> Conversation:
    """A fresh one: its answers are used up as they are given."""
    return Conversation(name, _facts(name))


@cache
def _facts(name: str) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((WIRE / f"{name}.json").read_text())
    return facts


def split_commands(data: bytes) -> list[list[bytes]]:
    """Commands as a client sends them: RESP arrays, or inline."""
    commands = []
    while data:
        line, _, data = data.partition(b"\r\n")
        if not line.startswith(b"*"):
            commands.append(line.split())
            continue
        parts = []
        for _ in range(int(line[1:])):
            head, _, data = data.partition(b"\r\n")
            length = int(head[1:])
            parts.append(data[:length])
            data = data[length + 2 :]
        commands.append(parts)
    return commands


def kind_of(command: list[bytes]) -> str:
    """`PING`, `AUTH`, `REPLCONF capa`, `PSYNC`, ...; renamed syncs count as what they are sent as."""
    name = command[0].decode().upper()
    if name in ("MYPSYNC", "MYSYNC"):
        name = name.removeprefix("MY")
    return f"REPLCONF {command[1].decode().lower()}" if name == "REPLCONF" else name


@dataclass
class Conversation:
    name: str
    facts: dict[str, Any]

    @property
    def scenario(self) -> str:
        return str(self.facts["scenario"])

    def __post_init__(self) -> None:
        sent = b"".join(self._data("send"))
        heard = b"".join(self._data("recv"))
        self.heard = heard
        self.answers: dict[str, deque[bytes]] = defaultdict(deque)
        self.after_sync = b""  # all bytes that followed the last PSYNC or SYNC
        self.unasked = heard if not sent else b""
        commands = split_commands(sent)
        kinds = [kind_of(command) for command in commands]
        last = max((at for at, kind in enumerate(kinds) if kind in ("PSYNC", "SYNC")), default=len(kinds))
        for kind in kinds[:last]:
            if kind == "REPLCONF ack":
                continue
            line, end, heard = heard.lstrip(b"\n").partition(b"\r\n")
            self.answers[kind].append(line + end)
        if last < len(kinds):
            self.after_sync = heard
            self.answers[kinds[last]].append(heard)

    def _data(self, direction: str) -> list[bytes]:
        return [base64.b64decode(step["data"]) for step in self.facts["steps"] if step["dir"] == direction]

    def reply_to(self, command: list[bytes]) -> bytes:
        """What this server said, or as near as is known what it would say; each reply once, the last for ever."""
        kind = kind_of(command)
        queue = self.answers.get(kind)
        if queue:
            return queue.popleft() if len(queue) > 1 else queue[0]
        if kind.startswith("REPLCONF"):
            return self._probed(kind)
        if kind in ("PSYNC", "SYNC"):
            return b"-ERR unknown command '%s'\r\n" % command[0]
        return {"PING": b"+PONG\r\n", "AUTH": b"+OK\r\n"}[kind]

    def _probed(self, kind: str) -> bytes:
        version = self.name.removesuffix(f"-{self.scenario}")
        probe = WIRE / f"{version}-replconf-probe.json"
        known = load(probe.stem).answers.get(kind) if self.scenario != "replconf-probe" and probe.exists() else None
        return known[0] if known else _UNRECOGNIZED % kind.split()[1].encode()
