"""What the series of the bench share: time and memory of a command, the file that a real server wrote, a row of the
table. A series of its own is a module `bench_NAME.py` with `rows(data, keys, rounds)`, named in `ALONE` of bench.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

Row = tuple[str, str, str, str, str, str, str]  # what, took, rate, yardstick, took, ratio, mark


def timed(command: Sequence[str | Path], **environment: str) -> tuple[float, int]:
    """Wall seconds of a command, and the highest anonymous memory (RssAnon, KB) it was seen with."""
    began = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ, **environment}
    )
    peak, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            try:
                lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            except OSError:
                return
            peak[0] = max([peak[0], *(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))])

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, said = process.communicate()
    seconds = time.perf_counter() - began
    done.set()
    watcher.join()
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}: {said.decode()[-2000:]}")
    return seconds, peak[0]


def seeded(folder: Path, name: str, keys: int) -> Path:
    """A file that a real server wrote, of `keys` keys of all types; kept for the next run."""
    from realservers import find, running
    from seed_servers import seed

    path = folder / f"bench-{name}-{keys}.rdb"
    if not path.exists():
        print(f"filling {name} with {keys:,} keys of all types (once)", flush=True)
        with running(find(name)) as server:
            seed(server.client, keys=keys, prefix="1:")
            shutil.copyfile(server.save(), path)
    return path
