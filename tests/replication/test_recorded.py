"""Every recorded conversation, replayed: the recorded outcome, however the bytes are cut."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import pytest
from fakes.recorded import Conversation, conversation_names, load, split_commands

from rdbmerge.errors import HandshakeError, SourceError
from rdbmerge.replication.handshake import FullResync, Handshake, KeepAlive, Send, SnapshotBegins
from rdbmerge.replication.source import Source
from rdbmerge.replication.transfer import Finished, SnapshotBytes

# A probe asks for no snapshot; its replies are used for the REPLCONFs that the other conversations lack.
NAMES = [name for name in conversation_names() if not name.endswith("replconf-probe")]


class Outcome:
    def __init__(self) -> None:
        self.framing: str | None = None
        self.resync: FullResync | None = None
        self.keepalives = 0
        self.sha256 = hashlib.sha256()
        self.size = 0
        self.stream = 0
        self.whole = False
        self.notes: list[str] = []


def source_of(conversation: Conversation) -> Source:
    scenario = conversation.scenario
    options = {"password": "any", "username": "puller"} if scenario.startswith("acl") else {}
    if scenario.startswith("auth-") and scenario != "auth-missing":
        options = {"password": "any"}
    if scenario == "renamed-alias":
        options = {"psync_command": "MYPSYNC", "sync_command": "MYSYNC"}
    return Source(host="wire", **options)  # type: ignore[arg-type]


def pieces(data: bytes, sizes: Iterable[int] | int) -> Iterable[bytes]:
    if isinstance(sizes, int):
        sizes = [sizes] * (len(data) // sizes + 1)
    at = 0
    for size in sizes:
        if data[at : at + size]:
            yield data[at : at + size]
        at += size
    if data[at:]:
        yield data[at:]


def replay(conversation: Conversation, piece: Iterable[int] | int) -> Outcome:
    """Answer the handshake by command; then all that was recorded after the sync; then the end."""
    outcome = Outcome()
    handshake = Handshake(source_of(conversation))
    begins: SnapshotBegins | None = None
    inbox = conversation.unasked or conversation.reply_to(split_commands(handshake.start().data)[0])
    while inbox:
        arrived, inbox = inbox, b""
        for chunk in pieces(arrived, piece):
            if begins:
                take(outcome, begins, chunk)
                continue
            for event in handshake.feed(chunk):
                if isinstance(event, Send):
                    inbox += conversation.reply_to(split_commands(event.data)[0])
                elif isinstance(event, FullResync):
                    outcome.resync = event
                elif isinstance(event, KeepAlive):
                    outcome.keepalives += 1
                else:
                    begins = event
                    outcome.framing = event.framing
                    take(outcome, begins, event.rest)
    outcome.notes = handshake.notes
    if begins is None:
        raise handshake.closed()
    if not outcome.whole:
        raise begins.transfer.closed()
    return outcome


def take(outcome: Outcome, begins: SnapshotBegins, chunk: bytes) -> None:
    if outcome.whole:
        outcome.stream += len(chunk)
        return
    for event in begins.transfer.feed(chunk):
        if isinstance(event, SnapshotBytes):
            outcome.sha256.update(event.data)
            outcome.size += len(event.data)
        elif isinstance(event, Finished):
            outcome.whole = True
            outcome.stream += len(event.rest)


def check(name: str, piece: Iterable[int] | int) -> None:
    conversation = load(name)
    facts = conversation.facts
    if conversation.scenario == "loading-retry":
        for _ in range(3):
            with pytest.raises(HandshakeError, match="still loading") as loading:
                replay(conversation, piece)
            assert loading.value.retryable
    if facts["outcome"] == "rdb":
        outcome = replay(conversation, piece)
        assert outcome.sha256.hexdigest() == facts["rdb_sha256"]
        assert (outcome.size, outcome.framing, outcome.stream) == (
            facts["rdb_bytes"],
            facts["framing"],
            facts["stream_bytes"],
        )
        return
    with pytest.raises(SourceError) as failure:
        replay(conversation, piece)
    assert failure.value.remedy
    if facts["error"] and conversation.scenario != "renamed":
        shown = facts["error"].split(" with args")[0].rstrip(",")
        assert shown in str(failure.value)


@pytest.mark.parametrize("name", NAMES)
def test_a_recorded_conversation_ends_as_it_did_one_byte_at_a_time(name: str) -> None:
    check(name, 1)


@pytest.mark.parametrize("name", NAMES)
def test_a_recorded_conversation_ends_as_it_did_in_one_piece_and_in_odd_ones(name: str) -> None:
    check(name, 1 << 20)
    check(name, 7)
    check(name, 41)


@pytest.mark.parametrize(
    "name",
    [
        "2.6.17-psync-fallback",
        "2.8.24-diskless-delay",
        "7.2.6-slow-bgsave",
        "8.2.3-rdb-only-diskless",
        "valkey-9.1.2-psync-version",
        "7.2.6-acl-denied",
        "7.2.6-renamed-alias",
        "8.2.3-rdb-channel",
    ],
)
def test_the_outcome_is_the_same_wherever_the_answer_to_the_sync_is_cut(name: str) -> None:
    for cut in range(1, min(len(load(name).after_sync), 600) + 60):
        check(name, [cut])


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(("-diskless", "rdb-only-sync"))])
def test_the_end_mark_is_found_wherever_it_is_cut(name: str) -> None:
    size = len(load(name).after_sync)
    for cut in range(max(1, size - 45), size):
        check(name, [cut])


def test_every_scenario_is_replayed() -> None:
    assert len(NAMES) > 300
    assert {load(name).facts["outcome"] for name in NAMES} == {"rdb", "error"}


def test_newlines_are_signs_of_life_and_not_data() -> None:
    assert replay(load("7.2.6-slow-bgsave"), 3).keepalives >= 3
