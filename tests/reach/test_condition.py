"""What a server tells of itself before it is asked for anything; what it may not tell is missing, and no failure."""

from __future__ import annotations

import time

import pytest
from realservers import ServerBinary, each_server, need, running

from rdbmerge.errors import SourceError
from rdbmerge.reach.client import Refused, ask_each
from rdbmerge.reach.condition import Condition, read_condition
from rdbmerge.replication.source import Source

pytestmark = pytest.mark.once


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def condition_of(port: int, *commands: str, **options: str) -> Condition:
    source = Source(host="127.0.0.1", port=port, **options)  # type: ignore[arg-type]
    return read_condition(source, *commands, timeout_s=3, now_ms=now_ms)


@each_server()
def test_every_version_tells_what_it_can(binary: ServerBinary) -> None:
    with running(binary) as one:
        with one.client() as client:
            client.set("k", "v")
        found = condition_of(one.port, "PSYNC", "NOSUCH")
    assert (found.facts.flavour, found.facts.role) == (binary.flavour, "master")
    assert found.facts.key_count == 1
    assert found.settings["repl-timeout"] == "60"
    assert "slave" in found.settings["client-output-buffer-limit"]
    assert found.clock_skew_ms is not None
    assert abs(found.clock_skew_ms) < 2_000
    assert found.missing_commands == {"NOSUCH"}
    assert found.number("used_memory") == found.facts.used_memory_bytes


def test_what_is_renamed_or_forbidden_is_missing(tmp_path: object) -> None:
    with running(need("redis-7.0"), config={"rename-command": "PSYNC abc", "requirepass": "Secret-Token-12"}) as one:
        with one.client(password="Secret-Token-12") as client:
            client.execute_command("ACL", "SETUSER", "narrow", "on", ">pw", "+info", "+time", "+command")
        known = condition_of(one.port, "PSYNC", "SYNC", password="Secret-Token-12")
        narrow = condition_of(one.port, "SYNC", username="narrow", password="pw")
        with pytest.raises(SourceError, match="Authentication required") as failure:
            condition_of(one.port, "SYNC")
    assert known.missing_commands == {"PSYNC"}
    assert narrow.settings == {}
    assert "no permissions" in narrow.refused
    assert narrow.facts.version is not None
    assert failure.value.remedy


def test_a_refusal_is_a_reply_like_others() -> None:
    with running(need("redis-7.0")) as one:
        source = Source(host="127.0.0.1", port=one.port)
        refused, pong = ask_each(source, ("NOSUCH", "x"), ("PING",), timeout_s=3)
    assert isinstance(refused, Refused)
    assert "unknown command" in refused.said
    assert pong in (b"PONG", "PONG")
