"""The balance sheet and its one law."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rdbmerge.errors import LedgerError
from rdbmerge.ledger import Ledger, LedgerLine, balanced

COUNT = st.integers(0, 1 << 40)


def line(db: int = 0, target_db: int = 0, **counts: int) -> LedgerLine:
    return LedgerLine(source="a.rdb", db=db, target_db=target_db, **counts)


ACCOUNTS = ("written", "expired", "filtered", "conflict_dropped", "rejected", "elsewhere")


@given(st.lists(COUNT, min_size=6, max_size=6))
def test_a_line_closes_when_every_entry_is_accounted_for(counts: list[int]) -> None:
    read = sum(counts)
    whole = line(read=read, **dict(zip(ACCOUNTS, counts, strict=True)))
    assert whole.difference == 0
    Ledger(lines=[whole]).check()
    assert whole.model_copy(update={"read": read + 3}).difference == 3


@pytest.mark.parametrize("name", ["read", *ACCOUNTS])
def test_one_entry_too_many_anywhere_is_a_failure_that_names_the_line(name: str) -> None:
    counts = {"read": 1_000, "written": 995} | dict.fromkeys(ACCOUNTS[1:], 1)
    good = line(**counts)
    bad = line(db=7, **{**counts, name: counts[name] + 1})
    with pytest.raises(LedgerError, match=r"the ledger of a\.rdb db 7 does not close") as failure:
        Ledger(lines=[good, bad]).check()
    assert failure.value.exit_code == 21
    assert "defect of rdbmerge" in failure.value.remedy
    assert str(failure.value).endswith(f"{1 if name == 'read' else -1} unaccounted for")


def test_the_failure_shows_every_account() -> None:
    counts = {"read": 10_000, "written": 2_000, "expired": 1, "filtered": 3, "conflict_dropped": 4, "rejected": 5}
    with pytest.raises(LedgerError) as failure:
        Ledger(lines=[line(**counts, elsewhere=6)]).check()
    assert str(failure.value) == (
        "the ledger of a.rdb db 0 does not close: 10,000 read, 2,000 written, 1 expired, 3 filtered,"
        " 4 dropped by conflict, 5 rejected, 6 elsewhere, 0 skipped; 7,981 unaccounted for"
    )


def test_what_was_stripped_is_written_and_counts_once() -> None:
    Ledger(lines=[line(read=3, written=3, stripped=2)]).check()


def test_errors_of_two_lines_do_not_cancel_out() -> None:
    with pytest.raises(LedgerError):
        Ledger(lines=[line(read=1), line(written=1)]).check()


def test_the_total_is_the_sum_of_the_lines() -> None:
    lines = [
        line(read=3, written=2, expired=1, stripped=1),
        line(db=1, read=12, written=1, filtered=4, conflict_dropped=1, rejected=2, elsewhere=4, stripped=1),
    ]
    total = Ledger(lines=lines).total()
    assert [getattr(total, name) for name in ("read", *ACCOUNTS, "stripped")] == [15, 3, 1, 4, 1, 2, 4, 2]
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


# --- shards -------------------------------------------------------------------------------------------------------


def shards(*counts: dict[str, int]) -> list[Ledger]:
    """The sheets of shards, each of one line: 10 read, what is not told is elsewhere."""
    return [Ledger(lines=[line(read=10, **one, elsewhere=10 - sum(one.values()))]) for one in counts]


def test_what_is_elsewhere_in_one_shard_is_on_the_sheet_of_another() -> None:
    joined = balanced(shards({"written": 3, "expired": 1}, {"written": 4, "rejected": 1}, {"filtered": 1}))
    (one,) = joined.lines
    assert [getattr(one, name) for name in ("read", *ACCOUNTS)] == [10, 7, 1, 1, 0, 1, 0]
    assert one.difference == 0


def test_stripped_entries_of_all_shards_are_summed() -> None:
    sheets = shards({"written": 3}, {"written": 7})
    for sheet, count in zip(sheets, (1, 2), strict=True):
        sheet.lines[0].stripped = count
    assert balanced(sheets).lines[0].stripped == 3


@pytest.mark.parametrize("counts", [({"written": 3}, {"written": 6}), ({"written": 5}, {"written": 6})])
def test_an_entry_that_no_shard_has_or_two_have_is_a_failure(counts: tuple[dict[str, int], ...]) -> None:
    sheets = shards(*counts)
    for sheet in sheets:
        sheet.check()  # each closes by itself: only together they do not
    with pytest.raises(LedgerError, match="does not close"):
        balanced(sheets)


def test_the_lines_of_shards_are_those_of_one_merge() -> None:
    with pytest.raises(ValueError, match="shorter"):
        balanced([Ledger(lines=[line(), line(db=1)]), Ledger(lines=[line()])])


def test_one_file_is_its_own_balance() -> None:
    sheet = Ledger(lines=[line(read=2, written=2)])
    assert balanced([sheet]) == sheet
    with pytest.raises(LedgerError):
        balanced([Ledger(lines=[line(read=1)])])


def test_the_only_shard_has_nothing_elsewhere() -> None:
    with pytest.raises(LedgerError, match="1 unaccounted for"):
        balanced([Ledger(lines=[line(read=2, written=1, elsewhere=1)])])
