"""The use case of finding servers: every cluster among the sources becomes its nodes, all of its slots held and agreed.

A cluster that is not whole is a failure of its own and does not stop the others. Sentinels are asked later, by whoever
comes to a source: its name and address do not change when its primary does.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from rdbmerge.errors import SourceError
from rdbmerge.reach.cluster import Cluster, find_nodes, what_changed
from rdbmerge.reach.tunnels import Tunnels
from rdbmerge.replication.source import Source
from rdbmerge.snapshot.manifest import read_manifest
from rdbmerge.snapshot.workdir import WorkDir


@dataclass(slots=True)
class Discovery:
    """What was found: single servers, the clusters they come from, and clusters that could not be taken."""

    tunnels: Tunnels
    timeout_s: float
    stop: threading.Event
    sources: list[Source] = field(default_factory=list)  # in the order of the arguments, nodes in the order of slots
    clusters: list[Cluster[Source]] = field(default_factory=list)
    failed: list[tuple[Source, SourceError]] = field(default_factory=list)

    def warnings_after(self, folder: WorkDir) -> list[str]:
        """What can be said once all nodes were pulled: slots that moved meanwhile, files of shards that are no more."""
        warnings: list[str] = []
        for cluster in self.clusters:
            warnings += cluster.warnings
            name = cluster.asked.name
            changed = what_changed(cluster, tunnels=self.tunnels, timeout_s=self.timeout_s, stop=self.stop)
            if changed:
                warnings.append(
                    f"cluster {name} changed meanwhile ({changed}): keys may be missing or doubled, pull it again"
                )
            warnings += _stale_shards(name, {server.name for server in cluster.servers}, folder)
        return warnings


def discover(sources: Sequence[Source], *, tunnels: Tunnels, timeout_s: float, stop: threading.Event) -> Discovery:
    """The servers that `sources` mean.

    Args:
        sources: clusters among them are asked for their nodes; all others are taken as they are.
        tunnels: the ways to them.
        timeout_s: for each connection and reply.
        stop: ends the wait.

    Raises:
        StoppedError: `stop` was set.
    """
    found = Discovery(tunnels, timeout_s, stop)
    for source in sources:
        if not source.cluster:
            found.sources.append(source)
            continue
        try:
            cluster = find_nodes(source, tunnels=tunnels, timeout_s=timeout_s, stop=stop)
        except SourceError as error:
            found.failed.append((source, error))
            continue
        found.clusters.append(cluster)
        found.sources += cluster.servers
    return found


def _stale_shards(cluster: str, names: set[str], folder: WorkDir) -> list[str]:
    """Files of an earlier pull of this cluster, whose slots are now within others: merged too, they are conflicts."""
    stale = []
    for path in sorted(folder.path.glob(f"{cluster}-*.rdb")):
        manifest = read_manifest(path) if path.stem not in names else None
        found = manifest.pulled.found if manifest and manifest.pulled else None
        if found and found.by == "cluster" and found.group == cluster:
            stale.append(path.name)
    if not stale:
        return []
    return [f"{', '.join(stale)}: of slots that cluster {cluster} now holds otherwise; leave out of a merge, or remove"]
