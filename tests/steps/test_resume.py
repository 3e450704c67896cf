from __future__ import annotations

from dataclasses import replace

import pytest

from rdbmerge.reach.info import DbKeys, ServerFacts
from rdbmerge.replication.pulled import PulledSnapshot
from rdbmerge.snapshot.manifest import AfterPull, Manifest, Pulled
from rdbmerge.steps.resume import compare_counts, judge_held, snapshot_moment

ID, OTHER = "a" * 40, "b" * 40


def manifest(*, offset: int | None = 1_000, replid: str | None = ID, written: str = "quiet", changes: int | None = 0):
    return Manifest(
        rdbmerge_version="0",
        file="a.rdb",
        size_bytes=10,
        crc64="0" * 16,
        magic="REDIS0009",
        keys_in_file={},
        pulled=Pulled(
            address="a:1",
            replication_id=replid,
            replication_offset=offset,
            framing="length",
            started_at_ms=0,
            duration_s=1,
            written=written,  # type: ignore[arg-type]
            evidence="",
            after=AfterPull(replication_id=ID, changes_since_save=changes, last_save_at_s=50),
        ),
    )


NOW = ServerFacts(replid=ID, master_repl_offset=1_000, backlog_active=True, changes_since_save=0, last_save_at_s=50)
OLD = ServerFacts(replid=ID, changes_since_save=0, last_save_at_s=50)  # 2.4 and 2.6 tell no offset


@pytest.mark.parametrize(
    ("facts", "current", "why"),
    [
        (NOW, True, "the replication offset is still 1,000"),
        (replace(NOW, master_repl_offset=1_052), False, "the replication offset moved by 52 bytes"),
        (replace(NOW, master_repl_offset=990), False, "the replication offset moved by -10 bytes"),
        (replace(NOW, replid=OTHER), False, "the replication id changed"),
        (ServerFacts(problem="no right"), False, "the source does not say whether it has changed (no right)"),
        # An offset without a backlog stands still whatever is written: then the count of changes decides.
        (replace(NOW, backlog_active=False), True, "no change was counted since, and no save"),
        (replace(NOW, backlog_active=False, changes_since_save=1), False, "the source has been written to or saved"),
        # Another replica is attached: PINGs alone move the offset.
        (replace(NOW, master_repl_offset=1_042), True, "the replication offset moved by 3 PING"),
        (replace(NOW, master_repl_offset=1_042, changes_since_save=2), False, "written to or saved since"),
        (replace(NOW, master_repl_offset=1_042, last_save_at_s=60), False, "written to or saved since"),
        (replace(NOW, master_repl_offset=1_000 + 14 * 500), False, "the replication offset moved by 7,000 bytes"),
        (replace(NOW, master_repl_offset=1_042, changes_since_save=None), False, "the source counts no changes"),
    ],
)
def test_a_snapshot_is_current_only_on_evidence(facts: ServerFacts, current: bool, why: str) -> None:
    held = judge_held(manifest(), facts, elapsed_s=100)
    assert held.current is current
    assert why in held.why


@pytest.mark.parametrize(
    ("held", "facts", "current"),
    [
        (manifest(offset=None, replid=None), OLD, True),
        (manifest(offset=None, replid=None, changes=7), replace(OLD, changes_since_save=7), True),
        (manifest(offset=None, replid=None), replace(OLD, changes_since_save=1), False),
        (manifest(offset=None, replid=None), replace(OLD, last_save_at_s=51), False),
        (manifest(offset=None, replid=None), replace(OLD, replid=OTHER), False),  # restarted
        (manifest(offset=None, replid=None, written="unknown"), OLD, False),
        (manifest(offset=None, replid=None, written="written"), OLD, False),
        (manifest(offset=None, replid=None, changes=None), OLD, False),
    ],
)
def test_a_server_without_offsets_is_known_by_its_count_of_changes(
    held: Manifest, facts: ServerFacts, current: bool
) -> None:
    assert judge_held(held, facts, elapsed_s=100).current is current


def test_a_file_that_was_not_pulled_is_never_current() -> None:
    assert not judge_held(manifest().model_copy(update={"pulled": None}), NOW, elapsed_s=1).current


def pulled(at_ms: int, *, command: str = "PSYNC", skew_ms: int | None = 0) -> PulledSnapshot:
    facts = ServerFacts()
    return PulledSnapshot(
        source_name="a", address="a:1", command=command, framing="length", replid=None, offset=None, rdb_only=False,
        size_bytes=0, sha256="", requested_at_ms=at_ms, snapshot_at_ms=at_ms, clock_skew_ms=skew_ms, duration_s=1.0,
        attempts=1, before=facts, after=facts, written="quiet", evidence="", notes=(),
    )  # fmt: skip


DAY_S = 86_400


@pytest.mark.parametrize(
    ("one", "ctime_s", "at_ms", "word"),
    [
        (pulled(1_700_000_000_400), None, 1_700_000_000_400, "handshake"),
        (pulled(1_700_000_000_400), 1_700_000_000, 1_700_000_000_400, "within the second"),
        # We shared a fork that was made before we came.
        (pulled(1_700_000_090_400), 1_700_000_000, 1_700_000_000_000, "ctime"),
        # SYNC was sent, and the source forked five seconds later.
        (pulled(1_700_000_000_400, command="SYNC"), 1_700_000_005, 1_700_000_005_000, "ctime"),
        # A fork of a large server takes seconds, and ctime is written after it.
        (pulled(1_700_000_000_400), 1_700_000_003, 1_700_000_000_400, "a long fork"),
        (pulled(1_700_000_000_400, skew_ms=None), 1_699_000_000, 1_699_000_000_000, "could not be read"),
        (pulled(1_700_000_000_400), 1_700_000_000 - 2 * DAY_S, 1_700_000_000_400, "more than a day"),
        (pulled(1_700_000_000_400), 0, 1_700_000_000_400, "more than a day"),
    ],
)
def test_the_snapshot_time_is_the_more_exact_of_two_and_never_late(
    one: PulledSnapshot, ctime_s: int | None, at_ms: int, word: str
) -> None:
    moment, basis = snapshot_moment(one, ctime_s)
    assert moment == at_ms
    assert word in basis


@pytest.mark.parametrize(
    ("info", "in_file", "written", "lines"),
    [
        ({0: DbKeys(5, 0)}, {0: 5}, "quiet", []),
        ({}, {}, "quiet", []),
        (
            {0: DbKeys(5, 3)},
            {0: 4},
            "quiet",
            [
                "db 0: INFO said 5 keys, the snapshot holds 4:"
                " 1 of its 3 keys with an expiry expired before the snapshot"
            ],
        ),
        (
            {0: DbKeys(5, 0)},
            {0: 4},
            "quiet",
            [
                "db 0: INFO said 5 keys, the snapshot holds 4: nothing explains it; look whether clients wrote"
                " between INFO and the snapshot"
            ],
        ),
        (
            {},
            {3: 2},
            "written",
            ["db 3: INFO said 0 keys, the snapshot holds 2: clients wrote between INFO and the snapshot"],
        ),
        (None, {0: 1}, "quiet", ["keys could not be compared with INFO: no right"]),
    ],
)
def test_counts_that_differ_from_info_are_explained(
    info: dict[int, DbKeys] | None, in_file: dict[int, int], written: str, lines: list[str]
) -> None:
    assert compare_counts(info, in_file, written=written, info_problem="no right") == lines
