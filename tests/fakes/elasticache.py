"""A fake ElastiCache over HTTP that restores for real: it starts Redis or Valkey servers with the uploaded object.

It fails for the reasons of the real one: an RDB version that the engine does not know, several dbs in cluster mode, an
object that the service was given no right to read, that is not SSE-S3, or is not there. Speaks the "query" protocol.
Also a program of its own: `python tests/fakes/elasticache.py --help`. Knows nothing of rdbmerge.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import http.server
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

NAMESPACE = "http://elasticache.amazonaws.com/doc/2015-02-02/"
HOST = "127.0.0.1"
SEED_USER = "540804c33a284a299d2547575ce1010f2312ef3da9b3a053c8bc45bf233e4353"
ALL_SLOTS = (0, 16_383)
Answer = tuple[int, str, Any]
Fault = Exception


class RestoreFailed(Exception):  # noqa: N818 - reads as what happened
    """Why a creation failed, in words that the events show; `member` says that only a node knows."""

    def __init__(self, why: str, *, member: bool = False) -> None:
        super().__init__(why)
        self.member = member


@dataclass
class Faults:
    """What goes wrong on purpose."""

    throttle: int = 0  # so many descriptions are refused
    refuse: dict[str, str] = field(default_factory=dict)  # action -> code of the error
    latency_s: float = 0.0  # before a creation does anything
    restore_failed: bool = False  # a member says so, the group goes on creating
    stuck: bool = False  # a creation never ends


@dataclass
class Node:
    """One real server behind a node of a group."""

    name: str
    slots: tuple[int, int]
    port: int = 0
    status: str = "creating"
    process: subprocess.Popen[bytes] | None = None
    folder: Path | None = None


@dataclass
class Group:
    """A replication group."""

    asked: dict[str, str]
    nodes: list[Node]
    cluster: bool
    status: str = "creating"
    description: str = ""


class FakeElastiCache:
    """The service. `s3` is a boto3 client; `server` the binary that stands for the engine; `faults` may be changed."""

    def __init__(self, s3: Any, server: Path, *, region: str = "eu-west-1", check_grants: bool = True) -> None:
        self.s3 = s3
        self.server = server
        self.region = region
        self.check_grants = check_grants
        self.faults = Faults()
        self.groups: dict[str, Group] = {}
        self.events: list[dict[str, str]] = []
        self.requests: list[dict[str, str]] = []
        self.lock = threading.Lock()
        self.threads: list[threading.Thread] = []

    # --- restoring ---

    def note(self, source: str, kind: str, message: str) -> None:
        now = datetime.datetime.now(datetime.UTC).isoformat()
        self.events.append({"SourceIdentifier": source, "SourceType": kind, "Message": message, "Date": now})

    def restore(self, name: str, arns: list[str]) -> None:
        group = self.groups[name]
        time.sleep(self.faults.latency_s)
        if self.faults.stuck:
            return
        try:
            with tempfile.TemporaryDirectory(prefix="fake-elasticache-") as folder:
                files = [self.fetched(arn, Path(folder) / f"{number}.rdb") for number, arn in enumerate(arns)]
                if self.faults.restore_failed:
                    raise RestoreFailed("the RDB could not be loaded", member=True)
                self.start(group, files)
        except (RestoreFailed, redis.RedisError) as why:
            # The event first: whoever sees the end finds out why.
            self.note(group.nodes[0].name, "cache-cluster", f"Restore failed: {why}")
            with self.lock:
                for node in group.nodes:
                    node.status = "restore-failed"
                if not getattr(why, "member", False):
                    group.status = "create-failed"
        else:
            self.note(name, "replication-group", f"Replication group {name} created")
            with self.lock:
                for node in group.nodes:
                    node.status = "available"
                group.status = "available"

    def fetched(self, arn: str, path: Path) -> Path:
        bucket, _, key = arn.split(":::", 1)[1].partition("/")
        try:
            head = self.s3.head_object(Bucket=bucket, Key=key)
        except Fault as error:
            raise RestoreFailed(f"failed to retrieve file {key} from S3: {type(error).__name__}") from error
        if head.get("ServerSideEncryption", "AES256") != "AES256":
            raise RestoreFailed(f"the file {key} is encrypted with {head['ServerSideEncryption']}")
        if self.check_grants and not self.may_read(bucket, key):
            raise RestoreFailed(f"failed to retrieve file {key} from S3: access denied")
        self.s3.download_file(bucket, key, str(path))
        return path

    def may_read(self, bucket: str, key: str) -> bool:
        """By an ACL that names the service's user, or a policy that names its principal."""
        with contextlib.suppress(Fault):
            grants = self.s3.get_object_acl(Bucket=bucket, Key=key)["Grants"]
            rights = {one["Permission"] for one in grants if one["Grantee"].get("ID") == SEED_USER}
            if {"READ", "READ_ACP"} <= rights or "FULL_CONTROL" in rights:
                return True
        with contextlib.suppress(Fault):
            policy = json.loads(self.s3.get_bucket_policy(Bucket=bucket)["Policy"])
            for statement in policy["Statement"]:
                services = statement.get("Principal", {}).get("Service", [])
                services = [services] if isinstance(services, str) else services
                resources = statement.get("Resource", [])
                resources = [resources] if isinstance(resources, str) else resources
                covered = any(
                    re.fullmatch(re.escape(one).replace(r"\*", ".*"), f"arn:aws:s3:::{bucket}/{key}")
                    for one in resources
                )
                if statement["Effect"] == "Allow" and covered and any("elasticache-snapshot" in s for s in services):
                    return True
        return False

    def start(self, group: Group, files: list[Path]) -> None:
        """A server a shard; with cluster mode each is given all files and keeps the keys of its own slots."""
        if not group.cluster and len(files) > 1:
            raise RestoreFailed("more than one file for a group without cluster mode")
        for node in group.nodes:
            node.folder = Path(tempfile.mkdtemp(prefix="fake-elasticache-"))
            (node.folder / "data").mkdir()
            if len(files) == 1:
                shutil.copyfile(files[0], node.folder / "data" / "dump.rdb")
            self.run(node, cluster=group.cluster)
            if group.cluster:
                own_slots(node)
            if len(files) > 1:
                self.load_more(node, files)
        if group.cluster:
            join_cluster(group.nodes)

    def run(self, node: Node, *, cluster: bool) -> None:
        if node.folder is None:
            raise AssertionError("a node has its folder before it runs")
        node.port = free_port()
        log = node.folder / "log"
        arguments = {
            "port": str(node.port),
            "bind": HOST,
            "dir": str(node.folder / "data"),
            "save": "",
            "appendonly": "no",
        }
        if cluster:
            arguments |= {
                "cluster-enabled": "yes",
                "cluster-config-file": "nodes.conf",
                "cluster-require-full-coverage": "no",
            }
        flat = [word for name, value in arguments.items() for word in (f"--{name}", value)]
        with log.open("wb") as out:
            node.process = subprocess.Popen([self.server, *flat], stdout=out, stderr=out, stdin=subprocess.DEVNULL)
        until = time.monotonic() + 60
        while time.monotonic() < until:
            if node.process.poll() is not None:
                said = log.read_text(errors="replace")
                reasons = re.findall(r"(Can't handle[^\n.]*|Wrong signature[^\n.]*|FATAL[^\n]*|Fatal[^\n.]*)", said)
                several = "cluster mode" in said.lower() and "database" in said.lower()
                why = "the file references more than one database" if several else (reasons or ["the engine ended"])[0]
                raise RestoreFailed(why)
            with contextlib.suppress(redis.RedisError, OSError), client_of(node) as client:
                if client.ping() and not client.info("persistence")["loading"]:
                    return
            time.sleep(0.03)
        raise RestoreFailed("the engine did not answer")

    def load_more(self, node: Node, files: list[Path]) -> None:
        """Several files: each is loaded by a server of its own, and its keys of this node's slots are moved over."""
        for path in files:
            other = Node("loader", ALL_SLOTS, folder=Path(tempfile.mkdtemp(prefix="fake-elasticache-")))
            (other.folder / "data").mkdir()
            shutil.copyfile(path, other.folder / "data" / "dump.rdb")
            try:
                self.run(other, cluster=False)
                with client_of(other) as source, client_of(node) as target:
                    for key in source.scan_iter(count=1_000):
                        slot = target.execute_command("CLUSTER", "KEYSLOT", key)
                        if node.slots[0] <= slot <= node.slots[1]:
                            target.restore(key, max(0, source.pttl(key)), source.dump(key))
            finally:
                stop(other)

    # --- answering ---

    def call(self, asked: dict[str, str]) -> Answer:
        with self.lock:
            self.requests.append(asked)
            action = asked["Action"]
            if code := self.faults.refuse.get(action):
                return 400, code, f"{code} was asked for by the test"
            if action.startswith("Describe") and self.faults.throttle > 0:
                self.faults.throttle -= 1
                return 400, "Throttling", "Rate exceeded"
            known = {
                "CreateReplicationGroup": self.create, "DescribeReplicationGroups": self.describe,
                "DescribeCacheClusters": self.members, "DescribeEvents": self.told,
                "DescribeCacheEngineVersions": self.versions, "DescribeCacheParameters": self.parameters,
            }  # fmt: skip
            if action not in known:
                return 400, "InvalidAction", f"{action} is not known"
            return known[action](asked)

    def create(self, asked: dict[str, str]) -> Answer:
        name = asked["ReplicationGroupId"]
        if name in self.groups:
            return 400, "ReplicationGroupAlreadyExists", f"Replication group {name} already exists"
        slots = [v for k, v in sorted(asked.items()) if re.fullmatch(r"NodeGroupConfiguration\..*\.Slots", k)]
        shards = len([k for k in asked if re.fullmatch(r"NodeGroupConfiguration\..*\.NodeGroupId", k)])
        cluster = shards > 0 or ".cluster.on" in asked.get("CacheParameterGroupName", "")
        if cluster and len(slots) < max(1, shards):
            return (
                400,
                "InvalidParameterCombination",
                ("Slots must be provided when restoring from snapshot ARNs with cluster mode enabled"),
            )
        spans = [tuple(int(end) for end in text.split("-")) for text in slots] if cluster else [ALL_SLOTS]
        nodes = [
            Node(f"{name}-{number:04}-001" if cluster else f"{name}-001", (first, last))
            for number, (first, last) in enumerate(spans, 1)
        ]
        arns = [v for k, v in sorted(asked.items()) if k.startswith("SnapshotArns.")]
        self.groups[name] = Group(asked, nodes, cluster, description=asked.get("ReplicationGroupDescription", ""))
        thread = threading.Thread(target=self.restore, args=(name, arns), daemon=True)
        self.threads.append(thread)
        thread.start()
        return 200, "CreateReplicationGroup", {"ReplicationGroup": self.view(name)}

    def view(self, name: str) -> dict[str, Any]:
        group = self.groups[name]
        shown: dict[str, Any] = {
            "ReplicationGroupId": name, "Status": group.status, "Description": group.description,
            "MemberClusters": ("ClusterId", [node.name for node in group.nodes]), "ClusterEnabled": group.cluster,
        }  # fmt: skip
        if group.status == "available":
            shown["NodeGroups"] = ("NodeGroup", [
                {
                    "NodeGroupId": f"{number:04}", "Status": node.status, "Slots": f"{node.slots[0]}-{node.slots[1]}",
                    "PrimaryEndpoint": {"Address": HOST, "Port": node.port},
                }
                for number, node in enumerate(group.nodes, 1)
            ])  # fmt: skip
            if group.cluster:
                shown["ConfigurationEndpoint"] = {"Address": HOST, "Port": group.nodes[0].port}
        return shown

    def describe(self, asked: dict[str, str]) -> Answer:
        name = asked.get("ReplicationGroupId")
        if name and name not in self.groups:
            return 404, "ReplicationGroupNotFoundFault", f"ReplicationGroup {name} not found"
        names = [name] if name else list(self.groups)
        return 200, asked["Action"], {"ReplicationGroups": ("ReplicationGroup", [self.view(one) for one in names])}

    def members(self, asked: dict[str, str]) -> Answer:
        rows = [
            {"CacheClusterId": node.name, "CacheClusterStatus": node.status, "ReplicationGroupId": name}
            for name, group in self.groups.items()
            for node in group.nodes
        ]
        # In pages of two, so that whoever asks has to ask again.
        start = int(asked.get("Marker", 0))
        page: dict[str, Any] = {"CacheClusters": ("CacheCluster", rows[start : start + 2])}
        if start + 2 < len(rows):
            page["Marker"] = str(start + 2)
        return 200, asked["Action"], page

    def told(self, asked: dict[str, str]) -> Answer:
        return 200, asked["Action"], {"Events": ("Event", list(self.events))}

    def versions(self, asked: dict[str, str]) -> Answer:
        offered = {"redis": ("6.2.6", "7.0.7", "7.1.0"), "valkey": ("7.2.6", "8.0.1", "8.1.0", "9.0.0")}
        rows = [
            {"Engine": asked.get("Engine", ""), "EngineVersion": v} for v in offered.get(asked.get("Engine", ""), ())
        ]
        return 200, asked["Action"], {"CacheEngineVersions": ("CacheEngineVersion", rows)}

    def parameters(self, asked: dict[str, str]) -> Answer:
        group = asked["CacheParameterGroupName"]
        if not group.startswith(("default.", "custom.")):
            return 404, "CacheParameterGroupNotFound", f"CacheParameterGroup {group} not found"
        held = {"databases": "32" if group.startswith("custom.") else "16", "reserved-memory-percent": "25"}
        rows = [{"ParameterName": name, "ParameterValue": value} for name, value in held.items()]
        return 200, asked["Action"], {"Parameters": ("Parameter", rows)}

    def close(self) -> None:
        """End all servers."""
        for thread in self.threads:
            thread.join(60)
        for group in self.groups.values():
            for node in group.nodes:
                stop(node)


