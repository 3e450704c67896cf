"""How far a restore has come, on disk: what lets the same command go on after anything, `kill -9` included.

Written only after answers came, by renaming, so that it never says more than is true. It stays when all is done: the
same command again finds that out and does nothing. Knows nothing of servers.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rdbmerge import __version__
from rdbmerge.errors import DiskError, UsageError
from rdbmerge.plan.model import Plan

_WRITE_EVERY_S = 1.0


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PartDone(_Model):
    """A part of a source (a chunk of its index), as far as it is done."""

    source: int
    start: int = Field(description="Where the part starts in the file.")
    position: int = Field(description="Entries before this one are done.")
    restored: int = 0
    skipped: int = 0
    rejected: int = 0
    expired: int = 0


class Checkpoint(_Model):
    """The state of one restore of one plan into one target."""

    checkpoint_format: Literal[1] = 1
    rdbmerge_version: str = __version__
    plan: str = Field(description="Fingerprint of the plan: sources, rules and what they select.")
    target: str
    on_busy: str
    finished: bool = False
    run_ids: dict[str, str] = Field(default_factory=dict, description="Of the servers, by place: others after a start.")
    rejected_bytes: int = Field(0, description="Of the list of rejected keys, as far as its lines count here.")
    parts: list[PartDone] = Field(default_factory=list)


def plan_fingerprint(plan: Plan) -> str:
    """The same for plans that restore the same entries in the same way, whenever they were made."""
    text = plan.model_dump_json(exclude={"created_at_ms", "rdbmerge_version", "warnings"})
    return hashlib.sha256(text.encode()).hexdigest()


def read_checkpoint(path: Path, *, plan: str, target: str, on_busy: str) -> Checkpoint | None:
    """The one that an earlier run left; None if there is none, or that of another restore, and finished.

    Raises UsageError for that of another restore which is not: it would be lost.
    """
    try:
        found = Checkpoint.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", remedy="name another --checkpoint") from error
    except ValidationError as error:
        raise UsageError(
            f"{path} is no checkpoint of this version", remedy="name another --checkpoint, or begin anew with --force"
        ) from error
    if found.finished:
        same = (found.plan, found.target, found.on_busy) == (plan, target, on_busy)
        return found if same else None
    for what, mine, theirs in (("plan", plan, found.plan), ("target", target, found.target)):
        if mine != theirs:
            raise UsageError(
                f"{path} is the checkpoint of another {what}",
                remedy="give the options that it was begun with, name another --checkpoint, or begin anew with --force",
            )
    return found


class Keeper:
    """Keeps the checkpoint of a restore up to date, on disk at most once a second. Thread-safe."""

    def __init__(self, path: Path, checkpoint: Checkpoint) -> None:
        self._path = path
        self._checkpoint = checkpoint
        self._lock = threading.Lock()
        self._parts = {(part.source, part.start): part for part in checkpoint.parts}
        self._next_s = 0.0

    def done(self, source: int, start: int) -> PartDone | None:
        """What was done of a part."""
        return self._parts.get((source, start))

    @property
    def parts(self) -> list[PartDone]:
        """All that was done."""
        with self._lock:
            return list(self._parts.values())

    def note(self, part: PartDone, run_ids: dict[str, str], rejected_bytes: int) -> None:
        """A part has come farther. Raises DiskError."""
        with self._lock:
            self._parts[part.source, part.start] = part
            self._checkpoint.run_ids, self._checkpoint.rejected_bytes = run_ids, rejected_bytes
            if time.monotonic() >= self._next_s:
                self._write()

    def note_servers(self, run_ids: dict[str, str]) -> None:
        """These are the servers that will be sent to. Raises DiskError."""
        with self._lock:
            self._checkpoint.run_ids, self._checkpoint.finished = run_ids, False
            self._write()

    def forget(self, run_ids: dict[str, str], rejected_bytes: int) -> None:
        """Nothing is known to be done any more. Raises DiskError."""
        with self._lock:
            self._parts.clear()
            self._checkpoint.run_ids, self._checkpoint.rejected_bytes = run_ids, rejected_bytes
            self._write()

    def write(self) -> None:
        """Now. Raises DiskError."""
        with self._lock:
            self._write()

    def finish(self) -> None:
        """All is done. Raises DiskError."""
        with self._lock:
            self._checkpoint.finished = True
            self._write()

    def _write(self) -> None:
        self._checkpoint.parts = list(self._parts.values())
        partial = self._path.with_name(f".{self._path.name}.partial")
        try:
            fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                file.write(self._checkpoint.model_dump_json())
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self._path)
        except OSError as error:
            raise DiskError(
                f"cannot write the checkpoint {self._path}: {error.strerror}", remedy="name another place: --checkpoint"
            ) from error
        self._next_s = time.monotonic() + _WRITE_EVERY_S
