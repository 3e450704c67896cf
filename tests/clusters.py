"""Real clusters and sentinels on loopback for tests and the demo, made by commands alone. Knows nothing of rdbmerge."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import redis
from realservers import HOST, RunningServer, ServerBinary, free_port, running

SLOT_COUNT = 16_384


def until(true: Callable[[], bool], what: str, *, seconds: float = 30) -> None:
    """Wait for it."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.05)


@dataclass
class RunningCluster:
    """`primaries` in the order of their slots, each with as many `replicas` behind it as asked for."""

    primaries: list[RunningServer]
    replicas: list[RunningServer]
    tls_ports: dict[int, int]  # port -> port for TLS

    @property
    def nodes(self) -> list[RunningServer]:
        return [*self.primaries, *self.replicas]

    def node_id(self, node: RunningServer) -> str:
        return str(command(node, "CLUSTER", "MYID"))

    def tls_port(self, node: RunningServer) -> int:
        return self.tls_ports[node.port]

    def fill(self, keys: int, prefix: str = "key") -> None:
        """So many strings, wherever their slots are."""
        with redis.RedisCluster(HOST, self.primaries[0].port, password=self.primaries[0].password) as client:
            for number in range(keys):
                client.set(f"{prefix}:{number}", f"value {number}", ex=3600 if number % 3 == 0 else None)

    def agree(self) -> bool:
        """Whether all nodes hold the cluster for whole, and see the same slots."""
        views = set()
        for node in self.nodes:
            if "cluster_state:ok" not in str(command(node, "CLUSTER", "INFO")):
                return False
            rows = [line.split() for line in str(command(node, "CLUSTER", "NODES")).splitlines()]
            views.add(tuple(sorted((row[0], *row[8:]) for row in rows if "master" in row[2])))
        return len(views) == 1


def command(node: RunningServer, *words: str) -> object:
    """A reply as the server sent it, text where it is text."""
    with node.client(raw=True) as client:
        reply = client.execute_command(*words)
    return reply.decode() if isinstance(reply, bytes) else reply


@contextlib.contextmanager
def running_cluster(
    binary: ServerBinary, *, replicas: int = 0, config: Mapping[str, str] | None = None, tls_ports: bool = False
) -> Iterator[RunningCluster]:
    """Three primaries that share the slots evenly, and `replicas` behind each; `tls_ports`: with one for TLS each."""
    settings = {"cluster-enabled": "yes", "cluster-node-timeout": "2000", **(config or {})}
    if "requirepass" in settings:
        settings["masterauth"] = settings["requirepass"]
    with contextlib.ExitStack() as stack:
        nodes, ports = [], {}
        for _ in range(3 * (1 + replicas)):
            port = free_port()
            nodes.append(
                stack.enter_context(
                    running(binary, config={**settings, **({"tls-port": str(port)} if tls_ports else {})})
                )
            )
            ports[nodes[-1].port] = port
        cluster = RunningCluster(nodes[:3], nodes[3:], ports if tls_ports else {})
        for number, node in enumerate(cluster.primaries):
            first, last = number * SLOT_COUNT // 3, (number + 1) * SLOT_COUNT // 3 - 1
            command(node, "CLUSTER", "ADDSLOTS", *map(str, range(first, last + 1)))
            command(node, "CLUSTER", "SET-CONFIG-EPOCH", str(number + 1))
        for node in nodes[1:]:
            command(nodes[0], "CLUSTER", "MEET", HOST, str(ports[node.port] if tls_ports else node.port))
        until(cluster.agree, "the cluster comes about")
        for number, node in enumerate(cluster.replicas):
            primary_id = cluster.node_id(cluster.primaries[number % 3])
            until(lambda node=node, wanted=primary_id: wanted in str(command(node, "CLUSTER", "NODES")), "nodes meet")  # type: ignore[misc]
            command(node, "CLUSTER", "REPLICATE", primary_id)
        until(lambda: all(map(in_sync, cluster.replicas)), "replicas are in sync")
        until(lambda: all(_knows(node, len(cluster.replicas)) for node in nodes), "all know all replicas")
        yield cluster


def _knows(node: RunningServer, replicas: int) -> bool:
    rows = [line.split() for line in str(command(node, "CLUSTER", "NODES")).splitlines()]
    return sum("slave" in row[2] for row in rows) == replicas and all(row[7] == "connected" for row in rows)


def in_sync(node: RunningServer) -> bool:
    return "master_link_status:up" in str(command(node, "INFO", "replication"))


@dataclass
class RunningSentinel:
    """It watches until the block ends."""

    port: int
    process: subprocess.Popen[bytes]
    binary: ServerBinary
    folder: Path

    def client(self, **options: str) -> redis.Redis:
        return redis.Redis(HOST, self.port, protocol=2, socket_timeout=10, **options)  # type: ignore[arg-type]


@contextlib.contextmanager
def running_sentinel(
    binary: ServerBinary,
    services: Mapping[str, RunningServer],
    *,
    lines: Sequence[str] = (),
    tls: bool = False,
    primary_port: int | None = None,
) -> Iterator[RunningSentinel]:
    """A sentinel of its own that alone decides; `services`: name -> primary; `lines` of its configuration besides.

    With `tls` it speaks nothing else, and finds the primary at `primary_port`.
    """
    with tempfile.TemporaryDirectory(prefix="sentinel-") as name:
        folder, port = Path(name), free_port()
        watched = [
            line
            for service, primary in services.items()
            for line in (
                f"sentinel monitor {service} {HOST} {primary_port or primary.port} 1",
                f"sentinel down-after-milliseconds {service} 1000",
                f"sentinel failover-timeout {service} 5000",
                *([f"sentinel auth-pass {service} {primary.password}"] if primary.password else []),
            )
        ]
        ports = [f"tls-port {port}", "port 0"] if tls else [f"port {port}"]
        text = "\n".join([*ports, f"bind {HOST}", f"dir {folder}", *watched, *lines, ""])
        (folder / "sentinel.conf").write_text(text)
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [str(binary.path), str(folder / "sentinel.conf"), "--sentinel"], stdout=log, stderr=log
            )
        sentinel = RunningSentinel(port, process, binary, folder)

        def answers() -> bool:
            assert process.poll() is None, (folder / "log").read_text()
            if tls:
                return "+monitor" in (folder / "log").read_text()
            with contextlib.suppress(redis.ConnectionError), sentinel.client() as client:
                try:
                    client.ping()
                except redis.AuthenticationError:
                    return True
                return True
            return False

        try:
            until(answers, "the sentinel answers")
            yield sentinel
        finally:
            process.terminate()
            process.wait(10)
