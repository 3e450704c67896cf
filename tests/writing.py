"""Processes that write a merged file again and again, to be killed at any moment, and a source that takes a while."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

from rdbbytes import entry, select

AT = 2_000_000_000_000
WRITER = """
    import sys
    from pathlib import Path
    from merging import planned
    from rdbmerge.plan.sharding import even_slots
    from rdbmerge.steps.merge import write_merge
    source, output = Path(sys.argv[1]), Path(sys.argv[2])
    shards = even_slots(3) if "--shards" in sys.argv else None
    with planned([source], shards=shards, ttl_offset_ms=1) as merge:
        print("planned", flush=True)
        while True:
            write_merge(merge, output, jobs=2, force="--force" in sys.argv)
            print("written", flush=True)
"""


def started(source: Path, output: Path, *arguments: str) -> subprocess.Popen[str]:
    """It has planned and begins to write: once, over and over with --force, three shards with --shards."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), source, output, *arguments],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "planned\n"
    return process


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 20
    while not path.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.0005)


def big(folder: Path, megabytes: int) -> Path:
    """A file of many keys, whose merge takes a while."""
    rows = b"".join(entry(b"key:%07d" % n, b"v" * 1_000, expire_at_ms=AT) for n in range(megabytes * 1_000))
    path = folder / "big.rdb"
    path.write_bytes(b"REDIS0009" + select(0) + rows + b"\xff" + bytes(8))
    return path
