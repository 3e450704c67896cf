"""What a run says at its end, or where it failed: a line a step and source, and where more is written. Values only."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rdbmerge import __version__
from rdbmerge.errors import RdbMergeError, UsageError
from rdbmerge.snapshot.journal import StepLine
from rdbmerge.snapshot.manifest import write_private
from rdbmerge.snapshot.workdir import as_disk_error

REPORT_FORMAT = 1

LineOutcome = Literal["done", "kept", "failed", "to do", "would be kept"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RunLine(StepLine):
    """One step, or what it did with one source."""

    step: str
    outcome: LineOutcome


class RunFailure(_Model):
    """What ended the run."""

    step: str
    error: str
    remedy: str
    exit_code: int


class RunReport(_Model):
    """The whole report."""

    report_format: int = REPORT_FORMAT
    rdbmerge_version: str = __version__
    run_file: str
    folder: str
    started_at_ms: int
    duration_s: float = 0.0
    dry_run: bool = False
    lines: list[RunLine] = Field(default_factory=list)
    facts: dict[str, dict[str, Any]] = Field(default_factory=dict, description="What steps found out, by step.")
    reports: dict[str, str] = Field(default_factory=dict, description="Where the steps' own reports are, by step.")
    failure: RunFailure | None = None

    def save(self, path: Path) -> None:
        """Write it, 0600, atomically. Raises DiskError."""
        with as_disk_error(path.parent):
            write_private(path, self.model_dump_json(indent=2) + "\n")

    def fail(self, step: str, error: RdbMergeError) -> None:
        """Note what ended the run."""
        self.lines.append(RunLine(step=step, outcome="failed", why=str(error).splitlines()[0]))
        self.failure = RunFailure(step=step, error=str(error), remedy=error.remedy, exit_code=error.exit_code)


def refuse_other_file(path: Path | None) -> None:
    """Raise UsageError if a report would replace anything but a report of a run."""
    if path is None or not path.exists():
        return
    try:
        RunReport.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise UsageError(
            f"{path} exists, and is no report of a run", remedy="choose another name for `report` in the run file"
        ) from error
