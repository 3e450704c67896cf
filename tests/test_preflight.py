"""The gravest answer decides."""

from __future__ import annotations

import pytest

from rdbmerge.preflight import Outcome, PreflightCheck, failed, ok, warning, worst

pytestmark = pytest.mark.once

A, B, C = ok("disk", "5 GB free"), warning("region", "not known", "give --region"), failed("bucket", "is not there")


@pytest.mark.parametrize(
    ("checks", "outcome"),
    [([], Outcome.OK), ([A, A], Outcome.OK), ([A, B], Outcome.WARNING), ([C, B, A], Outcome.FAILED)],
)
def test_the_gravest_answer_decides(checks: list[PreflightCheck], outcome: Outcome) -> None:
    assert worst(checks) == outcome


def test_an_answer_has_reason_and_remedy() -> None:
    assert (B.name, B.outcome, B.finding, B.remedy) == ("region", Outcome.WARNING, "not known", "give --region")
    assert A.remedy == ""
