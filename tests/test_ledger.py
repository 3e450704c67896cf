"""The balance sheet and its one law."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rdbmerge.errors import LedgerError
from rdbmerge.ledger import Ledger, LedgerLine

COUNT = st.integers(0, 1 << 40)


def line(db: int = 0, target_db: int = 0, **counts: int) -> LedgerLine:
    return LedgerLine(source="a.rdb", db=db, target_db=target_db, **counts)


@given(COUNT, COUNT, COUNT, COUNT)
def test_a_line_closes_when_every_entry_is_accounted_for(
    written: int, expired: int, filtered: int, dropped: int
) -> None:
    read = written + expired + filtered + dropped
    whole = line(read=read, written=written, expired=expired, filtered=filtered, conflict_dropped=dropped)
    assert whole.difference == 0
    Ledger(lines=[whole]).check()
    assert whole.model_copy(update={"read": read + 3}).difference == 3


@pytest.mark.parametrize("name", ["read", "written", "expired", "filtered", "conflict_dropped"])
def test_one_entry_too_many_anywhere_is_a_failure_that_names_the_line(name: str) -> None:
    counts = {"read": 1_000, "written": 997, "expired": 1, "filtered": 1, "conflict_dropped": 1}
    good = line(**counts)
    bad = line(db=7, **{**counts, name: counts[name] + 1})
    with pytest.raises(LedgerError, match=r"the ledger of a\.rdb db 7 does not close") as failure:
        Ledger(lines=[good, bad]).check()
    assert failure.value.exit_code == 21
    assert "defect of rdbmerge" in failure.value.remedy
    assert str(failure.value).endswith(f"{1 if name == 'read' else -1} unaccounted for")


def test_errors_of_two_lines_do_not_cancel_out() -> None:
    with pytest.raises(LedgerError):
        Ledger(lines=[line(read=1), line(written=1)]).check()


def test_the_total_is_the_sum_of_the_lines() -> None:
    ledger = Ledger(lines=[line(read=3, written=2, expired=1), line(db=1, read=5, filtered=4, conflict_dropped=1)])
    total = ledger.total()
    assert (total.read, total.written, total.expired, total.filtered, total.conflict_dropped) == (8, 2, 1, 4, 1)
    assert (total.source, total.difference) == ("total", 0)
    assert Ledger().total().read == 0


def test_what_is_written_is_told_by_the_db_of_the_merged_file() -> None:
    ledger = Ledger(
        lines=[
            line(db=0, target_db=9, written=2),
            line(db=1, target_db=3, written=1),
            line(db=2, target_db=9, written=5),
            line(db=3, target_db=4),
        ]
    )
    assert list(ledger.written_per_db().items()) == [(3, 1), (9, 7)]


def test_a_ledger_is_read_back_as_it_was_and_knows_no_other_columns() -> None:
    ledger = Ledger(lines=[line(read=1, written=1)])
    assert Ledger.model_validate_json(ledger.model_dump_json()) == ledger
    with pytest.raises(ValidationError):
        LedgerLine(source="a", db=0, target_db=0, lost=1)  # type: ignore[call-arg]
