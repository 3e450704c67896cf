"""The report keeps what it is told, and says whether keys are missing."""

from __future__ import annotations

import pytest

from rdbmerge.ledger import Ledger
from rdbmerge.plan.model import Rules
from rdbmerge.steps.restoring.report import RestoreReport

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("facts", "code"), [({}, 0), ({"refused": 1}, 50), ({"evicted": 3}, 50), ({"evicted": 0, "slowed_down": 9}, 0)]
)
def test_it_is_a_failure_when_keys_are_missing(facts: dict[str, int], code: int) -> None:
    report = RestoreReport(
        started_at_ms=1, target="t", server="Redis 7.0.15", primaries=1, rules=Rules(key_prefix=b"p"), on_busy="fail",
        checks=[], dry_run=False, keys=0, libraries=[], conflicts=0, ledger=Ledger(), warnings=[], plan_s=0, **facts,
    )  # fmt: skip
    assert report.exit_code == code
    assert RestoreReport.model_validate_json(report.model_dump_json()) == report
