from __future__ import annotations

import itertools

import pytest
from fakes.recorded import split_commands
from hypothesis import given
from hypothesis import strategies as st

from rdbmerge.errors import HandshakeError, SourceError, TransferCutError
from rdbmerge.replication.handshake import (
    MAX_LINE_BYTES,
    FullResync,
    Handshake,
    HandshakeEvent,
    KeepAlive,
    Send,
    SnapshotBegins,
)
from rdbmerge.replication.source import Source
from rdbmerge.replication.transfer import MarkedTransfer, SizedTransfer

REPLID = "0123456789abcdef0123456789abcdef01234567"
COURTESIES = b"+PONG\r\n" + b"+OK\r\n" * 4
FULLRESYNC = f"+FULLRESYNC {REPLID} 77\r\n".encode()


def begin(**options: object) -> Handshake:
    handshake = Handshake(Source(host="h", **options))  # type: ignore[arg-type]
    handshake.start()
    return handshake


def sent(events: list[HandshakeEvent]) -> list[list[bytes]]:
    return split_commands(b"".join(event.data for event in events if isinstance(event, Send)))


def test_the_commands_come_in_this_order() -> None:
    handshake = Handshake(Source(host="h", username="ann", password="pw"))
    commands = split_commands(handshake.start().data) + sent(handshake.feed(b"+OK\r\n" + COURTESIES))
    assert commands == [
        [b"AUTH", b"ann", b"pw"],
        [b"PING"],
        [b"REPLCONF", b"listening-port", b"0"],
        [b"REPLCONF", b"capa", b"eof"],
        [b"REPLCONF", b"rdb-only", b"1"],
        [b"REPLCONF", b"version", b"255.255.255"],
        [b"PSYNC", b"?", b"-1"],
    ]
    assert handshake.rdb_only
    assert handshake.waiting


def test_one_command_waits_for_one_reply() -> None:
    handshake = begin()
    assert sent(handshake.feed(b"+PO")) == []
    assert sent(handshake.feed(b"NG\r\n")) == [[b"REPLCONF", b"listening-port", b"0"]]


def test_renamed_commands_are_used() -> None:
    handshake = begin(psync_command="XPSYNC", sync_command="XSYNC", replconf_command="XCONF")
    commands = sent(handshake.feed(COURTESIES + b"-ERR unknown command 'XPSYNC'\r\n"))
    assert [command[0] for command in commands] == [b"XCONF"] * 4 + [b"XPSYNC", b"XSYNC"]


def test_a_renamed_psync_that_takes_no_arguments_is_sent_bare() -> None:
    handshake = begin(psync_command="xhma21")
    commands = sent(handshake.feed(COURTESIES + b"-ERR wrong number of arguments for 'sync' command\r\n"))
    assert commands[-2:] == [[b"xhma21", b"?", b"-1"], [b"xhma21"]]


def test_the_snapshot_begins_with_a_length() -> None:
    events = begin().feed(COURTESIES + b"\n\n" + FULLRESYNC + b"\n$5\r\nREDIS")
    alive = [event for event in events if isinstance(event, KeepAlive)]
    last = events[-1]
    assert len(alive) == 3
    assert FullResync(REPLID, 77) in events
    assert isinstance(last, SnapshotBegins)
    assert isinstance(last.transfer, SizedTransfer)
    assert (last.framing, last.length_bytes, last.rest) == ("length", 5, b"REDIS")


def test_the_snapshot_begins_with_a_mark() -> None:
    last = begin().feed(COURTESIES + FULLRESYNC + f"$EOF:{REPLID}\r\n".encode())[-1]
    assert isinstance(last, SnapshotBegins)
    assert isinstance(last.transfer, MarkedTransfer)
    assert (last.framing, last.length_bytes, last.rest) == ("eof", None, b"")


