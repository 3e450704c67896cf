"""Where a comparison with a live server was interrupted: which chunks were compared, and what was found in them.

What was compared before counts as it was then: the server may have been written to since, and the report says when each
run began. Keys that should not be there are looked for anew in each run, for SCAN holds for one run only.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rdbmerge.errors import DiskError, UsageError
from rdbmerge.plan.model import Rules
from rdbmerge.snapshot.index import Index
from rdbmerge.snapshot.manifest import write_private
from rdbmerge.verify.live_tally import LiveTally

CHECKPOINT_FORMAT = 1
_EVERY_S = 2.0


class Checkpoint(BaseModel):
    """What is saved."""

    model_config = ConfigDict(extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")

    checkpoint_format: int = CHECKPOINT_FORMAT
    fingerprint: str = Field(description="Of what is compared, with what, and how.")
    seed: int = Field(description="Of the sample.")
    started_at_ms: list[int] = Field(description="When each run began, by this machine's clock.")
    done: list[int] = Field(default_factory=list, description="The chunks that were compared.")
    tally: LiveTally = Field(default_factory=LiveTally)


def fingerprint(indexes: Sequence[Index], rules: Rules, target: str, *, sample: int | None, tolerance_ms: int) -> str:
    """What must be the same for a run to be taken up."""
    facts = [(index.facts.size_bytes, index.facts.crc64, len(index.facts.chunks)) for index in indexes]
    what = [facts, rules.model_dump(mode="json"), target, sample, tolerance_ms]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()


class CheckpointFile:
    """The file of one comparison; `path` None: nothing is saved."""

    def __init__(self, path: Path | None, state: Checkpoint) -> None:
        self._path = path
        self.state = state
        self._saved_s = time.monotonic()

    @classmethod
    def opened(cls, path: Path | None, mark: str, now_ms: int) -> CheckpointFile:
        """Take up an earlier run, or begin. Raises UsageError for a file of another comparison, or none."""
        state = Checkpoint(fingerprint=mark, seed=now_ms, started_at_ms=[])
        if path is not None and path.exists():
            state = _read(path)
            if state.fingerprint != mark:
                raise UsageError(
                    f"{path} is the checkpoint of another comparison: other files, rules, target or options",
                    remedy="give the arguments of that run, or another checkpoint file",
                )
        state.started_at_ms.append(now_ms)
        return cls(path, state)

    def note(self, number: int, tally: LiveTally) -> None:
        """One more chunk is compared; saves it every other second."""
        self.state.done.append(number)
        self.state.tally.add(tally)
        if time.monotonic() - self._saved_s > _EVERY_S:
            self.save()

    def save(self) -> None:
        """Write the file. Raises DiskError."""
        self._saved_s = time.monotonic()
        if self._path is None:
            return
        try:
            write_private(self._path, self.state.model_dump_json() + "\n")
        except OSError as error:
            raise DiskError(
                f"cannot write {self._path}: {error.strerror}", remedy="choose another place for it"
            ) from error

    def remove(self) -> None:
        """The comparison is done."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def _read(path: Path) -> Checkpoint:
    try:
        return Checkpoint.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", remedy="check the path") from error
    except (ValidationError, ValueError) as error:
        raise UsageError(
            f"{path} is not a checkpoint of a comparison: {str(error).splitlines()[0]}",
            remedy="remove it, or choose another name",
        ) from error
