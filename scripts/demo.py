"""The whole story on real servers: fill, pull, merge with longer TTLs, verify, load, and compare every key by commands;
then the same for others, and for a managed cache: upload, seed, and compare again.

Run it as scripts/demo. The comparisons trust nothing of rdbmerge: sources and result are read from running servers by
their own commands, and compared key by key. In place of AWS stand a local server that speaks S3, and a small service
that answers like ElastiCache and starts a real server with the uploaded file.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import redis  # noqa: E402
from fakes.elasticache import FakeElastiCache, serving  # noqa: E402
from objectstores import HOW_TO_GET, REGION, program, running_ministack  # noqa: E402
from realservers import SERVERS, RunningServer, find, running  # noqa: E402
from seed_servers import seed  # noqa: E402
from truth import diff, expected_merge, read_live  # noqa: E402

OUT = ROOT / "demo-out"
TTL_OFFSET = "3h"
TTL_OFFSET_MS = 3 * 3_600_000
TARGET = "redis-8.2"  # loads RDB 12 and everything below
# Not Valkey 9: what it writes (VALKEY080) no Redis loads, and Redis' hash-field TTLs (7.4+) no Valkey.
OLDER = "redis-6.2"
MANAGED = "valkey-8.1"  # what stands for the engine of the cache
SOURCES = ("redis-6.2", "redis-7.0", "valkey-8.1", "redis-8.2")


def headline(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


@contextmanager
def timed(label: str) -> Iterator[Callable[[str], None]]:
    """One line: the label, what the block noted, and how long it took."""
    notes: list[str] = []
    began = time.monotonic()
    yield notes.append
    print(f"  {label:<22}{'  '.join(notes)}  ({time.monotonic() - began:.1f} s)", flush=True)


def rdbmerge(*arguments: str | Path, last_lines: int | None = None, environment: dict[str, str] | None = None) -> None:
    """Run the command as a user would, and show it, with what it says or the last lines of that."""
    words = [str(a.relative_to(ROOT)) if isinstance(a, Path) else a for a in arguments]
    print(f"\n$ rdbmerge {' '.join(words)}{'' if last_lines is None else f' | tail -{last_lines}'}", flush=True)
    command = Path(sys.executable).with_name("rdbmerge")
    kept = None if last_lines is None else subprocess.PIPE
    done = subprocess.run([command, *words], cwd=ROOT, check=False, stdout=kept, text=True, env=environment)
    if last_lines is not None:
        print("\n".join(done.stdout.splitlines()[-last_lines:]), flush=True)
    if done.returncode:
        raise SystemExit(f"\nrdbmerge ended with status {done.returncode}; its files are in {OUT.name}/")


@dataclass(frozen=True)
class Address:
    """A running server as another process needs it."""

    port: int

    def client(self, db: int = 0, *, raw: bool = False) -> redis.Redis:
        client = redis.Redis("127.0.0.1", self.port, db=db, protocol=2)
        if raw:
            client.response_callbacks.clear()
        return client


@dataclass(frozen=True)
class Comparison:
    """What one source has, and how the result differs from it."""

    keys: int
    expiring: int
    field_expiries: int
    differences: list[str]
    example: str


def compare(source: Address, merged: Address, prefix: str) -> Comparison:
    """Every key of one source, asked from both servers; runs in a process of its own."""
    there = read_live(source)
    wanted = expected_merge([there], ttl_offset_ms=TTL_OFFSET_MS)
    found = read_live(merged, match=prefix.encode() + b"*")
    expiring = {place: entry for place, entry in there.entries.items() if entry.expire_at_ms is not None}
    hashes = [entry.value for entry in there.entries.values() if entry.type == "hash"]
    return Comparison(
        keys=len(there),
        expiring=len(expiring),
        field_expiries=sum(at is not None for value in hashes for _, at in value.values()),
        differences=diff(wanted, found, functions=False),
        example=_example(expiring, found.entries),
    )


def _example(expiring: dict[Any, Any], found: dict[Any, Any]) -> str:
    place, entry = min(expiring.items())
    after = found[place].expire_at_ms if place in found else None
    return f"db {place[0]} {place[1].decode()}: expires at {entry.expire_at_ms} -> {after}"


def start_sources(stack: ExitStack, keys: int) -> list[RunningServer]:
    headline("1. Servers, each with strings, lists, sets, hashes, sorted sets, streams in dbs 0, 1 and 5")
    servers = []
    for binary in (find(name) for name in SOURCES):
        if binary.path is None:
            print(f"  {binary.name:<22}not here, left out: {binary.how_to_get}")
            continue
        with timed(binary.name) as note:
            server = stack.enter_context(running(binary))
            note(f"{seed(server.client, keys=keys, prefix=f'{binary.name}:', seed=len(servers)):>9,} keys")
        servers.append(server)
    return servers


def run_rdbmerge(servers: list[RunningServer]) -> Path:
    snapshots, merged = OUT / "snapshots", OUT / "merged.rdb"
    headline("2. Pull a snapshot of each over the replication protocol")
    rdbmerge("pull", *(server.url for server in servers), "--dir", snapshots, "--jobs", "8")
    rdbmerge("inspect", snapshots)
    headline("3. Merge them into one file, every TTL three hours longer")
    rdbmerge(
        "merge",
        snapshots,
        "-o",
        merged,
        "--ttl-offset",
        TTL_OFFSET,
        "--on-conflict",
        "fail",
        "--report",
        OUT / "merge.json",
    )
    headline("4. Verify: the file is read again by code that did not write it")
    rdbmerge("verify", merged, "--against", snapshots, "--ttl-offset", TTL_OFFSET, "--report", OUT / "verify.json")
    return merged


def prove(servers: list[RunningServer], merged: Path) -> bool:
    """Load the merged file into a fresh server and compare every key, value and TTL by commands."""
    headline(f"5. Load it into a fresh {TARGET} and compare every key, value and TTL by commands")
    with running(find(TARGET), rdb=merged) as target, ProcessPoolExecutor(os.cpu_count()) as pool:
        began = time.monotonic()
        there = Address(target.port)
        prefixes = [f"{server.binary.name}:" for server in servers]
        comparisons = list(pool.map(compare, [Address(s.port) for s in servers], [there] * len(servers), prefixes))
        held = sum(target.counts().values())
        functions = len(target.client().execute_command("FUNCTION", "LIST"))
    for server, one in zip(servers, comparisons, strict=True):
        fields = f", {one.field_expiries:,} hash fields" if one.field_expiries else ""
        verdict = "all equal" if not one.differences else f"{len(one.differences):,} DIFFERENCES"
        print(f"  {server.binary.name:<22}{one.keys:>9,} keys, {one.expiring:,} with a TTL{fields}: {verdict}")
        print("".join(f"      {line}\n" for line in one.differences[:5]), end="")
    expected = sum(one.keys for one in comparisons)
    print(
        f"  {'the merged server':<22}{held:>9,} keys: {'no more, no less' if held == expected else f'NOT {expected:,}'}"
    )
    expected_functions = sum(len(read_live(server, dbs=()).functions) for server in servers)
    print(
        f"  {'function libraries':<22}{functions:>9,}: {'all there' if functions == expected_functions else 'NOT ALL'}"
    )
    print(f"  for example {comparisons[0].example} (+{TTL_OFFSET_MS:,} ms)")
    print(f"  ({time.monotonic() - began:.1f} s)")
    return held == expected and functions == expected_functions and not any(one.differences for one in comparisons)


def for_others(merged_keys: int) -> bool:
    """The same snapshots for a server that is older than most of them, and for a cluster of three."""
    snapshots, older = OUT / "snapshots", OUT / "older.rdb"
    rules = ("--ttl-offset", TTL_OFFSET, "--quiet")
    headline(f"6. The same for {OLDER}, which cannot load what newer servers write")
    rules_of_older = (*rules, "--target", OLDER, "--on-unsupported", "strip")
    rdbmerge("merge", snapshots, "-o", older, *rules_of_older, last_lines=2)
    rdbmerge("verify", older, "--against", snapshots, *rules_of_older, last_lines=1)
    with running(find(OLDER), rdb=older) as target:
        held = sum(target.counts().values())
    print(f"\n  {OLDER} loaded {held:,} keys: {'no more, no less' if held == merged_keys else f'NOT {merged_keys:,}'}")

    headline("7. The same for a cluster of three, a file a shard")
    rules_of_shards = (*rules, "--shards", "3", "--db-map", "1:0,5:0")
    rdbmerge("merge", snapshots, "-o", OUT / "shard.rdb", *rules_of_shards, last_lines=3)
    shards = sorted(OUT.glob("shard.*.rdb"))
    rdbmerge("verify", *shards, "--against", snapshots, *rules_of_shards, last_lines=1)
    return held == merged_keys


def for_a_managed_cache(servers: list[RunningServer]) -> bool:
    """The same snapshots, uploaded, as the seed of a new cache."""
    engine, snapshots, seed_file = find(MANAGED), OUT / "snapshots", OUT / "seed.rdb"
    rules = ("--ttl-offset", TTL_OFFSET, "--quiet", "--target", f"elasticache-{MANAGED}", "--on-unsupported", "strip")
    headline("8. The same for ElastiCache: upload to S3, make a cache of it, and compare again")
    if engine.path is None or program("ministack") is None:
        print(f"  left out: {engine.how_to_get if engine.path is None else f'no S3 server: {HOW_TO_GET}'}")
        return True
    rdbmerge("merge", snapshots, "-o", seed_file, *rules, last_lines=2)
    rdbmerge("verify", seed_file, "--against", snapshots, *rules, last_lines=1)
    with (
        running_ministack() as store,
        serving(FakeElastiCache(store.client(), engine.path, region=REGION)) as url,
        ProcessPoolExecutor(os.cpu_count()) as pool,
    ):
        store.client().create_bucket(Bucket="seeds")
        environment = {**os.environ, **store.environment, "AWS_ENDPOINT_URL_ELASTICACHE": url}
        where, report = "s3://seeds/demo/seed.rdb", OUT / "seed.json"
        rdbmerge("upload-s3", seed_file, where, "--grant", environment=environment)
        rdbmerge(
            "seed-elasticache", where, "--replication-group-id", "sessions", "--engine", "valkey",
            "--engine-version", "8.1", "--node-type", "cache.r7g.large", "--poll", "1s", "--execute",
            "--report", report, environment=environment,
        )  # fmt: skip
        cache = Address(int(json.loads(report.read_text())["endpoint"].rpartition(":")[2]))
        # Of fields that expire the engine keeps no expiry: their server is compared by its count alone.
        whole = [server for server in servers if server.binary.name != TARGET]
        prefixes = [f"{server.binary.name}:" for server in whole]
        comparisons = list(pool.map(compare, [Address(s.port) for s in whole], [cache] * len(whole), prefixes))
        held = sum(facts["keys"] for facts in cache.client().info("keyspace").values())
    expected = sum(sum(server.counts().values()) for server in servers)
    print()
    for server, one in zip(whole, comparisons, strict=True):
        verdict = "all equal" if not one.differences else f"{len(one.differences):,} DIFFERENCES"
        print(f"  {server.binary.name:<22}{one.keys:>9,} keys, {one.expiring:,} with a TTL: {verdict}")
    print(
        f"  {'the seeded cache':<22}{held:>9,} keys: {'no more, no less' if held == expected else f'NOT {expected:,}'}"
    )
    return held == expected and not any(one.differences for one in comparisons)


def show_files() -> None:
    headline("Files")
    for path in sorted(OUT.rglob("*")):
        if path.is_file() and path.parent in (OUT, OUT / "snapshots"):
            print(f"  {path.relative_to(ROOT)!s:<46}{path.stat().st_size:>13,} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/demo", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--keys", type=int, default=100_000, help="for each server (100,000)")
    chosen = parser.parse_args()
    if find(TARGET).path is None:
        raise SystemExit(
            f"{TARGET} is missing: {find(TARGET).how_to_get}; servers here: {', '.join(map(str, SERVERS))}"
        )
    began = time.monotonic()
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    with ExitStack() as stack:
        servers = start_sources(stack, chosen.keys)
        merged = run_rdbmerge(servers)
        proved = prove(servers, merged)
        proved = for_others(sum(sum(server.counts().values()) for server in servers)) and proved
        proved = for_a_managed_cache(servers) and proved
    show_files()
    verdict = (
        "Nothing lost, nothing doubled, every TTL three hours longer" if proved else "DIFFERENCES were found, see above"
    )
    headline(f"{verdict}. ({time.monotonic() - began:.0f} s)")
    report = OUT / "verify.json"
    if report.exists():
        passed = json.loads(report.read_text()).get("passed")
        print(
            f"The report is {report.relative_to(ROOT)}"
            + ("" if passed is None else f" (passed: {str(passed).lower()})")
        )
    raise SystemExit(0 if proved else 1)


if __name__ == "__main__":
    main()
