"""Figures with their yardstick beside them: scan against redis-check-rdb, merge and verify against cat and sync.

Every round does the measured thing and its yardstick one after the other, because machines differ from minute to
minute; the table gives the median of each and the median of the ratios. Files are in the page cache; before anything
that writes, a scratch file of the same size is written and removed, so that all writers find memory in the same state.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

RDBMERGE = Path(sys.executable).with_name("rdbmerge")
SCAN = """
import sys, time
from pathlib import Path
from rdbmerge.format.core import COMPILED
from rdbmerge.snapshot.hashes import HashCollector
from rdbmerge.snapshot.indexer import scan_facts
from rdbmerge.snapshot.segment import Segment
with Segment(Path(sys.argv[1])) as segment:
    began = time.perf_counter()
    facts = scan_facts(segment, HashCollector())
    print(time.perf_counter() - began, facts.keys, COMPILED)
"""


@dataclass
class Series:
    """Seconds of one thing and of its yardstick, round by round."""

    name: str
    yardstick: str
    mark: str
    seconds: list[float] = field(default_factory=list)
    yardstick_seconds: list[float] = field(default_factory=list)

    def ratio(self) -> float:
        pairs = zip(self.seconds, self.yardstick_seconds, strict=True)
        return statistics.median(own / theirs for own, theirs in pairs)


@dataclass
class Merging:
    """A series of merge + verify, its two halves, and the highest RssAnon (KB) of either."""

    series: Series
    merges: list[float]
    verifies: list[float]
    peak_kb: int


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


def shell(line: str) -> float:
    began = time.perf_counter()
    subprocess.run(["bash", "-c", line], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def check_tool(folder: Path) -> Path | None:
    """redis-check-rdb is redis-server under another name."""
    from realservers import find

    system = shutil.which("redis-check-rdb")
    server = find("redis-6.2").path
    if system or server is None:
        return Path(system) if system else None
    tool = folder / "redis-check-rdb"
    tool.symlink_to(server)
    return tool


def make_files(folder: Path, keys: int, count: int) -> list[Path]:
    """One file written by a real server, the others from it under other key names; kept for the next run."""
    from realservers import find, running
    from seed_servers import seed

    first = folder / f"bench-{keys}-1.rdb"
    if not first.exists():
        print(f"filling a server with {keys:,} keys of all types (once)", flush=True)
        with running(find("redis-6.2")) as server:
            seed(server.client, keys=keys, prefix="1:")
            shutil.copyfile(server.save(), first)
    files = [first]
    for number in range(2, count + 1):
        path = folder / f"bench-{keys}-{number}.rdb"
        if not path.exists():
            subprocess.run(
                [RDBMERGE, "merge", first, "-o", path, "--key-prefix", f"{number}:", "--quiet"],
                check=True, stdout=subprocess.DEVNULL,
            )  # fmt: skip
        files.append(path)
    return files


def scan(path: Path, **environment: str) -> tuple[float, int]:
    said = subprocess.run(
        [sys.executable, "-c", SCAN, path], check=True, capture_output=True, text=True,
        env={**os.environ, **environment},
    ).stdout.split()  # fmt: skip
    return float(said[0]), int(said[1])


def bench_scan(path: Path, rounds: int, folder: Path) -> tuple[Series, int]:
    tool = check_tool(folder)
    series = Series("scan: structure, key hashes, CRC-64", "redis-check-rdb", "1/12 or less")
    keys = 0
    for _ in range(rounds):
        seconds, keys = scan(path, RDBMERGE_REQUIRE_COMPILED="1")
        series.seconds.append(seconds)
        series.yardstick_seconds.append(timed([tool, path])[0] if tool else float("nan"))
    return series, keys


def bench_merge(files: Sequence[Path], rounds: int, folder: Path, *, indexed: bool) -> Merging:
    """Merge and verify of all files against cat of the same files and sync; `indexed`: with the indexes pull leaves."""
    out, copy, scratch = folder / "merged.rdb", folder / "copied", folder / "scratch"
    names = " ".join(f"'{path}'" for path in files)
    how = "indexes as pull leaves them" if indexed else "no index beforehand"
    series = Series(f"merge + verify ({how})", "cat to the same disk + sync", "1.6 or less")
    merges: list[float] = []
    verifies: list[float] = []
    peak = 0

    def level_ground() -> None:
        for leftover in folder.glob("merged.rdb*"):
            leftover.unlink()
        copy.unlink(missing_ok=True)
        shell(f"cat {names} > '{scratch}'; rm '{scratch}'")

    def ours() -> float:
        nonlocal peak
        for path in files:
            if not indexed:
                path.with_name(path.name + ".index").unlink(missing_ok=True)
        offset = ("--ttl-offset", "3h")
        merge_s, merge_kb = timed([RDBMERGE, "merge", *files, "-o", out, *offset, "--quiet"])
        verify_s, verify_kb = timed([RDBMERGE, "verify", out, *_against(files), *offset, "--quiet"])
        merges.append(merge_s)
        verifies.append(verify_s)
        peak = max(peak, merge_kb, verify_kb)
        return merge_s + verify_s

    def theirs() -> float:
        return shell(f"cat {names} > '{copy}'; sync '{copy}'")

    for number in range(rounds):
        order: list[tuple[list[float], Callable[[], float]]]
        order = [(series.seconds, ours), (series.yardstick_seconds, theirs)]
        for place, action in order if number % 2 else reversed(order):
            level_ground()
            place.append(action())
    level_ground()
    return Merging(series, merges, verifies, peak)


def _against(files: Sequence[Path]) -> list[str | Path]:
    return [word for path in files for word in ("--against", path)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--keys", type=int, default=3_000_000, help="keys of each file that is made")
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rdb", type=Path, nargs="+", help="use these files instead of making some")
    parser.add_argument("--data", type=Path, default=ROOT / "bench-data", help="folder for the files that are made")
    chosen = parser.parse_args()
    chosen.data.mkdir(exist_ok=True)
    files = chosen.rdb or make_files(chosen.data, chosen.keys, chosen.files)
    shell("cat " + " ".join(f"'{path}'" for path in files))  # into the page cache
    with tempfile.TemporaryDirectory(dir=files[0].parent) as name:
        folder = Path(name)
        scanned, keys = bench_scan(files[0], chosen.rounds, folder)
        interpreted_s, _ = scan(files[0], RDBMERGE_PURE="1")
        mergings = [bench_merge(files, chosen.rounds, folder, indexed=indexed) for indexed in (False, True)]
    report(files, keys, scanned, interpreted_s, mergings)


def report(
    files: Sequence[Path], keys: int, scanned: Series, interpreted_s: float, mergings: Sequence[Merging]
) -> None:
    size = sum(path.stat().st_size for path in files)
    all_keys = keys * len(files)
    median = statistics.median
    console = Console(width=150)
    console.print(
        f"\n{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()};"
        f" {len(files)} files, {size:,} bytes, {all_keys:,} keys"
    )
    table = Table("what", "took", "rate", "yardstick", "took", "ratio", "mark")
    table.add_row(
        scanned.name, f"{median(scanned.seconds):.3f} s", f"{keys / median(scanned.seconds) / 1e6:.1f} M keys/s",
        scanned.yardstick, f"{median(scanned.yardstick_seconds):.2f} s", f"1/{1 / scanned.ratio():.1f}", scanned.mark,
    )  # fmt: skip
    table.add_row(
        "the same, interpreted", f"{interpreted_s:.2f} s", f"{keys / interpreted_s / 1e6:.2f} M keys/s", "-", "-", "-",
        "0.5 M keys/s",
    )  # fmt: skip
    for merging in mergings:
        series = merging.series
        table.add_row(
            series.name, f"{median(series.seconds):.2f} s", f"{size / median(series.seconds) / 1e6:.0f} MB/s",
            series.yardstick, f"{median(series.yardstick_seconds):.2f} s", f"{series.ratio():.2f}", series.mark,
        )  # fmt: skip
        for name, half in (("  merge alone", merging.merges), ("  verify alone", merging.verifies)):
            table.add_row(name, f"{median(half):.2f} s", f"{size / median(half) / 1e6:.0f} MB/s", "", "", "", "")
    peak_kb = max(merging.peak_kb for merging in mergings)
    allowed_kb = 150 * 1024 + 12 * all_keys / 1024
    table.add_row(
        "highest RssAnon", f"{peak_kb / 1024:.0f} MB", "", "150 MB + 12 bytes a key", f"{allowed_kb / 1024:.0f} MB",
        f"{peak_kb / allowed_kb:.2f}", "1 or less",
    )  # fmt: skip
    console.print(table)


if __name__ == "__main__":
    main()