def test_replconf_refused_is_noted_and_not_fatal() -> None:
    handshake = begin()
    handshake.feed(
        b"-NOPERM no ping\r\n" + b"-ERR Unrecognized REPLCONF option: x\r\n" * 4 + b"-ERR unknown command\r\n"
    )
    assert handshake.state.value == "SYNC"
    assert not handshake.rdb_only
    assert handshake.notes == [
        "PING: -NOPERM no ping",
        "REPLCONF listening-port: -ERR Unrecognized REPLCONF option: x",
        "REPLCONF capa: -ERR Unrecognized REPLCONF option: x",
        "REPLCONF rdb-only: -ERR Unrecognized REPLCONF option: x",
        "REPLCONF version: -ERR Unrecognized REPLCONF option: x",
    ]


@pytest.mark.parametrize(
    ("reply", "finding"),
    [
        (b"+CONTINUE\r\n", "h:6379: not an answer to PSYNC: +CONTINUE"),
        (b"+FULLRESYNC abc 1\r\n", "h:6379: not an answer to PSYNC: +FULLRESYNC abc 1"),
        (
            f"+FULLRESYNC {REPLID} 9999999999999999999\r\n".encode(),
            f"h:6379: not an answer to PSYNC: +FULLRESYNC {REPLID} 9999999999999999999",
        ),
        (b"+OK\r\n", "h:6379: not an answer to PSYNC: +OK"),
        (b"$0\r\n", "h:6379: not an answer to PSYNC: $0"),
        (b"$-1\r\n", "h:6379: not an answer to PSYNC: $-1"),
        (b"$12a\r\n", "h:6379: not an answer to PSYNC: $12a"),
        (b"$9223372036854775808\r\n", "h:6379: not an answer to PSYNC: $9223372036854775808"),
        (b"$" + b"9" * 50 + b"\r\n", "h:6379: not an answer to PSYNC: $" + "9" * 50),
        (b"$EOF:short\r\n", "h:6379: not an answer to PSYNC: $EOF:short"),
        (b"*1\r\n", "h:6379: not an answer to PSYNC: *1\\x0d\\x0a"),
        (b":1\r\n", "h:6379: not an answer to PSYNC: :1\\x0d\\x0a"),
        (b"+OK\n", "h:6379: not an answer to PSYNC: +OK\\x0a"),
        (b"\x00\xff", "h:6379: not an answer to PSYNC: \\x00\\xff"),
    ],
)
def test_nonsense_is_an_error_that_shows_it(reply: bytes, finding: str) -> None:
    with pytest.raises(HandshakeError) as failure:
        begin().feed(COURTESIES + reply)
    assert str(failure.value) == finding
    assert failure.value.remedy


@pytest.mark.parametrize("state_replies", [b"", b"+PONG\r\n"])
def test_a_snapshot_nobody_asked_for_is_nonsense(state_replies: bytes) -> None:
    with pytest.raises(HandshakeError, match="not an answer to"):
        begin().feed(state_replies + b"$5\r\nREDIS")


def test_the_largest_length_is_taken() -> None:
    last = begin().feed(COURTESIES + FULLRESYNC + b"$9223372036854775807\r\n")[-1]
    assert isinstance(last, SnapshotBegins)
    assert last.length_bytes == 2**63 - 1


def test_a_line_without_end_is_an_error_and_is_shown_cut() -> None:
    with pytest.raises(HandshakeError) as failure:
        begin().feed(b"+" + b"x" * MAX_LINE_BYTES)
    assert str(failure.value).endswith("xxx... (65,537 bytes)")
    assert len(str(failure.value)) < 300


@pytest.mark.parametrize(
    ("data", "remedy"),
    [
        (b"\x15\x03\x03\x00\x02\x02F", "this is a TLS port: write the address as rediss://host:port"),
        (b"HTTP/1.1 400 Bad Request\r\n", "a web server answers on this port"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "an SSH server answers on this port"),
    ],
)
def test_another_protocol_is_named(data: bytes, remedy: str) -> None:
    with pytest.raises(HandshakeError) as failure:
        begin().feed(data)
    assert failure.value.remedy.startswith(remedy)


