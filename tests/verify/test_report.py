"""The published schema is that of the model, and reports keep to it."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
from verify.world import Merged, check

from rdbmerge.verify.report import SCHEMA_PATH, VerifyReport, schema_text


def test_the_published_schema_is_up_to_date() -> None:
    assert SCHEMA_PATH.read_text() == schema_text(), "write schema_text() to rdbmerge/verify/report.schema.json"


def test_reports_keep_to_the_schema_and_read_back(tmp_path: Path) -> None:
    schema = json.loads(SCHEMA_PATH.read_text())
    wrong = Merged()
    del wrong.db0[1]
    for merged in (Merged(), wrong):
        report = check(tmp_path, merged.bytes())
        text = report.model_dump_json()
        jsonschema.validate(json.loads(text), schema)
        assert VerifyReport.model_validate_json(text) == report