def client_of(node: Node) -> redis.Redis:
    return redis.Redis(HOST, node.port, protocol=2, socket_timeout=20, retry=Retry(NoBackoff(), 0))


def own_slots(node: Node) -> None:
    """Give the server its slots, and drop the keys of all others (it took the slots of all keys in the file)."""
    first, last = node.slots
    with client_of(node) as client:
        held: set[int] = set()
        for row in client.execute_command("CLUSTER", "SLOTS"):
            held.update(range(row[0], row[1] + 1))
        mine = set(range(first, last + 1))
        if mine - held:
            client.execute_command("CLUSTER", "ADDSLOTS", *sorted(mine - held))
        wait_for(client, lambda info: "cluster_state:ok" in info)
        for slot in sorted(held - mine):
            while keys := client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 1_000):
                for key in keys:
                    client.delete(key)
        if held - mine:
            client.execute_command("CLUSTER", "DELSLOTS", *sorted(held - mine))


def join_cluster(nodes: list[Node]) -> None:
    """Let the servers know each other, so that a client of clusters finds its way."""
    for node in nodes[1:]:
        with client_of(node) as client:
            client.execute_command("CLUSTER", "MEET", HOST, nodes[0].port)
    for node in nodes:
        with client_of(node) as client:
            wait_for(client, lambda info: "cluster_slots_assigned:16384" in info and "cluster_state:ok" in info)


