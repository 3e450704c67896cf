"""Plans and rules as values that are saved and read back, and refuse what they do not know."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from rdbmerge.plan.model import ChunkPlan, Conflict, KeyPattern, Plan, Policy, Rules, RunPlan, SourcePlan, TargetDb

RUN = RunPlan(
    db=1, target_db=2, read=10, written=6, written_expires=2, expired=2, filtered=1, conflict_dropped=1,
    chunks=[ChunkPlan(start=n, stop=n + 9, rows=5, written=3, output_bytes=n) for n in (10, 25)],
)  # fmt: skip
SOURCE = SourcePlan(
    path="x/a.rdb", name="a.rdb", magic="REDIS0009", size_bytes=100, mtime_ns=5, crc64="ff", snapshot_at_ms=1,
    snapshot_at_from="manifest", ttl_offset_ms=0, runs=[RUN],
)  # fmt: skip
PLAN = Plan(
    rdbmerge_version="0", created_at_ms=1, rules=Rules(), magic="REDIS0006", sources=[SOURCE],
    dbs=[TargetDb(db=2, keys=6, expires=2), TargetDb(db=3, keys=4, expires=0)], output_bytes=99,
)  # fmt: skip


@pytest.mark.parametrize(
    "rules",
    [
        Rules(),
        Rules(ttl_offset_ms=-5, ttl_freeze_until_ms=7, snapshot_at_ms=0),
        Rules(drop_expired=False, on_conflict=Policy.LONGEST_TTL),
        Rules(db_map={1: 0, 15: 2}, dbs=[0], types=["hash"], key_prefix=bytes(range(256))),
        Rules(include_keys=[KeyPattern(kind="glob", text=b"\xff*")]),
        Rules(exclude_keys=[KeyPattern(kind="re", text=b"^\x00")]),
    ],
)  # fmt: skip
def test_rules_are_read_back_as_they_were(rules: Rules) -> None:
    assert Rules.model_validate_json(rules.model_dump_json()) == rules


def test_a_plan_is_read_back_as_it_was() -> None:
    assert Plan.model_validate_json(PLAN.model_dump_json()) == PLAN


@pytest.mark.parametrize(
    "text", ['{"unknown": 1}', '{"on_conflict": "newest"}', '{"include_keys": [{"kind": "sql", "text": ""}]}']
)
def test_what_is_not_known_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        Rules.model_validate_json(text)


def test_sums_are_those_of_the_parts() -> None:
    assert PLAN.keys == 10
    assert RUN.output_bytes == 35


def test_the_ledger_of_a_plan_has_a_line_a_source_and_db() -> None:
    (line,) = PLAN.ledger().lines
    assert (line.source, line.db, line.target_db) == ("a.rdb", 1, 2)
    assert (line.read, line.written, line.expired, line.filtered, line.conflict_dropped) == (10, 6, 2, 1, 1)
    assert line.difference == 0


def test_a_conflict_keeps_the_bytes_of_its_key() -> None:
    one = Conflict(
        db=0, key='"\\xff"', key_base64=b"\xff", source="a", source_db=0, offset=9, type="string", size_bytes=5,
        expire_at_ms=None, kept=True, equal_value=True,
    )  # fmt: skip
    assert Conflict.model_validate_json(one.model_dump_json()) == one
    assert '"key_base64":"_w=="' in one.model_dump_json() or '"key_base64":"/w=="' in one.model_dump_json()