@pytest.mark.parametrize("data", [b"\x15\x03\x03\x00", b"HTTP/1.1 400\r\n", b"SSH-2.0\r\n"])
def test_another_protocol_is_named_however_its_first_bytes_arrive(data: bytes) -> None:
    with pytest.raises(HandshakeError) as at_once:
        begin().feed(data)

    def feed_in_pieces() -> None:
        handshake = begin()
        for place in range(len(data)):
            handshake.feed(data[place : place + 1])

    with pytest.raises(HandshakeError) as in_pieces:
        feed_in_pieces()
    assert in_pieces.value.remedy == at_once.value.remedy


def test_an_end_before_any_answer_speaks_of_tls() -> None:
    error = begin().closed()
    assert str(error) == "h:6379: the source closed the connection without an answer"
    assert "rediss://" in error.remedy
    assert "rediss://" not in begin(tls=True).closed().remedy


def test_an_end_after_fullresync_gives_the_likely_reasons() -> None:
    handshake = begin()
    handshake.feed(COURTESIES + FULLRESYNC)
    error = handshake.closed()
    assert isinstance(error, TransferCutError)
    assert str(error) == "h:6379: the source closed the connection before the snapshot began"
    for reason in ("fork failed", "output buffer", "restarted", "Valkey 9"):
        assert reason in error.remedy


def test_an_end_in_between_names_the_command() -> None:
    handshake = begin()
    handshake.feed(b"+PONG\r\n")
    assert str(handshake.closed()) == (
        "h:6379: the source closed the connection instead of answering REPLCONF listening-port"
    )


def test_silence_names_what_was_waited_for() -> None:
    handshake = begin()
    assert str(handshake.stalled(60)) == "h:6379: no answer to PING within 1m"
    handshake.feed(COURTESIES)
    assert str(handshake.stalled(3600)) == "h:6379: the snapshot did not begin within 1h"


def test_a_password_shows_nowhere() -> None:
    handshake = Handshake(Source(host="h", password="s3cret"))
    first = handshake.start()
    assert "s3cret" not in repr(first)
    assert first.label == "AUTH"
    with pytest.raises(HandshakeError) as failure:
        handshake.feed(b"-ERR unknown command `AUTH`, with args beginning with: `s3cret`, \r\n")
    assert str(failure.value) == "h:6379: the source refused AUTH (-ERR unknown command `AUTH`)"
    handshake = begin(password="s3cret")
    with pytest.raises(HandshakeError) as failure:
        handshake.feed(b"-ERR no such thing as s3cret\r\n")
    assert "s3cret" not in str(failure.value)


WORDS = [
    b"+PONG\r\n",
    b"+OK\r\n",
    b"\n",
    FULLRESYNC,
    b"$10\r\n",
    b"-ERR x\r\n",
    b"-LOADING\r\n",
    b"$EOF:",
    b"\r\n",
    b"+",
]
HOSTILE = st.lists(st.one_of(st.binary(max_size=20), st.sampled_from(WORDS)), max_size=15).map(b"".join)


@given(data=HOSTILE, cuts=st.lists(st.integers(0, 200), max_size=5))
def test_hostile_bytes_give_our_errors_only_and_the_same_events_however_cut(data: bytes, cuts: list[int]) -> None:
    def outcome(chunks: list[bytes]) -> tuple[list[object], type[SourceError] | None]:
        handshake, events = begin(password="pw"), list[object]()
        try:
            for chunk in chunks:
                for event in handshake.feed(chunk):
                    if isinstance(event, SnapshotBegins):
                        return [*events, event.framing, event.length_bytes], None
                    events.append(event)
        except SourceError as error:
            return [error.remedy != ""], type(error)
        return events, None

    at = [0, *sorted(cuts), len(data)]
    assert outcome([data[a:b] for a, b in itertools.pairwise(at)]) == outcome([data])
