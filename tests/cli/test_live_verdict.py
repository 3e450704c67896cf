"""What is shown of a comparison with a live server: the ledger, each db, the checks, differences, the verdict last."""

from __future__ import annotations

import pytest

from rdbmerge.cli.live_verdict import show_live_report
from rdbmerge.verify.live_report import LiveDb, LiveLine, LiveNode, LiveReport
from rdbmerge.verify.report import Check, Difference

pytestmark = pytest.mark.once


def line(**changes: int) -> LiveLine:
    counts = dict.fromkeys(
        ("expired", "filtered", "conflict_dropped", "rejected", "expired_since", "due", "missing", "different"), 0
    )
    return LiveLine(source="a.rdb", db=1, target_db=0, read=1_234, expected=1_234, asked=1_234, agreed=1_234,
                    **counts).model_copy(update=changes)  # fmt: skip


def report(**changes: object) -> LiveReport:
    db = LiveDb(db=0, expected=1_234, expired_since=7, due=9, announced=None, scanned=1_227, unexpected=0,
                explained="1,234 expected - 7 expired since = 1,227")  # fmt: skip
    one = LiveReport(
        rdbmerge_version="0", verdict="passed", target="cache:6379", nodes=[], started_at_ms=1_700_000_000_000,
        resumed_at_ms=[], duration_s=2.0, sample=None, ttl_tolerance_ms=0, plan=None, sources=[], ledger=[line()],
        dbs=[db], checks=[Check(name="entries", ok=True, proves="something", does_not_prove="all", detail="fine")],
        differences=[], differences_total=0, settled=0, warnings=[],
    )  # fmt: skip
    return one.model_copy(update=changes)


def shown(capsys: pytest.CaptureFixture[str], **changes: object) -> tuple[str, str]:
    show_live_report(report(**changes))
    said = capsys.readouterr()
    return said.out, said.err


def test_a_report_that_passed(capsys: pytest.CaptureFixture[str]) -> None:
    nodes = [
        LiveNode(address="a:1", version="redis 7.0.15", clock_skew_ms=-5, slots=[(0, 9), (11, 11)]),
        LiveNode(address="b:2", version=None, clock_skew_ms=0),
    ]
    out, err = shown(capsys, nodes=nodes)
    assert "a:1: redis 7.0.15, slots 0-9,11-11, its clock 5ms ahead of ours\nb:2: version not told, our clock\n" in out
    lines = out.splitlines()
    assert lines[0].split() == ["Source", "Db", "Read", "Expected", "Agree", "Expired", "since", "Missing", "Different"]
    assert lines[2].split() == ["a.rdb", "1", "->", "0", "1,234", "1,234", "1,234", "0", "0", "0"]
    assert "On cache:6379" in out
    assert "1,234 expected - 7 expired since = 1,227" in out
    assert "ok        entries: fine\n          proves something\n          not all\n" in out
    assert "9 of the keys that were asked for have come to their time since the snapshot" in out
    assert lines[-1] == "cache:6379: PASSED"
    assert err == "Compared 1,234 keys in 2.0 s, 617 keys/s\n"


def test_only_columns_that_hold_something_are_shown_and_a_sample_says_how_many(
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, _ = shown(capsys, sample=10, ledger=[line(conflict_dropped=3, asked=10)])
    assert out.splitlines()[0].split()[2:] == [
        "Read", "Lost", "conflict", "Expected", "Asked", "Agree", "Expired", "since", "Missing", "Different",
    ]  # fmt: skip


def test_a_report_that_failed(capsys: pytest.CaptureFixture[str]) -> None:
    one = Difference(kind="missing", db=0, key='"k"', key_base64=b"k", source="a.rdb", expected="the entry", found="-")
    check = Check(name="entries", ok=False, proves="", does_not_prove="", detail="1 missing")
    out, err = shown(
        capsys, verdict="failed", checks=[check], differences=[one], differences_total=5, settled=2,
        warnings=["clock"], resumed_at_ms=[5],
    )  # fmt: skip
    assert "FAILED    entries: 1 missing" in out
    assert "Differences: 5, the first 1 of them" in out
    assert "2 more differences were none any more" in out
    assert out.splitlines()[-1] == "cache:6379: FAILED (entries)"
    assert "Warning: clock" in err
    assert "first run began 2023-11-14 22:13:20Z" in err
