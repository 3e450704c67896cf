"""The condition that a server is in, before anything is asked of it: all of INFO, the settings it tells, its clock.

Only reads; a server that may not be asked something has None or nothing there. What it means is for those who want
something of the server: `replication.readiness`, `targets.readiness`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from rdbmerge.reach.client import Refused, ask_each
from rdbmerge.reach.info import ServerFacts, info_fields, number_in, parse_info, time_ms
from rdbmerge.reach.server import Server

_NO_LOGIN = "operation not permitted"  # of servers before 2.8, that want a password
SETTINGS = (
    "client-output-buffer-limit", "repl-timeout", "repl-diskless-sync", "maxmemory", "maxmemory-policy", "databases",
    "cluster-databases",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What was found out."""

    facts: ServerFacts
    fields: Mapping[str, str] = field(default_factory=dict)  # of INFO
    settings: Mapping[str, str] = field(default_factory=dict)  # of CONFIG GET
    missing_commands: frozenset[str] = frozenset()  # of those asked for, those it does not know, in upper case
    clock_skew_ms: int | None = None  # local minus its own
    modules: tuple[str, ...] = ()
    refused: str = ""  # why settings are not known, for people

    def number(self, *names: str) -> int | None:
        """The number in a field of INFO; None where there is none."""
        return number_in(self.fields, *names)


def read_condition(
    server: Server,
    *commands: str,
    timeout_s: float,
    now_ms: Callable[[], int],
    stop: threading.Event | None = None,
) -> Condition:
    """Ask `server`, and whether it knows `commands`.

    Raises SourceError or TargetError, as the server is one, when it cannot be reached or refuses the login, and
    StoppedError.
    """
    before_ms = now_ms()
    (clock,) = ask_each(server, ("TIME",), timeout_s=timeout_s, stop=stop)
    after_ms = now_ms()
    info, known, *settings = ask_each(
        server, ("INFO",), ("COMMAND", "INFO", *commands), *(("CONFIG", "GET", name) for name in SETTINGS),
        timeout_s=timeout_s, stop=stop,
    )  # fmt: skip
    if isinstance(info, Refused) and _NO_LOGIN in info.said:
        raise server.failure(f"{server.place}: {info.said}", remedy="give the password")
    text = info.decode("utf-8", "replace") if isinstance(info, bytes) else ""
    facts = parse_info(text) if text else ServerFacts(problem=info.said if isinstance(info, Refused) else "")
    server_ms = time_ms(clock)
    refused = [reply.said for reply in settings if isinstance(reply, Refused)]
    return Condition(
        facts=facts,
        fields=info_fields(text),
        settings=dict(_pair(reply) for reply in settings if isinstance(reply, list) and len(reply) == 2),
        missing_commands=_missing(commands, known),
        clock_skew_ms=None if server_ms is None else (before_ms + after_ms) // 2 - server_ms,
        modules=_modules(text),
        refused=refused[0] if refused else "",
    )


def _pair(reply: list[bytes]) -> tuple[str, str]:
    name, value = (part.decode("utf-8", "replace") for part in reply)
    return name, value


def _missing(commands: tuple[str, ...], reply: object) -> frozenset[str]:
    """COMMAND INFO answers nil for a command that is not there, or renamed."""
    if not isinstance(reply, list) or len(reply) != len(commands):
        return frozenset()
    return frozenset(name.upper() for name, one in zip(commands, reply, strict=True) if not one)


def _modules(text: str) -> tuple[str, ...]:
    """`module:name=ReJSON,ver=...`: of a field that may be there many times."""
    found = []
    for line in text.splitlines():
        if line.startswith("module:"):
            parts = dict(part.partition("=")[::2] for part in line.removeprefix("module:").split(","))
            if "name" in parts:
                found.append(parts["name"].strip())
    return tuple(found)
