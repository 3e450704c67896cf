"""Run files for tests, and runs of them in this process."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rdbbytes import aux, entry, rdb, select

from rdbmerge.reach.tunnels import Tunnels
from rdbmerge.snapshot.journal import Journal
from rdbmerge.snapshot.workdir import WorkDir
from rdbmerge.steps.preview import preview
from rdbmerge.steps.run import folder_of, run
from rdbmerge.steps.run_file import read_run_file
from rdbmerge.steps.run_report import RunReport
from rdbmerge.steps.stages.tools import RunTools

CTIME = aux(b"ctime", b"1700000000")


def rdb_of(*keys: bytes, value: bytes = b"v") -> bytes:
    return rdb(9, CTIME, select(0), *(entry(key, value) for key in keys))


def write_run_file(folder: Path, text: str, **files: bytes) -> Path:
    """`run.toml` beside RDB files; its work directory is `work`."""
    for name, data in files.items():
        (folder / f"{name}.rdb").write_bytes(data)
    path = folder / "run.toml"
    path.write_text(f'[run]\ndir = "work"\njobs = 2\n{text}')
    return path


def two_files(folder: Path, more: str = "") -> Path:
    """A run of two RDB files, `a` and `b`, of which b has a prefix."""
    text = '[[source]]\nfile = "a.rdb"\n[[source]]\nfile = "b.rdb"\nkey_prefix = "b:"\n'
    return write_run_file(folder, text + more, a=rdb_of(b"k", b"a"), b=rdb_of(b"k"))


@contextlib.contextmanager
def tools_of(path: Path, *, warnings: list[str] | None = None, variables: Mapping[str, str] | None = None,
             stop: threading.Event | None = None, **how: Any) -> Iterator[RunTools]:  # fmt: skip
    file = read_run_file(path, variables or {})

    @contextlib.contextmanager
    def silent(_step: str, _files: Sequence[Path]) -> Iterator[None]:
        yield None

    with WorkDir(file.run.dir).filling(), Tunnels(connect_timeout_s=1) as tunnels:
        yield RunTools(
            file=file, folder=folder_of(file), journal=Journal(file.run.dir), jobs=2,
            now_ms=lambda: time.time_ns() // 1_000_000, progress=silent,
            say=[].append, warn=[].append if warnings is None else warnings.append,
            stop=stop or threading.Event(), tunnels=tunnels, **how,
        )  # fmt: skip


def ran(path: Path, *, from_step: str | None = None, until_step: str | None = None, **how: Any) -> RunReport:
    with tools_of(path, fresh=from_step == "pull", **how) as tools:
        return run(tools, run_file=path, from_step=from_step, until_step=until_step, command="rdbmerge run run.toml")


def previewed(path: Path, *, from_step: str | None = None, until_step: str | None = None, **how: Any) -> RunReport:
    with tools_of(path, fresh=from_step == "pull", **how) as tools:
        return preview(tools, run_file=path, from_step=from_step, until_step=until_step)


def outcomes(report: RunReport) -> dict[str, str]:
    """By step; of pull what all sources have in common, or their outcomes by name."""
    found: dict[str, str] = {}
    for line in report.lines:
        name = f"{line.step} {line.source}" if line.source else line.step
        found[name] = line.outcome
    return found
