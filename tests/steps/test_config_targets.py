"""Where the merged file goes, as a run file says it."""

from __future__ import annotations

import pytest

from rdbmerge.steps.config_targets import UploadSection
from rdbmerge.stores.base import ObjectUrl, S3Access

pytestmark = pytest.mark.once


def test_an_upload_has_the_words_of_its_command() -> None:
    section = UploadSection.model_validate({"url": "s3://bucket/k", "region": "eu-west-1", "part_size": "100MB"})
    assert (section.url, section.part_size, section.jobs) == (ObjectUrl("bucket", "k"), 100 << 20, 10)
    assert section.access() == S3Access(None, "eu-west-1", None)
    assert (section.service, section.grant, section.force) == ("elasticache", False, False)
