"""Figures with their yardstick beside them: scan against redis-check-rdb, decode against other parsers, merge and
verify against cat and sync, re-encoding against copying, and the series of `ALONE`, which --only picks.

Every round does the measured thing and its yardstick one after the other, because machines differ from minute to
minute; the table gives the median of each and the median of the ratios. Files are in the page cache; before anything
that writes, a scratch file of the same size is written and removed, so that all writers find memory in the same state.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import bench_compare  # noqa: E402
import bench_pull  # noqa: E402
import bench_restore  # noqa: E402
import bench_upload  # noqa: E402
from bench_series import Row, seeded, timed  # noqa: E402
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


DECODE = """
import sys, time
import rdbmerge, rdbmerge.snapshot.reader  # which rdbmerge.open imports; the others have imported theirs too
from rdbmerge.format.core import COMPILED
began = time.perf_counter()
keys = 0
with rdbmerge.open(sys.argv[1]) as file:
    for entry in file:
        entry.key, entry.type, entry.expire_at_ms, entry.value()
        keys += 1
print(time.perf_counter() - began, keys)
"""
RDBTOOLS = """
import sys, time
from rdbtools import RdbCallback, RdbParser
class Count(RdbCallback):
    keys = 0
    def one(self, *_, **__): Count.keys += 1
    set = start_hash = start_set = start_list = start_sorted_set = start_stream = one
began = time.perf_counter()
RdbParser(Count(None)).parse(sys.argv[1])
print(time.perf_counter() - began, Count.keys)
"""
RDB_PY = """
import sys, time
import rdb
began = time.perf_counter()
keys = sum(1 for item in rdb.RdbDecoder(sys.argv[1]))
print(time.perf_counter() - began, keys)
"""
ALONE = {
    "pull": bench_pull.rows,
    "compare": bench_compare.rows,
    "restore": bench_restore.rows,
    "upload": bench_upload.rows,
}  # series that --only can ask for
_DECODED_KEYS = 300_000  # rdbtools takes its time
_LISTPACK_PARTS = 3
_COLLECTIONS = ("list", "set", "zset", "hash")


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
    first = seeded(folder, "redis-6.2", keys)
    files = [first]
    for number in range(2, count + 1):
        path = folder / f"bench-{keys}-{number}.rdb"
        if not path.exists():
            rdbmerge("merge", first, "-o", path, "--key-prefix", f"{number}:")
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


def one_script(script: str, path: Path) -> float:
    """Seconds that a script says it took, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"a parser ended with {done.returncode}: {done.stderr[-2000:]}")
    return float(done.stdout.split()[0])


def bench_decode(folder: Path, rounds: int) -> list[Series]:
    """All values of one mixed file into Python objects, beside the two parsers that Python has."""
    path = file_of_types(folder, "redis-6.2", _DECODED_KEYS, "string", *_COLLECTIONS)  # rdb-py leaves out streams
    peers = {"rdbtools": RDBTOOLS}
    if importlib.util.find_spec("rdb"):
        peers["rdb-py"] = RDB_PY
    else:
        print("rdb-py is not installed: left out (pip install rdb-py)")
    marks = {"rdbtools": "1/5 or less", "rdb-py": "1/2 or less"}
    series = [Series("decode every value", name, marks[name]) for name in peers]
    for _ in range(rounds):
        for one, script in zip(series, peers.values(), strict=True):
            one.seconds.append(one_script(DECODE, path))
            one.yardstick_seconds.append(one_script(script, path))
    return series


@dataclass
class Recoding:
    """Re-encoding against copying, the highest RssAnon (KB), and what was re-encoded."""

    series: Series
    verifies: list[float]
    peak_kb: int
    size_bytes: int
    keys: int


def bench_recode(folder: Path, keys: int, rounds: int) -> Recoding:
    """A file of RDB 11 with all values in listpacks, for redis-6.2; the yardstick is the same without a target."""
    path = listpack_file(folder, keys)
    out = folder / "recoded.rdb"
    found = Recoding(Series("re-encode listpacks for redis-6.2", "the same copied", "150 MB/s or more"), [], 0, 0, 0)
    found.size_bytes = path.stat().st_size
    found.keys = scan(path)[1]
    target = ("--target", "redis-6.2", "--on-unsupported", "skip")  # its one function library has no place there

    def fresh() -> None:
        for leftover in (*folder.glob("recoded.rdb*"), path.with_name(path.name + ".index")):
            leftover.unlink(missing_ok=True)

    for _ in range(rounds):
        fresh()
        found.series.yardstick_seconds.append(timed([RDBMERGE, "merge", path, "-o", out, "--quiet"])[0])
        fresh()
        seconds, peak_kb = timed([RDBMERGE, "merge", path, "-o", out, *target, "--quiet"])
        verify_s, verify_kb = timed([RDBMERGE, "verify", out, "--against", path, *target, "--quiet"])
        found.series.seconds.append(seconds)
        found.verifies.append(verify_s)
        found.peak_kb = max(found.peak_kb, peak_kb, verify_kb)
    fresh()
    return found


def listpack_file(folder: Path, keys: int) -> Path:
    """Collections alone, as Valkey 8.1 writes them, about `keys` of them; kept for the next run."""
    path = folder / f"bench-listpacks-{keys}.rdb"
    if not path.exists():
        first = file_of_types(folder, "valkey-8.1", keys, *_COLLECTIONS)
        parts = [folder / f"part-{number}.rdb" for number in range(_LISTPACK_PARTS)]
        for number, part in enumerate(parts):  # less than half of the keys that are filled in are collections
            rdbmerge("merge", first, "-o", part, "--key-prefix", f"{number}:")
        rdbmerge("merge", *parts, "-o", path)
        for part in folder.glob("part-*"):
            part.unlink()
    return path


