from __future__ import annotations

import pytest

from rdbmerge.cli.output import heading_of, left_out_names, show_failure, show_ledger, show_preflight, show_table, spent
from rdbmerge.ledger import Ledger, LedgerLine
from rdbmerge.preflight import failed, ok


def test_a_table_is_plain_text_and_uncut_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 150
    show_table(("Name", ">Count"), [("[red]a", "5"), (long, "1,000")], title="T")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "T"
    assert lines[1] == f"{'Name':<150}   Count"
    assert lines[3] == f"{'[red]a':<150}       5"
    assert lines[4] == f"{long}   1,000"


def test_a_ledger_shows_the_columns_that_matter(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [
        LedgerLine(source="a", db=0, target_db=0, read=3, written=2, expired=1),
        LedgerLine(source="b", db=1, target_db=0, read=4, written=4),
    ]
    show_ledger(Ledger(lines=lines))
    out = capsys.readouterr().out.splitlines()
    assert out[0].split() == ["Source", "Db", "Read", "Expired", "Written"]
    assert out[2].split() == ["a", "0", "3", "1", "2"]
    assert out[3].split() == ["b", "1", "->", "0", "4", "0", "4"]
    assert out[-1].split() == ["total", "7", "1", "6"]


def test_what_is_stripped_is_told_as_a_part_of_what_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    line = LedgerLine(source="a", db=0, target_db=0, read=9, written=4, rejected=2, elsewhere=3, stripped=1)
    show_ledger(Ledger(lines=[line]))
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "Source   Db   Read   Rejected   Elsewhere   Written   Of them stripped"
    assert out[2].split() == ["a", "0", "9", "2", "3", "4", "1"]


def test_the_columns_of_a_ledger_are_those_that_hold_a_number() -> None:
    lines = [
        LedgerLine(source="a", db=0, target_db=0, expired=1),
        LedgerLine(source="b", db=0, target_db=0, stripped=2),
    ]
    assert left_out_names(*lines) == ["expired", "stripped"]
    assert left_out_names() == []
    assert [heading_of(name) for name in ("expired", "conflict_dropped")] == [">Expired", ">Lost conflict"]


def test_a_look_before_the_work_has_a_line_an_answer(capsys: pytest.CaptureFixture[str]) -> None:
    show_preflight([ok("disk", "5 GB free"), failed("bucket", "is not there", "make it")])
    assert capsys.readouterr().out == (
        "OK       disk    5 GB free\n"
        "FAILED   bucket  is not there\n"
        "                 -> make it\n"
    )  # fmt: skip


def test_failures_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    show_failure("it broke", "mend it")
    show_failure("again", "")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "Error: it broke\nTry:   mend it\nError: again\n"


@pytest.mark.parametrize(("seconds", "text"), [(0.0123, "12 ms"), (3.44, "3.4 s"), (312.0, "5m12s")])
def test_time_is_told_in_the_unit_that_fits(seconds: float, text: str) -> None:
    assert spent(seconds) == text
