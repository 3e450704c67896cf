"""What the stages of a run share: its folder, its journal, how they are told to stop; and what a stage is.

A stage reads what the one before it left on disk, never its objects, so that any of them can be the first of a process.
Which stage comes when is the business of `run`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from rdbmerge.errors import StoppedError
from rdbmerge.preflight import Outcome, PreflightCheck
from rdbmerge.reach.tunnels import Tunnels
from rdbmerge.snapshot.journal import Inputs, Journal, Output, StepLine, StepRecord
from rdbmerge.snapshot.manifest import write_private
from rdbmerge.snapshot.segment import RDB_SUFFIX
from rdbmerge.snapshot.workdir import WorkDir, as_disk_error
from rdbmerge.steps.config import RunFile

# A step's name and the files it reads -> what to tell its progress to; see `cli`.
Progress = Callable[[str, Sequence[Path]], AbstractContextManager[Any]]


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where everything of a run lies."""

    path: Path
    output: Path | None = None  # the merged file, if it is to be elsewhere

    @property
    def snapshots(self) -> WorkDir:
        """What is pulled."""
        return WorkDir(self.path / "snapshots")

    @property
    def merged(self) -> Path:
        """The merged file, or what those of shards are called after."""
        return self.output or self.path / f"merged{RDB_SUFFIX}"

    def json(self, name: str) -> Path:
        """What a step says: `plan`, `pull`, `merge`, `verify`, `report`."""
        return self.path / f"{name}.json"

    def write_json(self, name: str, text: str) -> Path:
        """Save it, 0600. Raises DiskError."""
        path = self.json(name)
        with as_disk_error(self.path):
            write_private(path, text + "\n")
        return path


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The RDB file of a source, or of one node of a cluster that is a source."""

    name: str
    source: str
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTools:
    """What the stages of one run share."""

    file: RunFile
    folder: RunFolder
    journal: Journal
    jobs: int
    now_ms: Callable[[], int]
    progress: Progress
    warn: Callable[[str], None]
    say: Callable[[str], None]  # what is found out on the way
    stop: threading.Event
    tunnels: Tunnels
    fresh: bool = False  # every source is pulled, be it unchanged or not
    keep_snapshots: bool = False  # no source is asked that is at hand

    def until_stopped(self, tell: Callable[[Any], None] | None) -> Callable[[Any], None]:
        """`tell`, ending the work that calls it once the run is to stop."""

        def told(status: Any) -> None:
            if self.stop.is_set():
                raise StoppedError("stopped; nothing unfinished was left behind")
            if tell:
                tell(status)

        return told

    def snapshots(self) -> list[Snapshot]:
        """The RDB files of all sources, there or not, in the order of precedence; of clusters as they were pulled."""
        record = self.journal.record("pull")
        nodes: dict[str, list[str]] = record.facts.get("nodes", {}) if record else {}
        found = []
        for source in self.file.source:
            name = source.source_name
            if source.file is not None:
                found.append(Snapshot(name, name, source.file))
                continue
            found += [Snapshot(one, name, self.folder.snapshots.final_path(one)) for one in nodes.get(name, [name])]
        return found


@dataclass(slots=True)
class Performed:
    """What a stage did and left."""

    lines: list[StepLine]
    outputs: dict[str, Output] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


class Stage(Protocol):
    """One step of a run."""

    name: ClassVar[str]

    def inputs(self) -> Inputs:
        """All that its outcome depends on. Raises UsageError where something that it needs is not there."""

    def changed(self, record: StepRecord) -> str:
        """What is wrong with what it left, for people; "" if that is as it was."""

    def check(self) -> None:
        """Raise before anything is begun, if it cannot be."""

    def perform(self, at_ms: int) -> Performed:
        """Do it; `at_ms` is the clock reading that its outcome may depend on."""


def tell_checks(tools: RunTools, checks: Sequence[PreflightCheck]) -> None:
    """Tell what a look before the work found that is not OK."""
    for check in checks:
        if check.outcome is not Outcome.OK:
            remedy = f" ({check.remedy})" if check.remedy else ""
            tools.warn(f"{check.outcome}: {check.name}: {check.finding}{remedy}")
