from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdbmerge.reach.cluster_map import SLOT_COUNT, gaps, holders, layout, parse_nodes, shard_name, show_ranges

pytestmark = pytest.mark.once

# As Redis 3.0, 6.2, 7.0 and Valkey 8 write rows: no bus port, none of its own address, a host name, further fields.
NODES = """\
aaaa 10.0.0.1:7000 myself,master - 0 0 1 connected 0-5460 [93->-bbbb]
bbbb 10.0.0.2:7000@17000 master - 0 1 2 connected 5461-10922 16383
cccc [fe80::1]:7000@17000,cache-3.example,shard-id=x master - 0 1 3 connected 10923-16382
dddd :7001@17001 slave aaaa 0 1 1 connected
eeee 10.0.0.5:7000@17000,,tls-port=0,shard-id=x slave,fail? bbbb 0 1 2 disconnected
ffff 10.0.0.6:0@0 master,noaddr - 0 1 0 disconnected
"""


def test_rows_of_every_age_are_read() -> None:
    nodes = {node.node_id: node for node in parse_nodes(NODES, asked_host="10.9.9.9")}
    assert (nodes["aaaa"].host, nodes["aaaa"].port, nodes["aaaa"].open_slots) == ("10.0.0.1", 7000, ("93->-bbbb",))
    assert nodes["bbbb"].slots == ((5461, 10922), (16383, 16383))
    assert (nodes["cccc"].host, nodes["cccc"].hostname) == ("fe80::1", "cache-3.example")
    assert nodes["cccc"].place == "[fe80::1]:7000 (cccc)"
    assert (nodes["dddd"].host, nodes["dddd"].primary_id, nodes["dddd"].is_primary) == ("10.9.9.9", "aaaa", False)
    assert (nodes["eeee"].hostname, nodes["eeee"].suspected, nodes["eeee"].usable) == ("", True, True)
    assert not nodes["eeee"].linked
    assert not nodes["ffff"].usable
    assert [node.node_id for node in holders(list(nodes.values()))] == ["aaaa", "bbbb", "cccc"]
    assert gaps(list(nodes.values())) == ()


@pytest.mark.parametrize(
    "text",
    ["x", "OK", "a b c d e f g h 5-3", "a h:1 master - 0 0 0 connected 0-16384", "a h:x master - 0 0 0 connected"],
)
def test_what_is_no_row_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_nodes(text, asked_host="h")


@settings(max_examples=25)  # each is 16,384 words
@given(st.sets(st.integers(0, SLOT_COUNT - 1), max_size=60))
def test_gaps_are_exactly_what_nobody_holds(missing: set[int]) -> None:
    held = " ".join(str(slot) for slot in range(SLOT_COUNT) if slot not in missing)
    nodes = parse_nodes(f"aaaa h:1 master - 0 0 1 connected {held}", asked_host="h")
    assert {slot for first, last in gaps(nodes) for slot in range(first, last + 1)} == missing


def test_a_failed_primary_holds_nothing() -> None:
    nodes = parse_nodes("aaaa h:1 master,fail - 0 0 1 connected 0-16383", asked_host="h")
    assert gaps(nodes) == ((0, 16383),)
    assert layout(nodes) == {}


def test_ranges_are_shown_short() -> None:
    ranges = tuple((slot, slot + 1) for slot in range(0, 30, 3))
    assert show_ranges(((0, 5460), (5500, 5500))) == "0-5460,5500"
    assert show_ranges(ranges, most=2) == "0-1,3-4 and 8 more"
    assert shard_name("shop", ranges) == "shop-0-1.9-more"
    assert shard_name("shop", ranges[:1]) == "shop-0-1"
