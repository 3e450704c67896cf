"""The report of a verification: what was compared, what was found, and what each check does and does not prove.

Values only; its JSON schema is published beside it (`report.schema.json`).
"""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

REPORT_FORMAT = 2
SCHEMA_PATH = Path(__file__).with_name("report.schema.json")


class Level(StrEnum):
    """How much is compared."""

    COUNTS = "counts"
    DIGEST = "digest"
    FULL = "full"


class Witness(StrEnum):
    """Who else is asked."""

    RDBTOOLS = "rdbtools"
    SERVER = "server"
    NONE = "none"


class ReportModel(BaseModel):
    """The base of every value of a report: nothing unknown is accepted, bytes are base64 in JSON."""

    model_config = ConfigDict(extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")


class Check(ReportModel):
    """One question and its answer."""

    name: str
    ok: bool | None = Field(description="null: the question could not be asked.")
    proves: str = Field(description="What the check proves when it is ok.")
    does_not_prove: str = Field(description="What it says nothing about.")
    detail: str = Field("", description="What was found; for a failed check, what is wrong.")


DifferenceKind = Literal["missing", "unexpected", "type", "value", "expiry", "hint", "metadata", "field", "damaged"]


class Difference(ReportModel):
    """One entry that is not in the merged file as it should be."""

    kind: DifferenceKind
    db: int = Field(description="In the merged file.")
    key: str = Field(description="Escaped, with its prefix.")
    key_base64: bytes
    source: str | None = Field(description="The source the entry comes from; null when no source has it.")
    expected: str
    found: str


class MergedFile(ReportModel):
    """The file that was verified."""

    path: str
    size_bytes: int
    magic: str
    crc64: str = Field(description="Hex; of all bytes before the footer, as computed here.")
    slots: list[tuple[int, int]] | None = Field(None, description="Of a shard: runs of slots; null: all keys.")


class SourceFile(ReportModel):
    """A source it was compared with."""

    name: str
    path: str
    size_bytes: int
    mtime_ns: int
    magic: str
    crc64: str
    snapshot_at_ms: int
    snapshot_at_from: str
    ttl_offset_ms: int


class AccountLine(ReportModel):
    """What should have become of the entries of one source's db, by this program's second reading of the rules."""

    source: str
    db: int
    target_db: int
    read: int
    expected: int = Field(description="Entries that must be in the merged file.")
    expired: int
    filtered: int
    conflict_dropped: int
    rejected: int = Field(description="The target cannot hold them.")
    elsewhere: int = Field(description="They belong to other shards.")
    stripped: int = Field(description="Of the expected: without a part that the target cannot hold.")
    found: int | None = Field(description="Of the expected, those in the merged file; null: not told apart.")


class TargetDbLine(ReportModel):
    """One db of the merged file."""

    db: int
    expected_keys: int
    found_keys: int
    expected_expires: int
    found_expires: int
    expected_digest: str | None = Field(description="Hex, 128 bits; null at level counts.")
    found_digest: str | None


class VerifyReport(ReportModel):
    """The whole report."""

    report_format: int = REPORT_FORMAT
    rdbmerge_version: str
    verdict: Literal["passed", "failed"]
    verified_at_ms: int
    level: Level
    witness: Witness
    merged: MergedFile
    plan: str | None = Field(description="Path of the plan it was compared with; null when the rules were given.")
    sources: list[SourceFile]
    ledger: list[AccountLine]
    dbs: list[TargetDbLine]
    checks: list[Check]
    differences: list[Difference] = Field(description="The first of them, by kind and key.")
    differences_total: int
    warnings: list[str]
    durations_s: dict[str, float]

    @property
    def failed_checks(self) -> list[Check]:
        """The checks that are not ok."""
        return [check for check in self.checks if check.ok is False]


class BalanceLine(ReportModel):
    """One source's db over all shards together."""

    source: str
    db: int
    read: int
    expected: int = Field(description="In all shards' files together.")
    expired: int
    filtered: int
    conflict_dropped: int
    rejected: int
    stripped: int


class ShardsReport(ReportModel):
    """The verification of all shards of a cluster: a report each, and one balance."""

    report_format: int = REPORT_FORMAT
    rdbmerge_version: str
    verdict: Literal["passed", "failed"]
    balance: list[BalanceLine]
    checks: list[Check] = Field(description="Over all shards together.")
    shards: list[VerifyReport]

    @property
    def failed_checks(self) -> list[Check]:
        """The checks over all shards that are not ok."""
        return [check for check in self.checks if check.ok is False]


def schema_text() -> str:
    """The JSON schema of the report, as published: of one file, or of the shards of a cluster."""
    either: TypeAdapter[VerifyReport | ShardsReport] = TypeAdapter(VerifyReport | ShardsReport)
    return json.dumps(either.json_schema(mode="serialization"), indent=2) + "\n"
