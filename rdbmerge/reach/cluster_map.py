"""Who holds which slots of a cluster, as CLUSTER NODES tells it, and whether that is whole. Pure.

Knows the replies of Redis 3.0 to 8 and Valkey; asks nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rdbmerge.reach.address import join_host_port

SLOT_COUNT = 16_384
_UNUSABLE = frozenset({"fail", "noaddr", "handshake"})

Ranges = tuple[tuple[int, int], ...]  # first and last slot of each, both within


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One row: a primary or a replica, sound or not."""

    node_id: str
    host: str  # "" where the node does not know its own
    port: int
    hostname: str  # "" where none is announced
    flags: frozenset[str]
    primary_id: str  # of a replica; "" for a primary
    linked: bool  # to the node that was asked
    slots: Ranges
    open_slots: tuple[str, ...]  # such as `93->-id`, on their way out or in; only the node itself tells them

    @property
    def is_primary(self) -> bool:
        """Whether it may hold slots."""
        return "master" in self.flags

    @property
    def usable(self) -> bool:
        """Whether the cluster holds it for sound; one that is only suspected to have failed still is."""
        return not self.flags & _UNUSABLE

    @property
    def suspected(self) -> bool:
        """Whether the node that was asked cannot reach it just now."""
        return "fail?" in self.flags

    @property
    def place(self) -> str:
        """For people."""
        return f"{join_host_port(self.host, self.port)} ({self.node_id[:8]})"


def parse_nodes(text: str, *, asked_host: str) -> list[Node]:
    """The rows of a reply to CLUSTER NODES; `asked_host` stands for an address that the node does not know.

    Raises ValueError for what is no such reply.
    """
    return [_parse_row(line.split(), asked_host) for line in text.splitlines() if line.strip()]


def _parse_row(words: list[str], asked_host: str) -> Node:
    if len(words) < 8:
        raise ValueError("a row of CLUSTER NODES has at least 8 fields")
    address, _, names = words[1].partition(",")
    host, _, port = address.partition("@")[0].rpartition(":")
    slots = [word for word in words[8:] if not word.startswith("[")]
    return Node(
        node_id=words[0],
        host=host.strip("[]") or asked_host,
        port=int(port),
        hostname=names.split(",")[0] if "=" not in names.split(",")[0] else "",
        flags=frozenset(words[2].split(",")),
        primary_id="" if words[3] == "-" else words[3],
        linked=words[7] == "connected",
        slots=tuple(sorted(_parse_range(word) for word in slots)),
        open_slots=tuple(word.strip("[]") for word in words[8:] if word.startswith("[")),
    )


def _parse_range(word: str) -> tuple[int, int]:
    first, dash, last = word.partition("-")
    start, end = int(first), int(last if dash else first)
    if not 0 <= start <= end < SLOT_COUNT:
        raise ValueError(f"{word} is no range of slots")
    return start, end


def holders(nodes: Sequence[Node]) -> list[Node]:
    """The primaries that hold slots and are sound, by their first slot."""
    return sorted((node for node in nodes if node.is_primary and node.usable and node.slots), key=lambda one: one.slots)


def gaps(nodes: Sequence[Node]) -> Ranges:
    """The slots that no sound primary holds."""
    held = bytearray(SLOT_COUNT)
    for node in holders(nodes):
        for first, last in node.slots:
            held[first : last + 1] = b"\1" * (last - first + 1)
    found: list[tuple[int, int]] = []
    for slot in (slot for slot in range(SLOT_COUNT) if not held[slot]):
        if found and found[-1][1] == slot - 1:
            found[-1] = (found[-1][0], slot)
        else:
            found.append((slot, slot))
    return tuple(found)


def layout(nodes: Sequence[Node]) -> dict[str, Ranges]:
    """Id of each sound primary -> its slots: equal for two views of a cluster that agree."""
    return {node.node_id: node.slots for node in holders(nodes)}


def show_ranges(ranges: Ranges, *, most: int = 0) -> str:
    """`0-5460,5500`; with `most` no more than so many, and how many are left out."""
    shown = [f"{first}-{last}" if last > first else str(first) for first, last in ranges]
    more = len(shown) - most
    return ",".join(shown) if not most or more <= 0 else f"{','.join(shown[:most])} and {more:,} more"


def shard_name(cluster: str, ranges: Ranges) -> str:
    """A name for what one primary holds: by slots, so that a failover does not change it."""
    first, last = ranges[0]
    more = f".{len(ranges) - 1}-more" if len(ranges) > 1 else ""
    return f"{cluster}-{first}-{last}{more}"
