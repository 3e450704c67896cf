"""What an upload tells at its end, as values that can be saved. Computes nothing."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from rdbmerge import __version__
from rdbmerge.preflight import PreflightCheck

REPORT_FORMAT = 1


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class GrantOutcome(_Model):
    """The right of a service to read an object."""

    service: str
    outcome: Literal["made", "was there", "needed"] = Field(description="`needed`: --grant was not given.")
    what: str = Field(description="In words: an ACL, or a statement in the bucket's policy.")
    statement: dict[str, object] | None = Field(None, description="The statement, where it takes one.")
    doubt: str = Field("", description="What is not sure about it.")
    policy_before: str | None = Field(None, description="The bucket's policy as it was; null: it had none.")
    policy_kept_in: str | None = Field(None, description="The local file that holds it, for undo.")


class UploadReport(_Model):
    """One file (or one stream) and the object that it became."""

    report_format: int = REPORT_FORMAT
    rdbmerge_version: str = __version__
    started_at_ms: int
    path: str | None = Field(description="null: the object was streamed, and never a file.")
    url: str
    outcome: Literal["uploaded", "unchanged", "dry run"] = Field(
        description="`unchanged`: the object was there already, with the same bytes."
    )
    size_bytes: int
    crc64: str = Field(description="Hex; of all bytes that were sent, before the footer. Empty for a dry run.")
    parts: int
    parts_kept: int = Field(description="Of these, sent by an earlier try.")
    part_size_bytes: int
    checksum: str = Field(description="Of the object, as the store tells it; empty where it tells none.")
    checksum_by: str = Field(description="What proves that the object holds these bytes.")
    etag: str
    version_id: str
    region: str
    encryption: str | None
    manifest_url: str | None = Field(description="Where the manifest lies; null: there is none.")
    grant: GrantOutcome | None
    checks: list[PreflightCheck]
    warnings: list[str]
    duration_s: float
