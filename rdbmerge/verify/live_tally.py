"""The counts of a comparison with a live server: they add up, and can be saved where a run was interrupted.

Knows nothing of how entries are compared.
"""

from __future__ import annotations

from typing import NamedTuple

from pydantic import Field

from rdbmerge.verify.report import Difference, ReportModel

MOST_SHOWN = 100
MOST_SUSPECTS = 1_000  # keys that are asked for a second time


class Suspect(NamedTuple):
    """An entry that differed: the place of its line, and where it lies in its source."""

    line: int
    start: int
    stop: int


class LiveCounts(ReportModel):
    """What became of the entries of one line; the meanings are those of `live_report.LiveLine`."""

    read: int = 0
    expired: int = 0
    filtered: int = 0
    conflict_dropped: int = 0
    rejected: int = 0
    expected: int = 0
    asked: int = 0
    agreed: int = 0
    expired_since: int = 0
    due: int = 0
    missing: int = 0
    different: int = 0


class LiveTally(ReportModel):
    """The counts by line (its place as text), and the differences."""

    lines: dict[str, LiveCounts] = Field(default_factory=dict)
    kinds: dict[str, int] = Field(default_factory=dict)
    differences: list[Difference] = Field(default_factory=list)
    suspects: list[Suspect] = Field(default_factory=list)

    def line(self, place: int) -> LiveCounts:
        """The counts of one line, made when it is new."""
        return self.lines.setdefault(str(place), LiveCounts())

    @property
    def total(self) -> int:
        """Differences of all kinds, those not listed included."""
        return sum(self.kinds.values())

    @property
    def unequal_keys(self) -> int:
        """Keys that are missing or different."""
        return sum(counts.missing + counts.different for counts in self.lines.values())

    def note(self, difference: Difference) -> None:
        """Count a difference; list it while there is room."""
        self.kinds[difference.kind] = self.kinds.get(difference.kind, 0) + 1
        if len(self.differences) < MOST_SHOWN:
            self.differences.append(difference)

    def suspect(self, suspect: Suspect) -> None:
        """Remember an entry that differed, while there is room."""
        if len(self.suspects) < MOST_SUSPECTS:
            self.suspects.append(suspect)

    def add(self, other: LiveTally) -> None:
        """Add what another part of the work counted."""
        for place, counts in other.lines.items():
            mine = self.lines.setdefault(place, LiveCounts())
            for name in LiveCounts.model_fields:
                setattr(mine, name, getattr(mine, name) + getattr(counts, name))
        for kind, count in other.kinds.items():
            self.kinds[kind] = self.kinds.get(kind, 0) + count
        self.differences += other.differences[: MOST_SHOWN - len(self.differences)]
        self.suspects += other.suspects[: MOST_SUSPECTS - len(self.suspects)]

    def replace_suspects(self, again: LiveTally) -> int:
        """Put what a second look at all suspects found in the place of the first; how many keys agree by now."""
        settled = self.unequal_keys - again.unequal_keys
        for place, counts in again.lines.items():
            mine = self.line(int(place))
            # Each suspect was counted as missing or different before: it is again, or agrees, or has expired.
            for name in ("agreed", "expired_since"):
                setattr(mine, name, getattr(mine, name) + getattr(counts, name))
            mine.missing, mine.different = counts.missing, counts.different
        self.kinds, self.differences, self.suspects = dict(again.kinds), list(again.differences), again.suspects
        return settled
