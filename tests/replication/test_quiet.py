from __future__ import annotations

from typing import Any

import pytest
from fakes.recorded import conversation_names, load
from hypothesis import given
from hypothesis import strategies as st

from rdbmerge.reach.info import ServerFacts
from rdbmerge.replication.handshake import FullResync
from rdbmerge.replication.quiet import StreamListener, judge_scanned, judge_written

RESYNC = FullResync("a" * 40, 1_000)


def facts(offset: int | None, *, changes: int | None = 0, saved: int = 1, replid: str = "a" * 40) -> ServerFacts:
    return ServerFacts(
        master_repl_offset=offset, replid=replid, changes_since_save=changes, last_save_at_s=saved, backlog_active=True
    )


@pytest.mark.parametrize(
    ("before", "after", "written", "evidence"),
    [
        (facts(0), facts(1_000), "quiet", "the replication offset is still 1,000, the snapshot's"),
        (
            facts(0, changes=7),
            facts(1_069, changes=8),
            "written",
            "the replication offset moved by 69 bytes after the snapshot (writes; keys that expire count as DEL)",
        ),
        (
            facts(0, changes=7),
            facts(1_028, changes=7),
            "quiet",
            "the replication offset moved by 28 bytes after the snapshot, which is 2 PING, and no change was counted",
        ),
        (
            facts(0, changes=7),
            facts(1_028, changes=8),
            "written",
            "the replication offset moved by 28 bytes after the snapshot, which is 2 PING, but 1 changes were counted",
        ),
        (
            facts(0, changes=7),
            facts(1_014, changes=2, saved=2),
            "written",
            "the replication offset moved by 14 bytes after the snapshot, which is 1 PING, but 2 changes were counted",
        ),
        (
            facts(0, changes=None),
            facts(1_014, changes=5),
            "unknown",
            "the replication offset moved by 14 bytes after the snapshot, which is 1 PING or writes: the count of"
            " changes does not tell",
        ),
        (
            facts(0),
            facts(1_000 + 14 * 200),
            "written",
            "the replication offset moved by 2,800 bytes after the snapshot (writes; keys that expire count as DEL)",
        ),
        (facts(0), facts(990), "unknown", "the replication offset went back by 10 bytes"),
        (
            facts(0),
            facts(1_000, replid="b" * 40),
            "unknown",
            "the replication id changed during the pull: a failover or a restart",
        ),
        (
            facts(0),
            ServerFacts(problem="no permissions"),
            "unknown",
            "INFO after the pull tells no replication offset: no permissions",
        ),
    ],
)
def test_the_offsets_are_weighed(before: ServerFacts, after: ServerFacts, written: str, evidence: str) -> None:
    verdict = judge_written(RESYNC, before=before, after=after, stream=None, pull_s=10)
    assert (verdict.written, verdict.evidence) == (written, evidence)


def heard(*chunks: bytes) -> StreamListener:
    stream = StreamListener()
    for chunk in chunks:
        stream.feed(chunk)
    return stream


PING = b"*1\r\n$4\r\nPING\r\n"


@pytest.mark.parametrize(
    ("stream", "written", "evidence"),
    [
        (heard(), "quiet", "nothing came in the stream after the snapshot"),
        (heard(PING, b"\n", b"PING\r\nselect 3\r\n"), "quiet", "only 3 PING or SELECT came in the stream"),
        (heard(b"select 3\r\n*3\r\n$3\r\nSET\r\n"), "written", "the stream after the snapshot holds SET"),
        (heard(b"*2\r\n$3\r\nDEL\r\n$1\r\na\r\n"), "written", "the stream after the snapshot holds DEL"),
        (heard(b"*x\r\n"), "unknown", "SYNC tells no replication offset"),
        (heard(b"*3\r\n$99999999999\r\n"), "unknown", "SYNC tells no replication offset"),
        (None, "unknown", "SYNC tells no replication offset"),
    ],
)
def test_without_offsets_only_the_stream_tells(stream: StreamListener | None, written: str, evidence: str) -> None:
    verdict = judge_written(None, before=ServerFacts(), after=ServerFacts(), stream=stream, pull_s=1)
    assert verdict.written == written
    assert verdict.evidence.startswith(evidence)


def test_a_renamed_psync_can_be_judged_by_an_offset_that_was_already_counted() -> None:
    verdict = judge_written(None, before=facts(5), after=facts(5), stream=None, pull_s=1)
    assert verdict.written == "quiet"


def test_an_offset_that_stands_still_without_a_backlog_proves_nothing() -> None:
    idle = ServerFacts(master_repl_offset=5, replid="a", backlog_active=False)
    assert judge_written(None, before=idle, after=idle, stream=None, pull_s=1).written == "unknown"


SIZED = [name for name in conversation_names() if load(name).facts["stream_bytes"] and "probe" not in name]


@pytest.mark.parametrize("name", SIZED)
def test_a_recorded_stream_is_understood_one_byte_at_a_time(name: str) -> None:
    conversation = load(name)
    stream = conversation.after_sync[-conversation.facts["stream_bytes"] :]
    listener = heard(*(stream[at : at + 1] for at in range(len(stream))))
    assert not listener.garbled
    assert (listener.write is not None) == conversation.scenario.startswith("writes-during")


@given(st.lists(st.binary(max_size=30), max_size=10))
def test_hostile_bytes_never_raise(chunks: list[bytes]) -> None:
    heard(*chunks)
    heard(b"*3\r\n$3\r\n", *chunks)


def test_a_stream_that_never_ends_a_command_is_given_up() -> None:
    assert heard(b"*2\r\n$6\r\nSELECT\r\n$100000\r\n" + b"x" * 70_000).garbled
    assert heard(b"x" * 70_000).garbled


@pytest.mark.parametrize(
    ("before", "after", "written", "why"),
    [
        ({}, {"replid": None}, "unknown", "INFO does not tell"),
        ({}, {"replid": "other"}, "unknown", "INFO does not tell"),
        ({}, {}, "quiet", "no change was counted meanwhile"),
        ({}, {"changes_since_save": 8}, "written", "3 changes were counted"),
        ({}, {"changes_since_save": 0, "last_save_at_s": 2}, "unknown", "saved meanwhile"),
        ({}, {"changes_since_save": None}, "unknown", "counts no changes"),
        ({"backlog_active": True}, {"changes_since_save": 8}, "quiet", "offset stood at 100"),
        ({"backlog_active": True}, {"master_repl_offset": 101}, "written", "moved by 1 bytes"),
        ({"backlog_active": True}, {"master_repl_offset": 114}, "quiet", "no change was counted"),
        ({"backlog_active": True}, {"master_repl_offset": 114, "changes_since_save": 6}, "written", "1 changes"),
        ({"backlog_active": True}, {"master_repl_offset": 86}, "unknown", "went back"),
    ],
)
def test_writes_while_a_source_was_read_key_by_key(
    before: dict[str, Any], after: dict[str, Any], written: str, why: str
) -> None:
    facts: dict[str, Any] = {
        "replid": "r", "master_repl_offset": 100, "changes_since_save": 5, "last_save_at_s": 1,
    }  # fmt: skip
    verdict = judge_scanned(ServerFacts(**facts | before), ServerFacts(**facts | before | after))
    assert verdict.written == written
    assert why in verdict.evidence
