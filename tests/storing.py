"""Uploads for tests in a few words: a file with parts of the smallest size, a client, and what came of it."""

from __future__ import annotations

import random
import threading
from pathlib import Path
from typing import Any

import pytest

from rdbmerge.stores import parts, s3
from rdbmerge.stores.base import ObjectUrl, S3Access
from rdbmerge.stores.file_upload import Order, Upload, Uploaded
from rdbmerge.stores.parts import PartFile
from rdbmerge.stores.resume import Memory
from rdbmerge.stores.s3 import S3

PART = 1 << 16  # where `small_parts` is asked for


def saved(folder: Path, count: float = 2.4, *, name: str = "a.rdb", seed: int = 1) -> Path:
    """A file of so many parts, of random bytes."""
    path = folder / name
    path.write_bytes(random.Random(seed).randbytes(int(count * PART)))
    return path


def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let parts be smaller than S3 lets them, and pauses shorter: tests are about their number."""
    monkeypatch.setattr(parts, "LEAST_PART_BYTES", PART)
    monkeypatch.setattr(parts, "_ROUND_BYTES", PART)
    monkeypatch.setattr(s3, "_FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(s3, "_READ_TIMEOUT_S", 5)


def client(endpoint: str | None = None, **options: Any) -> S3:
    return S3(S3Access(endpoint_url=endpoint), **options)


def sent(store: S3, path: Path, url: ObjectUrl, *, check: Any = None, until: int | None = None, **how: Any) -> Uploaded:
    """The upload of `path` with all that belongs to it."""
    values: dict[str, Any] = {"metadata": {}, "jobs": 2, "replace": False, "now_ms": 1, "part_bytes": PART, **how}
    until = path.stat().st_size if until is None else until
    with PartFile(path, crc64_until=until) as file, Memory(path, url) as memory:
        return Upload(store, file, memory, Order(url=url, **values)).run(check or (lambda _: None))


def stop_after(count: int, stop: threading.Event) -> Any:
    """A progress that stops the upload when so many parts are sent."""
    done, lock = 0, threading.Lock()

    def progress(more: int) -> None:
        nonlocal done
        with lock:
            done += more
            if done >= count * PART:
                stop.set()

    return progress
