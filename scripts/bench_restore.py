"""Restoring into redis-server beside `redis-cli --pipe` with the ready-made RESTORE commands of the same entries, and
beside what people do without a tool: redis-py, pipelines of 2,500 PTTL and DUMP from one server, then RESTORE.

Every round fills a fresh server in both ways, in an order that changes; the third way is measured once. Times are of
whole commands. A series that runs alone: `scripts/bench --only restore`.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_pull import RDBMERGE, find_redis_cli
from bench_series import Row, seeded

BY_HAND = """
import sys, redis
source, target = (redis.Redis(port=int(port), protocol=2) for port in sys.argv[1:3])
def move(keys):
    reading = source.pipeline(transaction=False)
    for key in keys:
        reading.pttl(key)
        reading.dump(key)
    answers = reading.execute()
    writing = target.pipeline(transaction=False)
    for key, ttl, value in zip(keys, answers[::2], answers[1::2]):
        if value is not None:
            writing.restore(key, max(ttl, 0), value)
    writing.execute()
for db in range(16):
    source.execute_command("SELECT", db), target.execute_command("SELECT", db)
    source, target = (redis.Redis(port=int(port), db=db, protocol=2) for port in sys.argv[1:3])
    keys = []
    for key in source.scan_iter(count=2500):
        keys.append(key)
        if len(keys) == 2500:
            move(keys)
            keys = []
    if keys:
        move(keys)
"""


@dataclass(frozen=True)
class Filled:
    """A server filled in one way."""

    seconds: float
    client_cpu_s: float
    server_cpu_s: float
    client_mb: float  # RssAnon at most


def write_commands(rdb: Path, path: Path) -> int:
    """The commands that restore a file, SELECT included; how many keys."""
    import numpy as np

    from rdbmerge.format.columns import Columns
    from rdbmerge.format.commands import BUFFER_BYTES, Restoration, RestoreForm
    from rdbmerge.format.emit import Change, Emission
    from rdbmerge.snapshot.segment import Segment

    keys, form = 0, RestoreForm(absolute=True, hints=True)
    with Segment(rdb) as segment, path.open("wb") as file:
        change = Change(dialect=segment.dialect)
        for batch in segment.walk():
            if isinstance(batch, Columns):
                db = str(batch.db).encode()
                file.write(b"*2\r\n$6\r\nSELECT\r\n$%d\r\n%s\r\n" % (len(db), db))
                restoration = Restoration(Emission(segment.view, batch, change), form)
                wanted = np.ones(batch.rows, np.uint8)
                now_ms = time.time_ns() // 1_000_000
                for commands in restoration.batches(wanted, lambda now_ms=now_ms: now_ms, bytearray(BUFFER_BYTES)):  # type: ignore[misc]
                    file.writelines(commands.pieces)
                    keys += len(commands.rows)
    return keys


def fill(server: Any, command: Sequence[str | Path], stdin: Path | None = None) -> Filled:
    """Run a client, and see what it takes on both sides."""
    with server.client() as asking:
        before, spent = asking.info("cpu"), resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.perf_counter()
        with (stdin or Path("/dev/null")).open("rb") as fed:
            client = subprocess.Popen(command, stdin=fed, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            peak_mb, ended = [0.0], threading.Event()
            watcher = threading.Thread(target=_watch, args=(client.pid, peak_mb, ended))
            watcher.start()
            _, said = client.communicate()
        seconds = time.perf_counter() - began
        ended.set()
        watcher.join()
        after, then = asking.info("cpu"), resource.getrusage(resource.RUSAGE_CHILDREN)
    if client.returncode:
        raise SystemExit(f"{command} ended with {client.returncode}: {said.decode()[-2000:]}")
    server_s = sum(after[name] - before[name] for name in ("used_cpu_sys", "used_cpu_user"))
    return Filled(seconds, then.ru_utime + then.ru_stime - spent.ru_utime - spent.ru_stime, server_s, peak_mb[0])


def _watch(pid: int, peak_mb: list[float], ended: threading.Event) -> None:
    while not ended.wait(0.02):
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except OSError:
            return
        peak_mb[0] = max([peak_mb[0], *(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))])


def rows(data: Path, keys: int, rounds: int) -> list[Row]:
    """The lines of the table."""
    from realservers import find, running

    binary, redis_cli = find("redis-7.0"), find_redis_cli()
    if binary.path is None or redis_cli is None:
        return [("restore", "-", "-", "redis-cli --pipe", "left out", f"no {binary} or no redis-cli", "-")]
    file = seeded(data, "redis-6.2", keys)
    ours: list[Filled] = []
    theirs: list[Filled] = []
    with tempfile.TemporaryDirectory(dir=data) as name:
        ready, places = Path(name) / "commands", ("--checkpoint", Path(name) / "c", "--rejected", Path(name) / "r")
        found = write_commands(file, ready)
        for number in range(rounds + 1):
            for own in (True, False) if number % 2 else (False, True):
                with running(binary) as server:
                    filled = (
                        fill(server, [RDBMERGE, "restore", file, server.url, "-q", *places])
                        if own
                        else fill(server, [redis_cli, "-p", str(server.port), "--pipe"], ready)
                    )
                if number:  # the first of each makes the index, and warms caches up
                    (ours if own else theirs).append(filled)
    with running(binary, rdb=file, timeout_s=600) as source, running(binary) as server:
        by_hand = fill(server, [sys.executable, "-c", BY_HAND, str(source.port), str(server.port)])
    return _rows(found, ours, theirs, by_hand)


def _rows(keys: int, ours: Sequence[Filled], theirs: Sequence[Filled], by_hand: Filled) -> list[Row]:
    median = statistics.median
    our_s, their_s = median(one.seconds for one in ours), median(one.seconds for one in theirs)
    ratio = median(own.seconds / other.seconds for own, other in zip(ours, theirs, strict=True))
    cpu = median(one.client_cpu_s / one.server_cpu_s for one in ours)
    return [
        (
            f"restore ({keys:,} keys)", f"{our_s:.2f} s", f"{keys / our_s:,.0f} keys/s", "redis-cli --pipe",
            f"{their_s:.2f} s", f"{ratio:.2f}", "1.10 or less",
        ),
        (
            "  the same beside DUMP and RESTORE by hand", f"{our_s:.2f} s", "", "redis-py, pipelines of 2,500",
            f"{by_hand.seconds:.2f} s", f"1/{by_hand.seconds / our_s:.1f}", "1/8 or less",
        ),
        (
            "  processor time of it", f"{median(one.client_cpu_s for one in ours):.2f} s", "", "of the server",
            f"{median(one.server_cpu_s for one in ours):.2f} s", f"{cpu:.2f}", "below 0.50",
        ),
        ("  highest RssAnon of it", f"{max(one.client_mb for one in ours):.0f} MB", "", "", "", "", "below 200 MB"),
    ]  # fmt: skip
