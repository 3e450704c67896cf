from __future__ import annotations

import pytest
from pydantic import ValidationError

from rdbmerge.preflight import ok
from rdbmerge.steps.upload_report import GrantOutcome, UploadReport

pytestmark = pytest.mark.once

REPORT = UploadReport(
    started_at_ms=1, path="a.rdb", url="s3://seeds/a.rdb", outcome="uploaded", size_bytes=10, crc64="00", parts=1,
    parts_kept=0, part_size_bytes=64, checksum="CRC64NVME x", checksum_by="the store", etag="e", version_id="",
    region="r", encryption="AES256", manifest_url=None,
    grant=GrantOutcome(service="elasticache", outcome="needed", what="an ACL"),
    checks=[ok("bucket", "there")], warnings=[], duration_s=0.1,
)  # fmt: skip


def test_a_report_is_read_back_as_it_was() -> None:
    assert UploadReport.model_validate_json(REPORT.model_dump_json()) == REPORT


def test_a_report_holds_nothing_unknown() -> None:
    with pytest.raises(ValidationError):
        UploadReport.model_validate({**REPORT.model_dump(), "secret": "x"})
