"""Restores for tests: into real servers, in a few words; and commands as a server would read them."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from realservers import RunningServer
from rows import only_batch

from rdbmerge.format.commands import BUFFER_BYTES, Restoration, RestoreForm
from rdbmerge.format.emit import Change, Emission
from rdbmerge.plan.model import Rules
from rdbmerge.reach.server import Server
from rdbmerge.reach.tunnels import Tunnels
from rdbmerge.steps.restore import restore
from rdbmerge.steps.restoring.report import RestoreOptions, RestoreReport

OPTIONS = RestoreOptions(connections=2, max_latency_ms=0, retry_for_s=20, timeout_s=20)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def restored(
    server: RunningServer | str, *files: Path, rules: Rules | None = None, options: RestoreOptions = OPTIONS, **how: Any
) -> RestoreReport:
    """Restore files; options by their names, or as `options`."""
    asked = {name: how.pop(name) for name in list(how) if name in RestoreOptions.__dataclass_fields__}
    address = server if isinstance(server, str) else server.url
    with Tunnels(connect_timeout_s=5) as tunnels:
        return restore(
            files, Server.parse(address), rules or Rules(), replace(options, **asked), tunnels=tunnels, now_ms=now_ms,
            jobs=1, **how,
        )  # fmt: skip


def copied(path: Path, folder: Path, name: str = "a.rdb") -> Path:
    """A copy that lists may be put beside."""
    return Path(shutil.copyfile(path, folder / name))


def commands_of(data: bytes) -> Iterator[list[bytes]]:
    """The commands in a run of RESP, read in the plainest way."""
    pos = 0
    while pos < len(data):
        count, pos = _number(data, pos, b"*")
        words = []
        for _ in range(count):
            size, pos = _number(data, pos, b"$")
            words.append(data[pos : pos + size])
            assert data[pos + size : pos + size + 2] == b"\r\n"
            pos += size + 2
        yield words


def _number(data: bytes, pos: int, mark: bytes) -> tuple[int, int]:
    end = data.index(b"\r\n", pos)
    assert data[pos : pos + 1] == mark
    return int(data[pos + 1 : end]), end + 2


def written(
    data: bytes,
    *,
    form: RestoreForm = RestoreForm(absolute=True),  # noqa: B008 - frozen
    at_ms: int = 0,
    wanted: Sequence[int] | None = None,
    asking: bool = False,
    buffer_bytes: int = BUFFER_BYTES,
    **change: Any,
) -> tuple[list[list[bytes]], list[int], list[int]]:
    """The commands for the one batch of a file; the rows that answers will be about; what became of `wanted`."""
    view, batch, dialect = only_batch(data)
    restoration = Restoration(Emission(view, batch, Change(dialect=dialect, **change)), form)
    chosen = np.array([1] * batch.rows if wanted is None else wanted, np.uint8)
    out, rows = b"", []
    for commands in restoration.batches(chosen, lambda: at_ms, bytearray(buffer_bytes), asking=asking):
        out += b"".join(bytes(piece) for piece in commands.pieces)
        rows += commands.rows.tolist()
    return list(commands_of(out)), rows, chosen.tolist()
