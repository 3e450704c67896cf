"""Comparing a file with a live server on loopback, all keys both ways, and pulling that server key by key: the time of
a whole command each. The server is of another version than the one that wrote the file, so that most values stand in
other forms and are compared by what they mean. A series that runs alone: `scripts/bench --only compare`.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import tempfile
from pathlib import Path

from bench_series import Row, seeded, timed

RDBMERGE = Path(sys.executable).with_name("rdbmerge")
_WAYS = {"compare all keys live": "100,000 keys/s or more", "pull --via scan": "-"}


def rows(data: Path, keys: int, rounds: int) -> list[Row]:
    """The lines of the table: each way, and what it cost the two sides."""
    from realservers import find, running

    binary = find("redis-7.0")
    if binary.path is None:
        return [("compare all keys live", "-", "-", "-", "left out", f"no {binary}", "100,000 keys/s or more")]
    file = seeded(data, "redis-6.2", keys)
    found: list[Row] = []
    with running(binary, rdb=file, timeout_s=600) as server, tempfile.TemporaryDirectory(dir=data) as name:
        report = Path(name) / "report.json"
        place = f"127.0.0.1:{server.port}"
        commands = {
            "compare all keys live": ("verify", file, "--live", place, "--report", report, "--force", "--quiet"),
            "pull --via scan": ("pull", f"a={place}", "--dir", name, "--via", "scan", "--force", "--quiet"),
        }
        for what, words in commands.items():
            seconds, clients, servers, peak_kb = [], [], [], 0
            for number in range(rounds + 1):
                before = _cpu_s(server.process.pid), resource.getrusage(resource.RUSAGE_CHILDREN)
                took_s, memory_kb = timed([RDBMERGE, *words])
                after = _cpu_s(server.process.pid), resource.getrusage(resource.RUSAGE_CHILDREN)
                if number == 0:  # the first warms the server's memory up, and makes the index
                    continue
                seconds.append(took_s)
                servers.append(after[0] - before[0])
                clients.append(sum(after[1][:2]) - sum(before[1][:2]))
                peak_kb = max(peak_kb, memory_kb)
            found += _lines(what, sum(server.counts().values()), seconds, clients, servers, peak_kb)
        assert json.loads(report.read_text())["verdict"] == "passed"
    return found


def _lines(
    what: str, keys: int, seconds: list[float], clients: list[float], servers: list[float], peak_kb: int
) -> list[Row]:
    median = statistics.median
    client_s, server_s = median(clients), median(servers)
    return [
        (f"{what} ({keys:,} keys)", f"{median(seconds):.2f} s", f"{keys / median(seconds):,.0f} keys/s", "", "", "",
         _WAYS[what]),
        ("  processor time of it, and of the server", f"{client_s:.2f} s", "", "the server", f"{server_s:.2f} s",
         f"{client_s / server_s:.2f}", ""),
        ("  highest RssAnon of it", f"{peak_kb / 1024:.0f} MB", "", "", "", "", ""),
    ]  # fmt: skip


def _cpu_s(pid: int) -> float:
    """Processor time that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
