from __future__ import annotations

from typing import Any

import pytest

from rdbmerge.cli.objects import show_checks, show_right, show_upload
from rdbmerge.preflight import ok, warning
from rdbmerge.steps.upload_report import GrantOutcome, UploadReport

pytestmark = pytest.mark.once


def report(**changes: Any) -> UploadReport:
    values: dict[str, Any] = {
        "started_at_ms": 1, "path": "a.rdb", "url": "s3://seeds/a.rdb", "outcome": "uploaded", "size_bytes": 1 << 20,
        "crc64": "00ff", "parts": 3, "parts_kept": 0, "part_size_bytes": 5 << 20, "checksum": "CRC64NVME x",
        "checksum_by": "the store", "etag": "e", "version_id": "", "region": "r", "encryption": "AES256",
        "manifest_url": None, "grant": None, "checks": [], "warnings": [], "duration_s": 2.0,
    }  # fmt: skip
    return UploadReport(**{**values, **changes})


def test_an_upload_is_shown_with_its_proof(capsys: pytest.CaptureFixture[str]) -> None:
    show_upload(report(parts_kept=2, warnings=["look"]))
    shown = capsys.readouterr()
    assert shown.out == "s3://seeds/a.rdb: 1.0 MB (2 of 3 parts from an earlier try), CRC-64 00ff, CRC64NVME x\n"
    assert shown.err == "Proved by the store; 2.0 s, 512.0 KB/s\nWarning: look\n"


@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        ("dry run", "dry run: nothing was sent; a.rdb (1.0 MB) would become s3://seeds/a.rdb in 3 parts of 5.0 MB\n"),
        ("unchanged", "s3://seeds/a.rdb: is there already with the same 1.0 MB, CRC-64 00ff\n"),
    ],
)
def test_what_was_not_sent_is_shown_so(capsys: pytest.CaptureFixture[str], outcome: str, text: str) -> None:
    show_upload(report(outcome=outcome))
    assert capsys.readouterr().out == text


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({"outcome": "needed", "doubt": "hm"}, ["elasticache may not read it yet: --grant makes an ACL (hm)"]),
        ({"outcome": "was there"}, ["elasticache may read it already: an ACL"]),
        ({"outcome": "made"}, ["elasticache may read it: an ACL"]),
        (
            {"outcome": "made", "statement": {"Sid": "x"}},
            ["elasticache may read it: an ACL", "To undo: aws s3api delete-bucket-policy --bucket seeds"],
        ),
        (
            {"outcome": "made", "statement": {"Sid": "x"}, "policy_before": "{}", "policy_kept_in": "p.json"},
            [
                "elasticache may read it: an ACL",
                "The policy as it was is in p.json",
                "To undo: aws s3api put-bucket-policy --bucket seeds --policy file://p.json",
            ],
        ),
    ],
)
def test_a_right_is_shown_with_its_undoing(
    capsys: pytest.CaptureFixture[str], changes: dict[str, Any], lines: list[str]
) -> None:
    show_right(report(grant=GrantOutcome(**{"service": "elasticache", "what": "an ACL", **changes})))
    assert capsys.readouterr().err.splitlines() == lines


def test_quietly_only_what_matters_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    show_checks([ok("one", "good"), warning("two", "bad", "do")], quiet=True)
    assert capsys.readouterr().out == "WARNING  two  bad\n              -> do\n"
    show_checks([ok("one", "good")], quiet=False)
    assert "OK " in capsys.readouterr().out