def wait_for(client: redis.Redis, settled: Callable[[str], bool]) -> None:
    """Until CLUSTER INFO says so."""
    until = time.monotonic() + 30
    while not settled(client.execute_command("CLUSTER", "INFO").decode()):
        if time.monotonic() > until:
            raise RestoreFailed("the shards did not find each other")
        time.sleep(0.05)


def stop(node: Node) -> None:
    if node.process is not None:
        node.process.kill()
        node.process.wait(10)
    if node.folder is not None:
        shutil.rmtree(node.folder, ignore_errors=True)


def free_port() -> int:
    """Low enough that the port of the cluster bus, 10,000 above it, is one too."""
    while True:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port = int(probe.getsockname()[1])
        if port <= 55_000:
            return port


def xml(value: Any, name: str) -> str:
    """Dicts are structures, tuples lists with the name of their items."""
    if isinstance(value, dict):
        return f"<{name}>" + "".join(xml(one, key) for key, one in value.items()) + f"</{name}>"
    if isinstance(value, tuple):
        return f"<{name}>" + "".join(xml(one, value[0]) for one in value[1]) + f"</{name}>"
    return f"<{name}>{escape(str(value).lower() if isinstance(value, bool) else str(value))}</{name}>"


def answer_text(answer: Answer) -> bytes:
    status, name, body = answer
    if status == 200:
        return f'<{name}Response xmlns="{NAMESPACE}">{xml(body, name + "Result")}</{name}Response>'.encode()
    error = f"<Error><Type>Sender</Type><Code>{name}</Code><Message>{escape(str(body))}</Message></Error>"
    return f'<ErrorResponse xmlns="{NAMESPACE}">{error}</ErrorResponse>'.encode()


@contextlib.contextmanager
def serving(fake: FakeElastiCache, port: int = 0) -> Iterator[str]:
    """The URL of its endpoint, until the block ends; its servers end with it."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            answer = fake.call(dict(urllib.parse.parse_qsl(body)))
            text = answer_text(answer)
            self.send_response(answer[0])
            self.send_header("Content-Type", "text/xml")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

    server = http.server.ThreadingHTTPServer((HOST, port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://{HOST}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        fake.close()


def main() -> None:
    """Serve until SIGTERM or SIGINT; the endpoint's URL is the first line on stdout."""
    import boto3
    from botocore.config import Config

    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--s3", required=True, help="endpoint URL of the S3 server that holds the objects")
    parser.add_argument("--server", required=True, type=Path, help="redis-server or valkey-server")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--no-grants", action="store_true", help="read objects that the service was given no right to")
    asked = parser.parse_args()
    s3 = boto3.client("s3", endpoint_url=asked.s3, config=Config(s3={"addressing_style": "path"}))
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    with serving(FakeElastiCache(s3, asked.server, check_grants=not asked.no_grants), asked.port) as url:
        print(url, flush=True)
        stopped.wait()


if __name__ == "__main__":
    sys.exit(main())
