"""Uploads beside `boto3 upload_file` with the same settings, and a merge into an object beside the same into a file.

The store is `rclone serve s3` on this machine, which shares its processors; every round does both, one after the other.
"""

from __future__ import annotations

import os
import random
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import objectstores
from bench_series import Row, seeded
from objectstores import ObjectStore
from rdbbytes import entry, select

RDBMERGE = Path(sys.executable).with_name("rdbmerge")
PART_BYTES = 64 << 20
JOBS = 8
UPLOAD_FILE = f"""
import sys
import boto3
from boto3.s3.transfer import TransferConfig
settings = TransferConfig(multipart_threshold={PART_BYTES}, multipart_chunksize={PART_BYTES}, max_concurrency={JOBS})
boto3.client("s3").upload_file(sys.argv[1], "seeds", "theirs.rdb", Config=settings)
"""


@dataclass
class Measured:
    """Seconds round by round, the highest resident memory, and the most that lay on the local disk."""

    seconds: list[float] = field(default_factory=list)
    memory_kb: int = 0
    disk_bytes: int = 0

    def median(self) -> float:
        return statistics.median(self.seconds)


def measure(into: Measured, command: Sequence[str | Path], store: ObjectStore, folder: Path) -> None:
    """Run a command in `folder`, which is where its local files would be."""
    before = used_bytes(folder)
    began = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=folder, env={**os.environ, **store.environment, "TMPDIR": str(folder)}, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            into.memory_kb = max(into.memory_kb, resident_kb(process.pid))
            into.disk_bytes = max(into.disk_bytes, used_bytes(folder) + nameless_bytes(process.pid) - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, said = process.communicate()
    into.seconds.append(time.perf_counter() - began)
    done.set()
    watcher.join()
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}: {said.decode()[-2000:]}")


def resident_kb(pid: int) -> int:
    """Without pages of files that are mapped, which the system takes back when it needs them."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def used_bytes(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_blocks * 512 if path.is_file() else 0
        except OSError:
            continue  # gone meanwhile
    return total


def nameless_bytes(pid: int) -> int:
    """Of temporary files that have lost their names."""
    total = 0
    for link in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            total += link.stat().st_blocks * 512 if str(link.readlink()).endswith(" (deleted)") else 0
        except OSError:
            continue
    return total


def upload_file_of(folder: Path) -> Path:
    """A sound RDB of 2 GB in large strings; kept for the next run."""
    path = folder / "bench-upload.rdb"
    if not path.exists():
        noise = random.Random(1).randbytes(1 << 20)
        with path.open("wb") as file:
            file.write(b"REDIS0009" + select(0))
            for number in range(2 * 1024):
                file.write(entry(b"key:%d" % number, noise[number:] + noise[:number]))
            file.write(b"\xff" + bytes(8))  # as a server writes it that makes no checksums
    return path


@contextmanager
def store_in(folder: Path) -> Iterator[ObjectStore]:
    objects = folder / "objects"
    (objects / "seeds").mkdir(parents=True)
    # S3 knows the ETag of an object; rclone would read all of it again when it is asked.
    with objectstores.running_rclone(objects, "--etag-hash", "") as store:
        yield store
    shutil.rmtree(objects)


def rows(data: Path, keys: int, rounds: int) -> list[Row]:
    """The rows of the table; none where there is no store. Of `keys` keys, a server makes the file that is merged."""
    if objectstores.program("rclone") is None:
        print(f"rclone is not there, so that uploads are not measured: {objectstores.HOW_TO_GET}")
        return []
    path, merged = upload_file_of(data), seeded(data, "redis-6.2", keys)
    subprocess.run(
        [RDBMERGE, "inspect", merged], check=True, stdout=subprocess.DEVNULL
    )  # leaves an index, as pull does
    ours, theirs, streamed, written = Measured(), Measured(), Measured(), Measured()
    with store_in(data / "store") as store:
        for number in range(rounds):
            uploads = [(ours, upload_command(path)), (theirs, [sys.executable, "-c", UPLOAD_FILE, path])]
            for into, command in uploads if number % 2 else reversed(uploads):
                level(data, store, path)
                measure(into, command, store, room(data))
            for into, output in ((streamed, "s3://seeds/merged.rdb"), (written, "merged.rdb")):
                level(data, store, merged)
                command = [RDBMERGE, "merge", merged, "-o", output, "--ttl-offset", "3h", "--quiet"]
                measure(into, command, store, room(data))
    shutil.rmtree(room(data))
    return table_of(path, merged, ours, theirs, streamed, written)


def upload_command(path: Path) -> list[str | Path]:
    sizes = ("--part-size", str(PART_BYTES), "--jobs", str(JOBS))
    return [RDBMERGE, "upload-s3", path, "s3://seeds/ours.rdb", *sizes, "--bare", "--quiet"]


def room(data: Path) -> Path:
    folder = data / "room"
    folder.mkdir(exist_ok=True)
    return folder


def level(data: Path, store: ObjectStore, *files: Path) -> None:
    """The same state for whoever comes next: no objects, no local files, what is read in the page cache."""
    client = store.client()
    for each in client.list_objects_v2(Bucket="seeds").get("Contents", []):
        client.delete_object(Bucket="seeds", Key=each["Key"])
    shutil.rmtree(room(data))
    room(data)
    for file in files:
        with file.open("rb") as opened:
            while opened.read(1 << 24):
                pass


def table_of(
    path: Path, merged: Path, ours: Measured, theirs: Measured, streamed: Measured, written: Measured
) -> list[Row]:
    def ratio(one: Measured, other: Measured) -> str:
        return f"{statistics.median(a / b for a, b in zip(one.seconds, other.seconds, strict=True)):.2f}"

    size, merged_size = path.stat().st_size, merged.stat().st_size
    return [
        (
            f"upload-s3 ({size / 1e9:.1f} GB, {JOBS} parts of 64 MB at once)", f"{ours.median():.2f} s",
            f"{size / ours.median() / 1e6:.0f} MB/s", "boto3 upload_file", f"{theirs.median():.2f} s",
            ratio(ours, theirs), "1.15 or less",
        ),
        (
            "  highest RssAnon", f"{ours.memory_kb / 1024:.0f} MB", "", "boto3 upload_file",
            f"{theirs.memory_kb / 1024:.0f} MB", "", "100 MB or less",
        ),
        (
            f"merge into an object ({merged_size / 1e9:.1f} GB)", f"{streamed.median():.2f} s",
            f"{merged_size / streamed.median() / 1e6:.0f} MB/s", "the same into a file", f"{written.median():.2f} s",
            ratio(streamed, written), "-",
        ),
        (
            "  most on the local disk", f"{streamed.disk_bytes / 1e6:.1f} MB", "", "the same into a file",
            f"{written.disk_bytes / 1e6:.0f} MB", "", "64 MB or less",
        ),
        (
            "  highest RssAnon", f"{streamed.memory_kb / 1024:.0f} MB", "", "the same into a file",
            f"{written.memory_kb / 1024:.0f} MB", "", "-",
        ),
    ]  # fmt: skip
