"""The published schema is that of the model; that real reports keep to it is tested where they are made."""

from __future__ import annotations

import json

import jsonschema
import pytest

from rdbmerge.verify.live_report import LIVE_SCHEMA_PATH, live_schema_text

pytestmark = pytest.mark.once


def test_the_published_schema_is_up_to_date() -> None:
    said = "write live_schema_text() to rdbmerge/verify/live_report.schema.json"
    assert LIVE_SCHEMA_PATH.read_text() == live_schema_text(), said


@pytest.mark.parametrize("text", ["{}", '{"verdict": "passed"}', "[]"])
def test_what_is_no_report_does_not_keep_to_the_schema(text: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(text), json.loads(LIVE_SCHEMA_PATH.read_text()))
