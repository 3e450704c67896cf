"""How a restore is to go about it, and what it tells in the end: values alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from rdbmerge import __version__
from rdbmerge.errors import TargetError
from rdbmerge.ledger import Ledger
from rdbmerge.plan.model import Rules
from rdbmerge.preflight import PreflightCheck
from rdbmerge.steps.restoring.work import OnBusy

REPORT_FORMAT = 1


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")


class RestoreReport(_Model):
    """What was sent, and what became of it."""

    report_format: int = REPORT_FORMAT
    rdbmerge_version: str = __version__
    started_at_ms: int
    target: str
    server: str = Field(description="Flavour and version; of a cluster, of its oldest primary.")
    primaries: int
    rules: Rules
    on_busy: str
    checks: list[PreflightCheck]
    dry_run: bool
    resumed: bool = Field(False, description="An earlier run had begun with it.")
    done_before: int = Field(0, description="Keys that an earlier run had dealt with.")
    begun_anew: int = Field(0, description="Times that a server lost what it had, and all was sent again.")
    keys: int = Field(description="To be restored, as planned.")
    restored: int = 0
    refused: int = Field(0, description="Of the ledger's rejected: refused by the target itself.")
    expired_meanwhile: int = Field(0, description="Of the ledger's expired: alive in the snapshot, dead when sent.")
    libraries: list[str]
    libraries_left_out: list[str] = Field(default_factory=list)
    conflicts: int = Field(description="Keys that more than one source holds.")
    lists: list[str] = Field(default_factory=list, description="Files with the conflicts, and with what does not fit.")
    rejected_file: str | None = None
    evicted: int | None = Field(None, description="Keys that the target evicted meanwhile; null: it does not tell.")
    slowed_down: int = Field(0, description="Times that the target's latency was found to be too high.")
    ledger: Ledger
    warnings: list[str]
    plan_s: float
    restore_s: float | None = None

    @property
    def exit_code(self) -> int:
        """0, or that of a target that failed: keys that it should have are not there."""
        return TargetError.exit_code if self.refused or self.evicted else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreOptions:
    """How a restore goes about it."""

    on_busy: OnBusy | None = None  # None: `fail`, and only into a target that is empty
    connections: int = 4
    big_bytes: int = 32 << 20  # larger values are sent item by item
    max_qps: int | None = None
    max_bytes_per_s: int | None = None
    max_latency_ms: int = 50  # above what is usual: then it slows down; 0: it never does
    retry_for_s: float = 300.0
    timeout_s: float = 60.0
    connect_timeout_s: float = 10.0
    checkpoint: Path | None = None  # None: beside the first source
    rejected: Path | None = None
    force: bool = False  # begin anew, whatever an earlier run left
