"""What INFO tells of real servers, and that nothing it may hold does harm."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from realservers import ServerBinary, each_server, running

from rdbmerge.targets.server_facts import ServerFacts, read_info

pytestmark = pytest.mark.once


@each_server()
def test_a_real_server_tells_what_it_is(binary: ServerBinary) -> None:
    with running(binary, config={"maxmemory": "100mb"}) as server, server.client(3, raw=True) as client:
        client.set("k", "v")
        facts = read_info(client.execute_command("INFO").decode())
    assert (facts.flavour, facts.version) == (binary.flavour, binary.version)
    assert facts.spoken_version == (binary.version if binary.flavour == "redis" else (7, 2, 4))
    assert (facts.role, facts.loading, facts.cluster, facts.keys) == ("master", False, False, {3: 1})
    assert facts.run_id
    assert facts.used_memory_bytes
    assert facts.evicted_keys == 0
    assert facts.max_memory_bytes in (100 << 20, None if binary.version < (3,) else 100 << 20)


@pytest.mark.parametrize(
    ("version", "can"),
    [((2, 8, 17), (False, False, False)), ((3, 2, 6), (True, False, False)), ((5, 0, 6), (True, True, False)),
     ((7, 0, 15), (True, True, True)), ((), (False, False, False))],
)  # fmt: skip
def test_versions_tell_what_a_server_can(version: tuple[int, ...], can: tuple[bool, ...]) -> None:
    facts = ServerFacts(version=version, spoken_version=version)
    assert (facts.has_replace, facts.has_absolute_ttl, facts.has_functions) == can


def test_only_redis_3_2_0_wants_another_stamp() -> None:
    assert ServerFacts(version=(3, 2, 0)).stamp == 7
    assert [ServerFacts(version=version).stamp for version in ((3, 2, 1), (2, 8, 17), ())] == [6, 6, 6]


@given(st.text())
def test_any_text_is_understood_as_far_as_it_goes(text: str) -> None:
    read_info(text)
    read_info(f"redis_version:{text}\r\ndb{text}:keys={text}\r\nmaxmemory:{text}")
