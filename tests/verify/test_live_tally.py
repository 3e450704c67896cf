"""Counts add up, and what a second look finds stands instead of the first."""

from __future__ import annotations

import pytest

from rdbmerge.verify.live_tally import MOST_SHOWN, MOST_SUSPECTS, LiveTally, Suspect
from rdbmerge.verify.report import Difference

pytestmark = pytest.mark.once


def difference(kind: str = "missing", key: bytes = b"k") -> Difference:
    return Difference(kind=kind, db=0, key="k", key_base64=key, source="a", expected="", found="")  # type: ignore[arg-type]


def tally(missing: int = 0, different: int = 0, agreed: int = 0, place: int = 0) -> LiveTally:
    one = LiveTally()
    counts = one.line(place)
    counts.asked, counts.missing, counts.different, counts.agreed = (
        missing + different + agreed,
        missing,
        different,
        agreed,
    )
    for number in range(missing + different):
        one.note(difference("missing" if number < missing else "value"))
        one.suspect(Suspect(place, number, number + 1))
    return one


def test_parts_add_up_whatever_their_order() -> None:
    parts = [tally(1, 2, 3), tally(4, 0, 1, place=7), tally(0, 5, 0)]
    sums = []
    for order in (parts, parts[::-1]):
        whole = LiveTally()
        for part in order:
            whole.add(part)
        sums.append((whole.lines, whole.kinds, len(whole.differences), sorted(whole.suspects)))
    assert sums[0] == sums[1]
    whole = LiveTally()
    for part in parts:
        whole.add(part)
    assert (whole.total, whole.unequal_keys) == (12, 12)
    assert whole.kinds == {"missing": 5, "value": 7}
    assert whole.line(0).asked == 11


def test_lists_end_and_counts_do_not() -> None:
    whole = LiveTally()
    for _ in range(30):
        whole.add(tally(100))
    assert (whole.total, len(whole.differences), len(whole.suspects)) == (3_000, MOST_SHOWN, MOST_SUSPECTS)


def test_it_is_saved_and_read_back() -> None:
    one = tally(2, 1, 5)
    one.differences[0].key_base64 = b"\xff\x00"
    assert LiveTally.model_validate_json(one.model_dump_json()) == one


def test_a_second_look_counts_instead_of_the_first() -> None:
    first = tally(missing=3, different=2, agreed=10)
    again = tally(missing=1, different=1, agreed=2)
    again.line(0).expired_since = 1
    assert first.replace_suspects(again) == 3
    counts = first.line(0)
    assert (counts.asked, counts.agreed, counts.missing, counts.different, counts.expired_since) == (15, 12, 1, 1, 1)
    assert first.total == 2
    assert first.kinds == {"missing": 1, "value": 1}