def file_of_types(folder: Path, name: str, keys: int, *types: str) -> Path:
    """What a server wrote, values of some types alone; kept for the next run."""
    path = folder / f"bench-{name}-{keys}-{'-'.join(types)}.rdb"
    if not path.exists():
        rdbmerge("merge", seeded(folder, name, keys), "-o", path, "--type", ",".join(types))
    return path


def rdbmerge(*words: str | Path) -> None:
    subprocess.run([RDBMERGE, *words, "--quiet"], check=True, stdout=subprocess.DEVNULL)


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
    parser.add_argument("--only", choices=ALONE, action="append", help="this series alone (may be given several times)")
    chosen = parser.parse_args()
    chosen.data.mkdir(exist_ok=True)
    if chosen.only:
        show([row for name in chosen.only for row in ALONE[name](chosen.data, chosen.keys, chosen.rounds)])
        return
    files = chosen.rdb or make_files(chosen.data, chosen.keys, chosen.files)
    shell("cat " + " ".join(f"'{path}'" for path in files))  # into the page cache
    with tempfile.TemporaryDirectory(dir=files[0].parent) as name:
        folder = Path(name)
        scanned, keys = bench_scan(files[0], chosen.rounds, folder)
        interpreted_s, _ = scan(files[0], RDBMERGE_PURE="1")
        decodings = bench_decode(chosen.data, chosen.rounds)
        recoding = bench_recode(chosen.data, chosen.keys, chosen.rounds)
        mergings = [bench_merge(files, chosen.rounds, folder, indexed=indexed) for indexed in (False, True)]
    report(files, keys, scanned, interpreted_s, mergings, decodings, recoding)
    show([row for rows in ALONE.values() for row in rows(chosen.data, chosen.keys, chosen.rounds)])


def machine() -> str:
    return f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def table_of(rows: Sequence[Row]) -> Table:
    table = Table("what", "took", "rate", "yardstick", "took", "ratio", "mark")
    for row in rows:
        table.add_row(*row)
    return table


def show(rows: Sequence[Row]) -> None:
    """A table of series that ran alone."""
    console = Console(width=150)
    console.print(f"\n{machine()}")
    console.print(table_of(rows))


def report(
    files: Sequence[Path],
    keys: int,
    scanned: Series,
    interpreted_s: float,
    mergings: Sequence[Merging],
    decodings: Sequence[Series],
    recoding: Recoding,
) -> None:
    size = sum(path.stat().st_size for path in files)
    all_keys = keys * len(files)
    median = statistics.median
    console = Console(width=150)
    console.print(f"\n{machine()}; {len(files)} files, {size:,} bytes, {all_keys:,} keys")
    table = table_of([])
    table.add_row(
        scanned.name, f"{median(scanned.seconds):.3f} s", f"{keys / median(scanned.seconds) / 1e6:.1f} M keys/s",
        scanned.yardstick, f"{median(scanned.yardstick_seconds):.2f} s", f"1/{1 / scanned.ratio():.1f}", scanned.mark,
    )  # fmt: skip
    table.add_row(
        "the same, interpreted", f"{interpreted_s:.2f} s", f"{keys / interpreted_s / 1e6:.2f} M keys/s", "-", "-", "-",
        "0.5 M keys/s",
    )  # fmt: skip
    for decoding in decodings:
        table.add_row(
            f"{decoding.name} ({_DECODED_KEYS:,} keys)", f"{median(decoding.seconds):.3f} s",
            f"{_DECODED_KEYS / median(decoding.seconds) / 1e6:.2f} M keys/s", decoding.yardstick,
            f"{median(decoding.yardstick_seconds):.2f} s", f"1/{1 / decoding.ratio():.1f}", decoding.mark,
        )  # fmt: skip
    took, copied = recoding.series, recoding.size_bytes / 1e6
    table.add_row(
        f"{took.name} ({recoding.keys:,} keys, {copied:,.0f} MB)", f"{median(took.seconds):.2f} s",
        f"{copied / median(took.seconds):.0f} MB/s", took.yardstick, f"{median(took.yardstick_seconds):.2f} s",
        f"{took.ratio():.2f}", took.mark,
    )  # fmt: skip
    table.add_row("  verify it", f"{median(recoding.verifies):.2f} s", "", "", "", "", "")
    memory_row(table, "  highest RssAnon of it", recoding.peak_kb, recoding.keys)
    for merging in mergings:
        series = merging.series
        table.add_row(
            series.name, f"{median(series.seconds):.2f} s", f"{size / median(series.seconds) / 1e6:.0f} MB/s",
            series.yardstick, f"{median(series.yardstick_seconds):.2f} s", f"{series.ratio():.2f}", series.mark,
        )  # fmt: skip
        for name, half in (("  merge alone", merging.merges), ("  verify alone", merging.verifies)):
            table.add_row(name, f"{median(half):.2f} s", f"{size / median(half) / 1e6:.0f} MB/s", "", "", "", "")
    memory_row(table, "highest RssAnon", max(merging.peak_kb for merging in mergings), all_keys)
    console.print(table)


def memory_row(table: Table, name: str, peak_kb: int, keys: int) -> None:
    allowed_kb = 150 * 1024 + 12 * keys / 1024
    table.add_row(
        name, f"{peak_kb / 1024:.0f} MB", "", "150 MB + 12 bytes a key", f"{allowed_kb / 1024:.0f} MB",
        f"{peak_kb / allowed_kb:.2f}", "1 or less",
    )  # fmt: skip


if __name__ == "__main__":
    main()
