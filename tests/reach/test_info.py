from __future__ import annotations

from pathlib import Path

import pytest
from fakes.primary import FakePrimary, Hang, bulk
from fakes.recorded import WIRE
from hypothesis import given
from hypothesis import strategies as st

from rdbmerge.reach.connection import open_socket
from rdbmerge.reach.info import DbKeys, ServerFacts, parse_info, read_facts
from rdbmerge.replication.source import Source

FILES = sorted(WIRE.glob("*-info.txt"))
REPLICA_FILES = sorted(WIRE.glob("*-info-replica-*.txt"))


def version_of(path: Path) -> str:
    return path.name.split("-info")[0].removeprefix("valkey-")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_recorded_info_is_understood(path: Path) -> None:
    facts = parse_info(path.read_bytes().decode())
    old = path.name.startswith(("2.4", "2.6"))
    assert facts.flavour == ("valkey" if path.name.startswith("valkey") else "redis")
    assert facts.version is not None
    assert facts.version == version_of(path) or path.name.startswith(("8.0-m01", "unstable"))
    assert facts.role == "master"
    assert facts.keyspace == {0: DbKeys(4, 1), 3: DbKeys(2, 0)}
    assert facts.key_count == 6
    assert facts.loading is False
    assert facts.connected_replicas == 1
    assert len(facts.replid or "") == 40
    assert (facts.master_repl_offset is None) == old
    assert facts.changes_since_save is not None
    assert facts.last_save_at_s is not None


@pytest.mark.parametrize("path", REPLICA_FILES, ids=lambda path: path.name)
def test_a_replica_tells_whether_its_link_is_up(path: Path) -> None:
    facts = parse_info(path.read_bytes().decode())
    assert facts.role == "slave"
    assert facts.master_link_up is path.name.endswith("up.txt")


def test_what_is_not_told_is_none() -> None:
    assert parse_info("") == ServerFacts()
    assert parse_info("redis_version:7.2.6\r\n").keyspace == {}
    assert parse_info("master_repl_offset:" + "9" * 5000).master_repl_offset is None
    assert parse_info("master_repl_offset:\u0662").master_repl_offset is None


@given(st.text(max_size=200))
def test_no_text_upsets_it(text: str) -> None:
    parse_info(f"redis_version:1\r\ndb0:{text}\r\n{text}")
    parse_info(text)


def ask(port: int, password: str | None = None, timeout_s: float = 5.0) -> ServerFacts:
    source = Source(host="127.0.0.1", port=port, password=password)
    return read_facts(
        source,
        open_socket=lambda: open_socket(source, timeout_s=timeout_s),
        timeout_s=timeout_s,
        now_ms=lambda: 1_700_000_002_000,
    )


def test_facts_are_asked_for_with_auth_info_and_time_alone() -> None:
    text = (WIRE / "7.2.6-info.txt").read_bytes().decode()
    with FakePrimary({"INFO": bulk(text)}) as primary:
        facts = ask(primary.port, password="s3cret")
        assert [command[0] for command in primary.commands] == [b"AUTH", b"INFO", b"TIME"]
    assert facts.version == "7.2.6"
    assert facts.clock_skew_ms == 1_500


def test_a_source_without_time_has_no_skew() -> None:
    with FakePrimary({"INFO": bulk("redis_version:2.4.18\r\n"), "TIME": b"-ERR unknown command 'TIME'\r\n"}) as primary:
        facts = ask(primary.port)
    assert (facts.version, facts.clock_skew_ms) == ("2.4.18", None)


@pytest.mark.parametrize(
    ("replies", "problem"),
    [
        ({"INFO": b"-NOPERM User puller has no permissions to run the 'info' command\r\n"}, "no permissions"),
        ({"INFO": b"-NOAUTH Authentication required.\r\n"}, "Authentication required"),
        ({"AUTH": b"-WRONGPASS no s3cret\r\n"}, "no ***"),
        ({"INFO": b"!!\r\n"}, ""),
        ({"INFO": [Hang(2)]}, "Timeout"),
    ],
)
def test_facts_that_cannot_be_had_are_no_error(replies: dict[str, bytes], problem: str) -> None:
    with FakePrimary(replies) as primary:  # type: ignore[arg-type]
        facts = ask(primary.port, password="s3cret", timeout_s=0.3)
    assert facts.version is None
    assert problem in facts.problem
    assert facts.problem


def test_a_source_that_is_not_there_is_no_error() -> None:
    assert "refused" in ask(1, timeout_s=0.3).problem
