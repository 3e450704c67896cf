"""What a look before the work finds: one line a question, OK, WARNING or FAILED, with the reason and what to do.

Knows nothing of what is asked; those who ask live beside what they know.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class Outcome(StrEnum):
    """How a question was answered."""

    OK = "OK"
    WARNING = "WARNING"  # may go wrong, or could not be found out
    FAILED = "FAILED"  # will go wrong


class PreflightCheck(BaseModel):
    """One question about what the work will meet, and its answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="The question in a few words, such as `bucket region`.")
    outcome: Outcome
    finding: str = Field(description="What was found, with the figures.")
    remedy: str = Field("", description="What to do about it; empty where nothing needs doing.")


def ok(name: str, finding: str) -> PreflightCheck:
    """Nothing stands in the way."""
    return PreflightCheck(name=name, outcome=Outcome.OK, finding=finding)


def warning(name: str, finding: str, remedy: str = "") -> PreflightCheck:
    """It may go wrong, or it could not be found out."""
    return PreflightCheck(name=name, outcome=Outcome.WARNING, finding=finding, remedy=remedy)


def failed(name: str, finding: str, remedy: str = "") -> PreflightCheck:
    """It will go wrong."""
    return PreflightCheck(name=name, outcome=Outcome.FAILED, finding=finding, remedy=remedy)


def worst(checks: Sequence[PreflightCheck]) -> Outcome:
    """The gravest answer; OK for none."""
    order = list(Outcome)
    return max((check.outcome for check in checks), key=order.index, default=Outcome.OK)
