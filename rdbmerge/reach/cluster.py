"""Finds the nodes of a cluster that hold its data, and makes sure that they hold all of it and agree on that.

Asks CLUSTER NODES and INFO; knows nothing of what is done with the nodes.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic

from rdbmerge.reach.client import ask
from rdbmerge.reach.cluster_map import (
    SLOT_COUNT,
    Node,
    Ranges,
    gaps,
    holders,
    layout,
    parse_nodes,
    shard_name,
    show_ranges,
)
from rdbmerge.reach.info import ServerFacts, parse_info
from rdbmerge.reach.server import Found, Server
from rdbmerge.reach.tunnels import AnyServer, Tunnels

_SHOWN_GAPS = 8


@dataclass(frozen=True, slots=True)
class Cluster(Generic[AnyServer]):
    """A cluster that is whole: one server for every primary, or a replica in its place, in the order of slots."""

    asked: AnyServer
    servers: tuple[AnyServer, ...]  # with their tunnels; each with `found`
    layout: dict[str, Ranges]  # node id of each primary -> its slots
    warnings: tuple[str, ...]


def find_nodes(
    asked: AnyServer, *, tunnels: Tunnels, timeout_s: float, stop: threading.Event | None = None
) -> Cluster[AnyServer]:
    """The nodes that hold all 16,384 slots, from any node of the cluster.

    With `asked.prefer_replica` each is a replica that is in sync with its primary, where there is one.

    Args:
        asked: any node; its credentials, TLS and way are those of all nodes. Announced addresses are used.
        tunnels: the ways to the nodes.
        timeout_s: for each connection and reply.
        stop: ends the wait.

    Raises:
        SourceError or TargetError, as the server is one: a node is not reached or refuses; it is no cluster; slots that
            nobody holds, that move, or on which the nodes do not agree: keys would be missing or doubled.
        StoppedError: `stop` was set.
    """
    asking = _Asking(asked, tunnels, timeout_s, stop)
    nodes = asking.nodes(tunnels.through(asked))
    _check_coverage(asked, nodes)
    servers, warnings = [], [_suspicion(asked, node) for node in nodes if node.suspected]
    for primary in holders(nodes):
        server = asking.reach(primary, primary)
        _check_agreement(asked, primary, asking.nodes(server), layout(nodes))
        if asked.prefer_replica:
            server, warning = _replica(server, primary, nodes, asking)
            warnings += warning
        servers.append(server)
    return Cluster(asked, tuple(servers), layout(nodes), tuple(warnings))


def what_changed(
    cluster: Cluster[AnyServer], *, tunnels: Tunnels, timeout_s: float, stop: threading.Event | None = None
) -> str:
    """Whether slots are held as they were when the nodes were found: "" if so, else what is different or unknown."""
    asking = _Asking(cluster.asked, tunnels, timeout_s, stop)
    try:
        now = [asking.nodes(server) for server in (tunnels.through(cluster.asked), *cluster.servers)]
    except cluster.asked.failure as error:
        return f"it could not be asked again ({error})"
    if any(node.open_slots for nodes in now for node in nodes):
        return "slots are being moved"
    changed = {node_id for nodes in now for node_id in _differing(layout(nodes), cluster.layout)}
    return f"slots went to or from {', '.join(sorted(node_id[:8] for node_id in changed))}" if changed else ""


def _differing(one: dict[str, Ranges], other: dict[str, Ranges]) -> set[str]:
    return {node_id for node_id in one.keys() | other.keys() if one.get(node_id) != other.get(node_id)}


@dataclass(frozen=True, slots=True)
class _Asking(Generic[AnyServer]):
    """How nodes are asked."""

    asked: AnyServer
    tunnels: Tunnels
    timeout_s: float
    stop: threading.Event | None

    def reach(self, node: Node, primary: Node) -> AnyServer:
        """The node as a server."""
        found = Found(
            by="cluster",
            group=self.asked.name,
            role="primary" if node is primary else "replica",
            node_id=node.node_id,
            slots=show_ranges(primary.slots),
        )
        # A certificate is made out to a name, if one is announced.
        host = node.hostname if self.asked.tls and node.hostname and not self.asked.tls_sni else node.host
        name = shard_name(self.asked.name, primary.slots)
        server = replace(self.asked, host=host, port=node.port, cluster=False, name=name, found=found, tunnel=None)
        return self.tunnels.through(server)

    def nodes(self, server: AnyServer) -> list[Node]:
        """What a node says of all nodes."""
        (said,) = ask(server, ("CLUSTER", "NODES"), timeout_s=self.timeout_s, stop=self.stop)
        try:
            return parse_nodes(bytes(said).decode(), asked_host=server.host)
        except (ValueError, TypeError) as error:
            raise server.failure(
                f"{server.place}: its reply to CLUSTER NODES is not understood: {error}",
                remedy="name each node as a server of its own",
            ) from error

    def facts(self, server: AnyServer) -> ServerFacts:
        """What a node says of its replication."""
        (said,) = ask(server, ("INFO", "replication"), timeout_s=self.timeout_s, stop=self.stop)
        return parse_info(said.decode("utf-8", "replace") if isinstance(said, bytes) else "")


def _check_coverage(asked: Server, nodes: Sequence[Node]) -> None:
    missing = gaps(nodes)
    if not missing:
        return
    failed = [node.place for node in nodes if node.is_primary and node.slots and not node.usable]
    because = f"; failed: {', '.join(failed)}" if failed else ""
    count = sum(last - first + 1 for first, last in missing)
    raise asked.failure(
        f"{asked.place}: nobody holds {count:,} of the {SLOT_COUNT:,} slots of the cluster:"
        f" {show_ranges(missing, most=_SHOWN_GAPS)}{because}",
        remedy="the keys in them would be missing: mend the cluster first (a failover may be under way), or name the"
        " nodes one by one",
    )


def _check_agreement(asked: Server, primary: Node, seen: Sequence[Node], wanted: dict[str, Ranges]) -> None:
    """Each primary must see the slots as the first node did, and move none: only it tells of its own moves."""
    moving = [slot for node in seen for slot in node.open_slots]
    if moving:
        raise asked.failure(
            f"{asked.place}: slots of {primary.place} are being moved: {', '.join(moving[:_SHOWN_GAPS])}",
            remedy="keys would be missing or doubled: finish the resharding first, or end it (CLUSTER SETSLOT STABLE)",
        )
    differing = _differing(layout(seen), wanted)
    if differing:
        raise asked.failure(
            f"{asked.place}: {primary.place} sees slots of {', '.join(sorted(one[:8] for one in differing))} elsewhere"
            " than the first node does",
            remedy="a failover or a resharding is under way: wait until the nodes agree, then run this again",
        )


def _suspicion(asked: Server, node: Node) -> str:
    return f"{asked.name}: node {node.place} does not answer the others: a failover may come"


def _replica(
    primary_server: AnyServer, primary: Node, nodes: Sequence[Node], asking: _Asking[AnyServer]
) -> tuple[AnyServer, list[str]]:
    """A replica that has all that its primary has; the primary, with a warning, where there is none."""
    problems = []
    ahead = asking.facts(primary_server).master_repl_offset or 0
    for node in nodes:
        if node.primary_id != primary.node_id or not node.usable or node.suspected:
            continue
        server = asking.reach(node, primary)
        try:
            facts = asking.facts(server)
        except primary_server.failure as error:
            problems.append(str(error))
            continue
        behind = ahead - (facts.master_repl_offset or 0)
        if facts.role == "slave" and facts.master_link_up and behind <= 0:
            return server, []
        link = f"{behind:,} bytes behind" if facts.master_link_up else "without a link to its primary"
        problems.append(f"{node.place} is {link}")
    why = "; ".join(problems) or "it has none"
    return primary_server, [f"{primary_server.name}: no replica is in sync ({why}), so the primary is taken"]
