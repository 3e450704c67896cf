"""The published schema is that of the model, and reports keep to it."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from rdbbytes import rdb, record, select
from verify.rewritten import check_shards, check_target, redis_62
from verify.test_shards import FIRST, NAMES, SECOND, SOURCE, THIRD, THREE, file_of
from verify.world import Merged, check

from rdbmerge.verify.report import SCHEMA_PATH, ShardsReport, VerifyReport, schema_text

SCHEMA = json.loads(SCHEMA_PATH.read_text())


def keeps_to_the_schema(report: VerifyReport | ShardsReport) -> None:
    text = report.model_dump_json()
    jsonschema.validate(json.loads(text), SCHEMA)
    assert type(report).model_validate_json(text) == report


def test_the_published_schema_is_up_to_date() -> None:
    assert SCHEMA_PATH.read_text() == schema_text(), "write schema_text() to rdbmerge/verify/report.schema.json"


@pytest.mark.parametrize("level", ["counts", "digest", "full"])
def test_reports_keep_to_the_schema_and_read_back(tmp_path: Path, level: str) -> None:
    wrong = Merged()
    del wrong.db0[1]
    for merged in (Merged(), wrong):
        keeps_to_the_schema(check(tmp_path, merged.bytes(), level=level))


def test_reports_on_targets_do_too(tmp_path: Path) -> None:
    target = redis_62()
    keeps_to_the_schema(check_target(tmp_path, target))
    target.extra.append(record(28, b"array", b"\x01\x00\x05\x00\x01a"))
    keeps_to_the_schema(check_target(tmp_path, target, level="full"))


@pytest.mark.parametrize("level", ["counts", "digest", "full"])
def test_reports_on_shards_do_too(tmp_path: Path, level: str) -> None:
    for third in (THIRD, THIRD[1:], [*THIRD, b"stranger"]):
        files = dict(zip(NAMES, map(file_of_keys, (FIRST, SECOND, third)), strict=True))
        keeps_to_the_schema(check_shards(tmp_path, files, [SOURCE], THREE, level=level))
    keeps_to_the_schema(check_shards(tmp_path, {"only.rdb": rdb(9)}, [rdb(9, select(0))], [[(0, 16383)]]))


def file_of_keys(keys: list[bytes]) -> bytes:
    return file_of(*keys)


def test_what_is_no_report_does_not_keep_to_the_schema() -> None:
    for text in ("{}", '{"verdict": "passed"}', "[]"):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(json.loads(text), SCHEMA)
