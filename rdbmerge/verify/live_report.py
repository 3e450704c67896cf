"""The report of a comparison with a live server or cluster: what was asked, what was found, what explains it.

Values only; its JSON schema is published beside it (`live_report.schema.json`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import Field

from rdbmerge.verify.report import Check, Difference, ReportModel, SourceFile

LIVE_REPORT_FORMAT = 1
LIVE_SCHEMA_PATH = Path(__file__).with_name("live_report.schema.json")


class LiveNode(ReportModel):
    """One server that was asked: the only one, or a primary of the cluster."""

    address: str = Field(description="Never with credentials.")
    version: str | None = Field(description="Such as `valkey 9.1.2`; null where INFO is refused.")
    clock_skew_ms: int = Field(description="This machine's clock minus the server's, good to half a round trip.")
    slots: list[tuple[int, int]] | None = Field(None, description="Of a primary of a cluster; null: all keys.")


class LiveLine(ReportModel):
    """What became of the entries of one source's db."""

    source: str
    db: int
    target_db: int
    read: int
    expired: int = Field(description="Dead when the snapshot was taken: not expected.")
    filtered: int
    conflict_dropped: int
    rejected: int = Field(description="The declared target cannot hold them.")
    expected: int = Field(description="Entries that the server should have, but for those that expire meanwhile.")
    asked: int = Field(description="Of the expected, those that the server was asked for: all, or the sample.")
    agreed: int = Field(description="Of the asked: there, with the same type, value and expiry.")
    expired_since: int = Field(description="Of the asked: not there, and their time had come.")
    due: int = Field(description="Of the asked: their time had come when they were asked for, there or not.")
    missing: int = Field(description="Of the asked: not there, and nothing explains it.")
    different: int = Field(description="Of the asked: there, but not as they should be.")


class LiveDb(ReportModel):
    """One db of the server, or of all primaries together."""

    db: int
    expected: int
    expired_since: int = Field(description="Of the expected: not there, and their time had come.")
    due: int = Field(description="Of the expected: their time had come, there or not.")
    announced: int | None = Field(description="Keys by DBSIZE, dead ones that the server still holds included.")
    scanned: int = Field(description="Keys that SCAN gave, each once.")
    unexpected: int = Field(description="Of the scanned: keys that should not be there.")
    explained: str = Field(description="Why the numbers are not equal, in words.")


class LiveReport(ReportModel):
    """The whole report."""

    live_report_format: int = LIVE_REPORT_FORMAT
    rdbmerge_version: str
    verdict: Literal["passed", "failed"]
    target: str
    nodes: list[LiveNode]
    started_at_ms: int = Field(description="By this machine's clock.")
    resumed_at_ms: list[int] = Field(description="When an earlier run was taken up again.")
    duration_s: float = Field(description="Of this run.")
    sample: int | None = Field(description="How many keys were to be compared each way; null: all.")
    ttl_tolerance_ms: int
    plan: str | None = Field(description="Path of the plan that was compared; null when files and rules were given.")
    sources: list[SourceFile]
    ledger: list[LiveLine]
    dbs: list[LiveDb]
    checks: list[Check]
    differences: list[Difference] = Field(description="The first of them, by kind and key.")
    differences_total: int
    settled: int = Field(description="Differences that were none any more when the keys were asked for again.")
    warnings: list[str]

    @property
    def failed_checks(self) -> list[Check]:
        """The checks that are not ok."""
        return [check for check in self.checks if check.ok is False]


def live_schema_text() -> str:
    """The JSON schema of the report, as published."""
    return json.dumps(LiveReport.model_json_schema(mode="serialization"), indent=2) + "\n"
