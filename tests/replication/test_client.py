from __future__ import annotations

import hashlib
import io
import itertools
import threading
import time
from collections.abc import Iterator

import pytest
from fakes.primary import Answer, Close, FakePrimary, Hang, Say, bulk
from fakes.proxy import HostileProxy
from fakes.recorded import WIRE, conversation_names, load

from rdbmerge.errors import HandshakeError, RdbMergeError, SourceError, StoppedError, TransferCutError
from rdbmerge.replication.client import pull_snapshot
from rdbmerge.replication.limits import BandwidthLimit, PullLimits, PullProgress
from rdbmerge.replication.pulled import PulledSnapshot
from rdbmerge.replication.source import Source

BODY = b"REDIS0011" + bytes(range(256)) * 40
REPLID = "a" * 40
MARK = "f" * 40
RESYNC = f"+FULLRESYNC {REPLID} 1000\r\n".encode()
SIZED = RESYNC + b"\n$%d\r\n" % len(BODY) + BODY
MARKED = RESYNC + f"$EOF:{MARK}\r\n".encode() + BODY + MARK.encode()
INFO = f"redis_version:7.2.6\r\nmaster_replid:{REPLID}\r\nmaster_repl_offset:1000\r\ndb0:keys=5,expires=0\r\n"
QUICK = PullLimits(
    connect_timeout_s=2,
    reply_timeout_s=0.5,
    silence_timeout_s=0.5,
    header_timeout_s=2,
    retry_for_s=0,
    stream_grace_s=0.2,
)


def pull(
    port: int, limits: PullLimits = QUICK, *, stop: threading.Event | None = None, **options: object
) -> tuple[PulledSnapshot, bytes, list[PullProgress]]:
    sink, told = io.BytesIO(), list[PullProgress]()
    source = Source(host="127.0.0.1", port=port, name="a", **options)  # type: ignore[arg-type]
    clock = itertools.count(1_700_000_010_000, 100)
    pulled = pull_snapshot(source, sink, limits=limits, now_ms=lambda: next(clock), progress=told.append, stop=stop)
    return pulled, sink.getvalue(), told


def fails(replies: dict[str, Answer], limits: PullLimits = QUICK) -> SourceError:
    with FakePrimary({"INFO": bulk(INFO), **replies}) as primary, pytest.raises(SourceError) as failure:
        pull(primary.port, limits)
    assert str(failure.value).startswith(f"a (127.0.0.1:{primary.port}): ")
    assert failure.value.remedy
    return failure.value


@pytest.mark.parametrize(("answer", "framing"), [(SIZED, "length"), (MARKED, "eof")])
@pytest.mark.parametrize("piece", [0, 1000])
def test_a_snapshot_comes_whole_with_its_facts(answer: bytes, framing: str, piece: int) -> None:
    with FakePrimary({"INFO": bulk(INFO), "PSYNC": [Say(answer, piece=piece, pause_s=0.001)]}) as primary:
        pulled, body, told = pull(primary.port)
    assert body == BODY
    assert (pulled.sha256, pulled.size_bytes) == (hashlib.sha256(BODY).hexdigest(), len(BODY))
    assert (pulled.framing, pulled.command, pulled.replid, pulled.offset) == (framing, "PSYNC", REPLID, 1000)
    assert (pulled.source_name, pulled.address, pulled.attempts) == ("a", f"127.0.0.1:{primary.port}", 1)
    assert (pulled.written, pulled.before.key_count, pulled.rdb_only) == ("quiet", 5, True)
    # The fake's clock says 1,700,000,000.5; ours begins ten seconds later and moves 100 ms at each look.
    assert pulled.clock_skew_ms == 9_550
    assert (pulled.requested_at_ms, pulled.snapshot_at_ms) == (1_700_000_000_650, 1_700_000_000_750)
    assert list(dict.fromkeys(progress.phase for progress in told)) == ["connect", "wait", "transfer", "done"]
    assert told[-1] == PullProgress("a", "done", len(BODY), len(BODY))


WITH_SNAPSHOT = [
    name
    for name in conversation_names()
    if name.startswith(("2.4.18", "2.6.17", "7.2.6", "valkey-9.1.2"))
    and load(name).facts["outcome"] == "rdb"
    and not name.endswith("loading-retry")
]


@pytest.mark.parametrize("name", WITH_SNAPSHOT)
def test_a_recorded_primary_gives_its_recorded_snapshot(name: str) -> None:
    conversation = load(name)
    version = name.removesuffix(f"-{conversation.scenario}")
    info = bulk((WIRE / f"{version}-info.txt").read_bytes().decode())
    options = {"psync_command": "MYPSYNC", "sync_command": "MYSYNC"} if name.endswith("renamed-alias") else {}
    with FakePrimary({"INFO": info}, conversation=conversation) as primary:
        pulled, body, _ = pull(primary.port, **options)
    assert pulled.sha256 == conversation.facts["rdb_sha256"] == hashlib.sha256(body).hexdigest()
    assert pulled.framing == conversation.facts["framing"]
    if name.startswith("2."):
        assert pulled.command == "SYNC"
        assert pulled.written == ("written" if conversation.scenario == "writes-during" else "quiet")


