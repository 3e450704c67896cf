"""Pulling, index and checks included, beside `redis-cli --rdb` from the same server: the time of a whole command each.

Every round does both, one after the other, in an order that changes, into the same folder. A series that runs alone:
`scripts/bench --only pull`.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from bench_series import Row, seeded, timed

RDBMERGE = Path(sys.executable).with_name("rdbmerge")


def find_redis_cli() -> Path | None:
    """The system's, else the one in the wheel of Redis 6.2."""
    from realservers import find

    server = find("redis-6.2").path
    beside = server.with_name("redis-cli") if server else None
    return next((path for path in map(Path, filter(None, [shutil.which("redis-cli"), beside])) if path.exists()), None)


def rows(data: Path, keys: int, rounds: int) -> list[Row]:
    """The line of the table, and where the time went."""
    from realservers import find, running

    binary, redis_cli = find("redis-7.0"), find_redis_cli()
    if binary.path is None or redis_cli is None:
        return [("pull", "-", "-", "redis-cli --rdb", "left out", f"no {binary} or no redis-cli", "-")]
    file = seeded(data, "redis-6.2", keys)
    ours: list[float] = []
    theirs: list[float] = []
    received: list[float] = []
    peak_kb = 0
    with running(binary, rdb=file, timeout_s=600) as server, tempfile.TemporaryDirectory(dir=data) as name:
        folder = Path(name)
        for number in range(rounds + 1):
            for own in (True, False) if number % 2 else (False, True):
                for leftover in folder.iterdir():
                    leftover.unlink()
                place = ("-p", str(server.port), "--rdb", folder / "cli.rdb")
                words = ("pull", f"a=127.0.0.1:{server.port}", "--dir", folder, "--quiet")
                seconds, memory_kb = timed([RDBMERGE, *words] if own else [redis_cli, *place])
                if number == 0:  # the first of each warms caches, and the server's memory up
                    continue
                (ours if own else theirs).append(seconds)
                if own:
                    manifest = json.loads((folder / "a.rdb.manifest.json").read_text())
                    received.append(manifest["pulled"]["duration_s"])
                    peak_kb = max(peak_kb, memory_kb)
        size_bytes, found = manifest["size_bytes"], sum(manifest["keys_in_file"].values())
    median = statistics.median
    ratio = median(own / other for own, other in zip(ours, theirs, strict=True))
    return [
        (
            f"pull with index and checks ({found:,} keys, {size_bytes / 1e6:,.0f} MB)", f"{median(ours):.2f} s",
            f"{size_bytes / median(ours) / 1e6:.0f} MB/s", "redis-cli --rdb", f"{median(theirs):.2f} s", f"{ratio:.2f}",
            "1.15 or less",
        ),
        ("  of it until the last byte came", f"{median(received):.2f} s", "", "", "", "", ""),
        ("  highest RssAnon of it", f"{peak_kb / 1024:.0f} MB", "", "", "", "", ""),
    ]  # fmt: skip
