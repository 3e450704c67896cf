"""The balance sheet and its one law: read = written + expired + filtered + conflict-dropped + rejected.

Where a file is one of several shards, what belongs to the others is on its sheet too: elsewhere. Where entries go into
a live server, so is what was there before and stayed: skipped.

Knows nothing of files; whoever moves entries books them here, by source and db.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from rdbmerge.errors import LedgerError


class LedgerLine(BaseModel):
    """What became of the entries of one source's db. All counts are entries (keys), all >= 0."""

    model_config = ConfigDict(extra="forbid")

    source: str = Field(description="Name of the source: the file name of its snapshot.")
    db: int = Field(description="The db in the source.")
    target_db: int = Field(description="The db in the merged file.")
    read: int = Field(0, description="Entries in the source's file.")
    written: int = Field(0, description="Entries that are in the merged file.")
    expired: int = Field(0, description="Left out: dead already when the snapshot was taken.")
    filtered: int = Field(0, description="Left out: not chosen by --db, --type, --include-key or --exclude-key.")
    conflict_dropped: int = Field(0, description="Left out: another source's entry of the same db and key was chosen.")
    rejected: int = Field(0, description="Left out: the target cannot hold it.")
    elsewhere: int = Field(0, description="Belongs to another shard.")
    skipped: int = Field(0, description="Left out: the live server held the key already, and was to keep it.")
    stripped: int = Field(0, description="Of the written: without a part that the target cannot hold.")

    @property
    def difference(self) -> int:
        """Entries that nobody accounted for; 0 in a line that closes."""
        return self.read - self.written - sum(int(getattr(self, name)) for name in LEFT_OUT)


# What is not written, and why.
LEFT_OUT = ("expired", "filtered", "conflict_dropped", "rejected", "elsewhere", "skipped")


class Ledger(BaseModel):
    """All lines of one step, one a source and db, in the order of the sources."""

    model_config = ConfigDict(extra="forbid")

    lines: list[LedgerLine] = Field(default_factory=list)

    def total(self) -> LedgerLine:
        """The sum of all lines, named "total"; its db and target_db mean nothing and are -1."""
        total = LedgerLine(source="total", db=-1, target_db=-1)
        for line in self.lines:
            for name in ("read", "written", *LEFT_OUT, "stripped"):
                setattr(total, name, getattr(total, name) + getattr(line, name))
        return total

    def written_per_db(self) -> dict[int, int]:
        """Entries of the merged file, by its db, ascending."""
        counts: dict[int, int] = {}
        for line in self.lines:
            counts[line.target_db] = counts.get(line.target_db, 0) + line.written
        return {db: counts[db] for db in sorted(counts) if counts[db]}

    def check(self) -> None:
        """Raise LedgerError, naming the first line that does not close."""
        for line in self.lines:
            if line.difference:
                raise LedgerError(
                    f"the ledger of {line.source} db {line.db} does not close: {line.read:,} read,"
                    f" {line.written:,} written, {line.expired:,} expired, {line.filtered:,} filtered,"
                    f" {line.conflict_dropped:,} dropped by conflict, {line.rejected:,} rejected,"
                    f" {line.elsewhere:,} elsewhere, {line.skipped:,} skipped; {line.difference:,} unaccounted for",
                    remedy="this is a defect of rdbmerge: please report it with the manifests of the sources",
                )


def balanced(ledgers: Sequence[Ledger]) -> Ledger:
    """The sheets of all shards as one: what is elsewhere in one must be on another, exactly once.

    Raises LedgerError, naming the first line that does not close.
    """
    joined = Ledger()
    for lines in zip(*(ledger.lines for ledger in ledgers), strict=True):
        line = lines[0].model_copy(update={"elsewhere": 0})
        for name in ("written", *LEFT_OUT, "stripped"):
            if name != "elsewhere":
                setattr(line, name, sum(getattr(one, name) for one in lines))
        joined.lines.append(line)
    joined.check()
    return joined
