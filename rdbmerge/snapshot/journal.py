"""The memory of a run: which steps are done, from what inputs, and what they left, as one JSON file in its folder.

Every change is on the disk before the work goes on, so a process may be killed between any two lines. Secrets never get
here. Knows nothing of what the steps do.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rdbmerge import __version__
from rdbmerge.errors import UsageError
from rdbmerge.snapshot.manifest import write_private
from rdbmerge.snapshot.workdir import as_disk_error

JOURNAL_NAME = "journal.json"
JOURNAL_FORMAT = 1

Inputs = dict[str, str]  # what a step depends on, by a name for people -> a text that changes when it does


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Output(_Model):
    """A file that a step left, as it was then."""

    size_bytes: int
    mtime_ns: int
    digest: str = Field("", description="Of its content, where the step knows one.")


class Begun(_Model):
    """A step that was begun: what it began from, and the one clock reading that its output depends on."""

    inputs: Inputs
    at_ms: int
    before: dict[str, Any] = Field(default_factory=dict, description="The facts of the last time that it was done.")


class StepLine(_Model):
    """What a step did with one source, or with the whole (`source` is "" then)."""

    source: str = ""
    keys: int | None = None
    size_bytes: int | None = None
    duration_s: float | None = None
    why: str = Field("", description="Why it was done, or not.")


class StepRecord(_Model):
    """A step that is done."""

    inputs: Inputs
    outputs: dict[str, Output] = Field(description="By path, relative to the folder of the run.")
    began_at_ms: int
    finished_at_ms: int
    duration_s: float
    lines: list[StepLine] = Field(default_factory=list, description="What it did, for people.")
    facts: dict[str, Any] = Field(default_factory=dict, description="What the step itself wants to know again.")


class State(_Model):
    """The whole file."""

    journal_format: int = JOURNAL_FORMAT
    rdbmerge_version: str = __version__
    begun: dict[str, Begun] = Field(default_factory=dict)
    steps: dict[str, StepRecord] = Field(default_factory=dict)


class Journal:
    """The journal in a folder that this process alone works in (`WorkDir.filling`)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / JOURNAL_NAME
        self.state = _read(self.path)

    def record(self, step: str) -> StepRecord | None:
        """Of a step that is done; None if it is not."""
        return self.state.steps.get(step)

    def begin(self, step: str, inputs: Mapping[str, str], now_ms: int) -> int:
        """Note that a step begins; the clock reading for it: that of the last time it began from the same inputs.

        The step counts as not done from here on. Raises DiskError.
        """
        known, done = self.state.begun.get(step), self.state.steps.get(step)
        before = done.facts if done is not None else known.before if known is not None else {}
        at_ms = known.at_ms if known is not None and known.inputs == dict(inputs) else now_ms
        self.state.begun[step] = Begun(inputs=dict(inputs), at_ms=at_ms, before=before)
        self.state.steps.pop(step, None)
        self._save()
        return at_ms

    def remember(self, step: str, facts: Mapping[str, Any]) -> None:
        """Keep facts of a step that has begun, before it does what cannot be undone. Raises DiskError."""
        self.state.begun[step].before = dict(facts)
        self._save()

    def before(self, step: str) -> dict[str, Any]:
        """The facts of the last time that a step was done, or that it remembered, also while it is done again."""
        record, begun = self.state.steps.get(step), self.state.begun.get(step)
        return record.facts if record is not None else begun.before if begun is not None else {}

    def finish(self, step: str, record: StepRecord) -> None:
        """Note that a step is done. Raises DiskError."""
        self.state.steps[step] = record
        self._save()

    def has_begun(self, step: str) -> bool:
        """Whether the step was ever begun here: what lies in its place may be its own."""
        return step in self.state.begun

    def output(self, path: Path, digest: str = "") -> tuple[str, Output]:
        """The facts of a file as it is now, under the name that it has in records. Raises OSError."""
        facts = path.stat()
        return os.path.relpath(path, self.folder), Output(
            size_bytes=facts.st_size, mtime_ns=facts.st_mtime_ns, digest=digest
        )

    def changed_output(self, record: StepRecord) -> str:
        """What is wrong with the files that a step left, for people; "" if they are as they were."""
        for name, output in record.outputs.items():
            try:
                facts = (self.folder / name).stat()
            except OSError:
                return f"{name} is gone"
            if (facts.st_size, facts.st_mtime_ns) != (output.size_bytes, output.mtime_ns):
                return f"{name} is not the file that was made"
        return ""

    def _save(self) -> None:
        self.state.rdbmerge_version = __version__
        with as_disk_error(self.folder):
            write_private(self.path, self.state.model_dump_json(indent=2) + "\n")
            folder = os.open(self.folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def changed_inputs(record: StepRecord, inputs: Mapping[str, str]) -> list[str]:
    """The names of what is not as it was when the step was done."""
    names = [*inputs, *(name for name in record.inputs if name not in inputs)]
    return [name for name in names if record.inputs.get(name) != inputs.get(name)]


def _read(path: Path) -> State:
    try:
        return State.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return State()
    except (OSError, ValidationError, ValueError) as error:
        raise UsageError(
            f"the journal {path} cannot be read: {str(error).splitlines()[0]}",
            remedy="remove it to begin anew: snapshots that are whole stay, everything else is done again",
        ) from error
