"""Lists all that the target cannot hold: keys, function libraries, data of modules; fails if that is the policy.

Reads only the chunks that the count found such keys in. Pure apart from reading the segments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np

from rdbmerge.errors import UnfitError
from rdbmerge.format import codes
from rdbmerge.format.columns import Columns
from rdbmerge.format.strings import read_string
from rdbmerge.plan.conflicts import Candidate
from rdbmerge.plan.model import Rejection, Unsupported
from rdbmerge.plan.profile import TargetProfile
from rdbmerge.plan.selection import REJECTED, Selection
from rdbmerge.snapshot.index import Chunk
from rdbmerge.units import escape_key

Note = Callable[[Rejection], None]
Outcome = Literal["refused", "skipped", "stripped"]

_SHOWN = 10


class Rejected:
    """Counts what is noted, and keeps some of it for a message."""

    def __init__(self, policy: Unsupported, note: Note | None) -> None:
        self._policy = policy
        self._note = note
        self.count = 0
        self.shown: list[str] = []

    @property
    def outcome(self) -> Outcome:
        """What becomes of that which cannot be held at all."""
        return "refused" if self._policy is Unsupported.FAIL else "skipped"

    def add(self, rejection: Rejection) -> None:
        """Count it, and pass it on."""
        self.count += rejection.outcome != "stripped"
        if len(self.shown) < _SHOWN:
            name = f"{rejection.key} of db {rejection.db}" if rejection.kind == "key" else rejection.key
            self.shown.append(f"{rejection.source}: {rejection.kind} {name}: {rejection.why}")
        if self._note is not None:
            self._note(rejection)

    def check(self, target: str) -> None:
        """Raise UnfitError if something was refused."""
        if not self.count or self._policy is not Unsupported.FAIL:
            return
        lines = "\n".join(f"  {line}" for line in self.shown)
        more = f"\n  ... and {self.count - len(self.shown):,} more" if self.count > len(self.shown) else ""
        things = "1 thing of the sources" if self.count == 1 else f"{self.count:,} things of the sources"
        raise UnfitError(
            f"{target} cannot hold {things}:\n{lines}{more}",
            remedy="leave them out with --on-unsupported skip, or keep what can be kept of them with"
            " --on-unsupported strip, or choose a newer --target",
        )


def note_keys(
    candidate: Candidate,
    selection: Selection,
    chunks: Sequence[Chunk],
    found: Rejected,
) -> None:
    """Note the keys of some chunks that the target cannot hold, or not whole. Raises FormatError for damaged values.

    `selection` knows the losers of conflicts: they are not written, so nothing is stripped of them.
    """
    columns = Columns()
    for chunk in chunks:
        for batch in candidate.segment.walk_part(chunk.start, chunk.stop, chunk.db, columns=columns):
            with candidate.segment.naming_errors():
                for rejection in _of_batch(candidate, selection, batch, candidate.target_of(batch.db), found.outcome):
                    found.add(rejection)


def _of_batch(
    candidate: Candidate, selection: Selection, batch: Columns, target_db: int, outcome: Outcome
) -> Iterator[Rejection]:
    view, fitting = candidate.segment.view, selection.fitting
    if fitting is None:
        return
    reasons = selection.reasons(view, batch)
    stripped = selection.stripped(view, batch, reasons)
    rows = np.flatnonzero((reasons == REJECTED) | stripped)
    for row, why in zip(rows.tolist(), fitting.whys(view, batch, rows), strict=True):
        key, expire_at_ms = batch.key(view, row), int(batch.expire_at_ms[row])
        yield Rejection(
            outcome="stripped" if stripped[row] else outcome,
            why=why,
            source=candidate.segment.name,
            offset=int(batch.entry_start[row]),
            db=target_db,
            source_db=batch.db,
            key=escape_key(key, limit=1_000),
            key_base64=key,
            type=candidate.segment.dialect.types[int(batch.type[row])].name,
            size_bytes=int(batch.end[row] - batch.entry_start[row]),
            expire_at_ms=None if expire_at_ms == codes.NO_EXPIRY else expire_at_ms,
        )


def note_companions(candidates: Sequence[Candidate], profile: TargetProfile, found: Rejected) -> None:
    """Note function libraries and module data that the target cannot hold."""
    for candidate in candidates:
        name = candidate.segment.name
        if not profile.functions:
            for library in candidate.index.facts.libraries:
                _, end = read_string(candidate.segment.view, library.offset + 1)
                found.add(
                    Rejection(
                        kind="function library",
                        outcome=found.outcome,
                        why=f"{profile.name} has no functions",
                        source=name,
                        offset=library.offset,
                        key=library.name,
                        key_base64=library.name.encode(),
                        size_bytes=end - library.offset,
                    )
                )
        if not profile.module_data:
            for data in candidate.index.facts.module_data:
                found.add(
                    Rejection(
                        kind="module data",
                        outcome=found.outcome,
                        why=f"{profile.name} loads no data of modules",
                        source=name,
                        offset=data.start,
                        key=data.module,
                        key_base64=data.module.encode(),
                        size_bytes=data.end - data.start,
                    )
                )