def test_a_slow_sink_loses_nothing() -> None:
    class SlowSink(io.BytesIO):
        def write(self, data: object, /) -> int:
            time.sleep(0.02)
            return super().write(data)  # type: ignore[arg-type]

    sink, body = SlowSink(), BODY * 400
    answer = RESYNC + b"$%d\r\n" % len(body) + body
    with FakePrimary({"PSYNC": answer}) as primary:
        source = Source(host="127.0.0.1", port=primary.port)
        pulled = pull_snapshot(source, sink, limits=QUICK, now_ms=lambda: 0)
    assert sink.getvalue() == body
    assert pulled.written == "unknown"


def test_what_the_sink_raises_passes_through() -> None:
    class FullSink:
        def write(self, data: bytes | memoryview, /) -> None:
            raise OSError(28, "No space left on device")

    with FakePrimary({"PSYNC": SIZED}) as primary:
        source = Source(host="127.0.0.1", port=primary.port)
        with pytest.raises(OSError, match="No space left"):
            pull_snapshot(source, FullSink(), limits=QUICK, now_ms=lambda: 0)


def test_a_source_that_loads_is_asked_again() -> None:
    answers: Iterator[bytes] = iter([b"-LOADING Redis is loading the dataset in memory\r\n"] * 2)
    with FakePrimary({"PING": lambda: next(answers, b"+PONG\r\n"), "PSYNC": SIZED, "INFO": bulk(INFO)}) as primary:
        pulled, body, _ = pull(primary.port, PullLimits(retry_for_s=10))
    assert body == BODY
    assert pulled.attempts == 3
    assert pulled.duration_s >= 1.5


def test_a_source_that_loads_for_ever_is_given_up_with_the_time_told() -> None:
    error = fails({"PING": b"-LOADING x\r\n"}, PullLimits(retry_for_s=0.8))
    assert isinstance(error, HandshakeError)
    assert error.retryable
    assert "the source is still loading its data (-LOADING x); asked 2 times in 5" in str(error)


def test_wrong_credentials_are_not_tried_again() -> None:
    with FakePrimary({"AUTH": b"-WRONGPASS no\r\n"}) as primary, pytest.raises(HandshakeError, match="password"):
        pull(primary.port, PullLimits(retry_for_s=30), password="pass-word")
    assert sum(command[0] == b"PING" for command in primary.commands) == 0


def test_too_many_clients_is_read_even_though_it_came_unasked() -> None:
    with (
        FakePrimary(unasked=[Say(b"-ERR max number of clients reached\r\n"), Close()]) as primary,
        pytest.raises(HandshakeError, match="takes no more clients"),
    ):
        pull(primary.port)


@pytest.mark.parametrize(
    ("replies", "kind", "finding"),
    [
        ({"PING": [Hang()]}, HandshakeError, "no answer to PING within 500ms"),
        ({"PING": [Say(b"\n" * 100, piece=1, pause_s=0.05)]}, HandshakeError, "no answer to PING within 500ms"),
        ({"PING": [Close()]}, HandshakeError, "closed the connection without an answer"),
        ({"PING": [Close(reset=True)]}, HandshakeError, "closed the connection without an answer"),
        ({"PING": b"HTTP/1.1 400\r\n"}, HandshakeError, "not an answer to PING: HTTP/1.1 400"),
        ({"PSYNC": [Hang()]}, TransferCutError, "the snapshot did not begin within"),
        ({"PSYNC": [Say(b"\n" * 99, piece=1, pause_s=0.1)]}, TransferCutError, "the snapshot did not begin within 2s"),
        ({"PSYNC": [Say(RESYNC), Close()]}, TransferCutError, "closed the connection before the snapshot began"),
        ({"PSYNC": [Say(RESYNC), Hang()]}, TransferCutError, "the snapshot did not begin within"),
        (
            {"PSYNC": [Say(SIZED[:5_000]), Close()]},
            TransferCutError,
            "the connection ended after 4,932 of 10,249 bytes of the snapshot",
        ),
        ({"PSYNC": [Say(SIZED[:5_000]), Close(reset=True)]}, TransferCutError, "of 10,249 bytes of the snapshot"),
        (
            {"PSYNC": [Say(SIZED[:5_000]), Hang()]},
            TransferCutError,
            "nothing came for 500ms after 4,932 of 10,249 bytes of the snapshot",
        ),
        (
            {"PSYNC": [Say(MARKED[:-1]), Close()]},
            TransferCutError,
            "the connection ended after 10,288 bytes of the snapshot, before its end mark",
        ),
        ({"PSYNC": [Say(RESYNC + b"$9999\r\n" + BODY[:50]), Close()]}, TransferCutError, "ended after 50 of 9,999"),
    ],
)
def test_a_failure_says_what_and_when(replies: dict[str, Answer], kind: type[SourceError], finding: str) -> None:
    error = fails(replies)
    assert type(error) is kind
    assert finding in str(error)


