"""Restoring 3 million mixed keys into redis-server: rdbmerge, redis-cli --pipe, and pipelines of DUMP and RESTORE.

    scripts/bench --restore [--keys N]

Every round fills a fresh server in each way, one after the other. redis-cli is fed with the ready-made RESTORE commands
of the same entries. The third way is what people do without a tool: redis-py, pipelines of 2,500 PTTL and DUMP from one
server, then RESTORE into the other. Processor time is told for each side of it, and the client's memory.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

BY_HAND = """
import sys, redis
source, target = (redis.Redis(port=int(port), protocol=2) for port in sys.argv[1:3])
def flush(keys):
    reading = source.pipeline(transaction=False)
    for key in keys:
        reading.pttl(key); reading.dump(key)
    answers = reading.execute()
    writing = target.pipeline(transaction=False)
    for key, ttl, value in zip(keys, answers[::2], answers[1::2]):
        if value is not None:
            writing.restore(key, max(ttl, 0), value)
    writing.execute()
keys = []
for key in source.scan_iter(count=2500):
    keys.append(key)
    if len(keys) == 2500:
        flush(keys); keys = []
if keys:
    flush(keys)
"""


@dataclass(frozen=True)
class Measured:
    """One filling of a server."""

    seconds: float
    client_cpu_s: float
    server_cpu_s: float
    client_kb: int  # RssAnon, at most

    def __str__(self) -> str:
        return f"{self.seconds:.2f} s"


def write_commands(rdb: Path, path: Path) -> None:
    """The RESTORE commands of db 0 of a file, as rdbmerge sends them."""
    import numpy as np

    from rdbmerge.format.columns import Columns
    from rdbmerge.format.commands import BUFFER_BYTES, RestoreForm, Restoration
    from rdbmerge.format.emit import Change, Emission
    from rdbmerge.snapshot.segment import Segment

    buffer = bytearray(BUFFER_BYTES)
    with Segment(rdb) as segment, path.open("wb") as file:
        change = Change(dialect=segment.dialect)
        for batch in segment.walk():
            if isinstance(batch, Columns):
                restoration = Restoration(Emission(segment.view, batch, change), RestoreForm(absolute=True, hints=True))
                for commands in restoration.batches(np.ones(batch.rows, np.uint8), lambda: 0, buffer):
                    for piece in commands.pieces:
                        file.write(piece)


def measure(command: Sequence[str | Path], port: int, *, stdin: Path | None = None) -> Measured:
    """Run a client against the server at `port`."""
    import redis

    with redis.Redis(port=port, protocol=2) as asking:
        before = asking.info("cpu")
        began = time.perf_counter()
        with open(stdin or os.devnull, "rb") as fed:
            client = subprocess.Popen(command, stdin=fed, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            peak_kb = 0
            while client.poll() is None:
                peak_kb = max(peak_kb, _anonymous_kb(client.pid))
                time.sleep(0.01)
        _, status, usage = 0, client.returncode, None
        seconds = time.perf_counter() - began
        after = asking.info("cpu")
    if status:
        raise SystemExit(f"{command} ended with {status}: {client.stderr.read().decode()[-2000:]}")  # type: ignore[union-attr]
    del usage
    server_s = sum(after[name] - before[name] for name in ("used_cpu_sys", "used_cpu_user"))
    return Measured(seconds, 0.0, server_s, peak_kb)


def _anonymous_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return max((int(line.split()[1]) for line in lines if line.startswith("RssAnon")), default=0)