def test_the_error_of_the_socket_is_chained() -> None:
    assert isinstance(fails({"PSYNC": [Say(SIZED[:500]), Close(reset=True)]}).__cause__, ConnectionResetError)


@pytest.mark.parametrize("answer", [RESYNC + b"$9223372036854775807\r\n", MARKED])
def test_a_snapshot_bigger_than_allowed_is_refused(answer: bytes) -> None:
    error = fails({"PSYNC": answer}, PullLimits(max_bytes=100))
    assert "and only 100 may be taken" in str(error)
    assert "disk" in error.remedy


def test_a_renamed_psync_acts_as_sync_and_has_no_offset() -> None:
    answer = SIZED.removeprefix(RESYNC) + b"*2\r\n$3\r\nDEL\r\n$1\r\na\r\n"
    with FakePrimary({"PSYNC": answer, "REPLCONF rdb-only": b"-ERR Unrecognized\r\n", "INFO": bulk(INFO)}) as primary:
        pulled, body, _ = pull(primary.port, psync_command="MYPSYNC")
    assert body == BODY
    assert (pulled.command, pulled.replid, pulled.offset) == ("SYNC", None, None)
    assert (pulled.written, pulled.evidence) == ("written", "the stream after the snapshot holds DEL")


@pytest.mark.parametrize("answer", [[Hang()], [Say(RESYNC), Hang()], [Say(SIZED[:500]), Hang()]])
def test_stop_ends_a_pull_soon(answer: list[Say | Hang]) -> None:
    stop = threading.Event()
    with FakePrimary({"PSYNC": answer, "INFO": bulk(INFO)}) as primary:
        threading.Timer(0.3, stop.set).start()
        started = time.monotonic()
        with pytest.raises(StoppedError) as stopped:
            pull(primary.port, PullLimits(), stop=stop)
    assert time.monotonic() - started < 2
    assert stopped.value.exit_code == 130


def test_stop_ends_the_wait_before_a_retry() -> None:
    stop = threading.Event()
    with FakePrimary({"PING": b"-LOADING x\r\n"}) as primary:
        threading.Timer(0.2, stop.set).start()
        with pytest.raises(StoppedError):
            pull(primary.port, PullLimits(retry_for_s=60), stop=stop)


def test_two_pulls_share_a_bandwidth() -> None:
    body = bytes(150_000)
    answer = RESYNC + b"$%d\r\n" % len(body) + body
    limits = PullLimits(limiter=BandwidthLimit(400_000))
    with FakePrimary({"PSYNC": answer, "INFO": bulk(INFO)}) as primary:
        threads = [threading.Thread(target=pull, args=(primary.port, limits)) for _ in range(2)]
        started = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    # 300,000 bytes at 400,000 bytes/s, less a burst and the last pause.
    assert 0.35 < time.monotonic() - started < 3


def test_a_password_is_in_no_fact_and_no_message() -> None:
    replies: dict[str, Answer] = {"INFO": b"-ERR pass-word\r\n", "REPLCONF capa": b"-ERR pass-word\r\n", "PSYNC": SIZED}
    with FakePrimary(replies) as primary:
        pulled, _, told = pull(primary.port, password="pass-word")
    assert "pass-word" not in repr(pulled) + repr(told)
    with FakePrimary({"PSYNC": b"-ERR pass-word\r\n"}) as primary, pytest.raises(RdbMergeError) as failure:
        pull(primary.port, password="pass-word")
    assert "pass-word" not in repr(failure.value) + failure.value.remedy


@pytest.mark.parametrize("reset", [False, True])
def test_a_proxy_that_cuts_at_any_byte_gives_an_error_and_never_half_a_snapshot(reset: bool) -> None:
    with FakePrimary({"PSYNC": MARKED, "INFO": b"-ERR no\r\n"}) as primary:
        whole = 7 + 4 * 5 + len(MARKED)
        for cut in (30, 60, 100, 500, whole - 41, whole - 40, whole - 1):
            with HostileProxy(primary.port, cut_after=cut, reset=reset) as proxy, pytest.raises(SourceError):
                pull(proxy.port)
        with HostileProxy(primary.port, piece=97, pause_s=0.0005) as proxy:
            assert pull(proxy.port)[1] == BODY
        with (
            HostileProxy(primary.port, hang_after=3_000) as proxy,
            pytest.raises(TransferCutError, match="nothing came"),
        ):
            pull(proxy.port)
