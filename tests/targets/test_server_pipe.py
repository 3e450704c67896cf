"""Pipes over real sockets: any cut, any silence, and nothing that can bring both ends to a halt."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from rdbmerge.errors import StoppedError, TargetError
from rdbmerge.targets.server_pipe import LostError, Pipe

pytestmark = pytest.mark.once


def rows(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int32)


@contextmanager
def pipe(patience_s: float = 10, stop: threading.Event | None = None) -> Iterator[tuple[Pipe, socket.socket, list]]:
    ours, theirs = socket.socketpair()
    settled: list = []
    made = Pipe(ours, "the server", lambda which, words: settled.append((which.tolist(), words)),
                patience_s=patience_s, stop=stop)  # fmt: skip
    try:
        yield made, theirs, settled
    finally:
        made.close()
        theirs.close()


def test_answers_are_told_of_the_rows_that_they_are_about() -> None:
    with pipe() as (made, theirs, settled):
        assert made.send([b"abc", b"de"], rows(0, 1)) == 5
        made.send([b"f"], rows(2, -1, 5))
        assert theirs.recv(100) == b"abcdef"
        theirs.sendall(b"+OK\r\n+OK\r\n+OK\r\n-BUSYKEY x\r\n+OK\r\n")
        made.finish()
        assert settled == [([0, 1], None), ([2], None), ([-1], "BUSYKEY x"), ([5], None)]
        assert made.unanswered() == []


def test_neither_end_waits_for_ever_when_both_have_much_to_say() -> None:
    """The peer answers each byte with twenty and reads nothing while it cannot write."""
    with pipe() as (made, theirs, settled):
        total = 300_000

        def serve() -> None:
            left = total
            while left:
                data = theirs.recv(min(4096, left))
                left -= len(data)
                theirs.sendall(b"-ERR no such thing\r\n" * len(data))

        peer = threading.Thread(target=serve)
        peer.start()
        for start in range(0, total, 50_000):
            made.send([b"x" * 50_000], np.arange(start, start + 50_000, dtype=np.int32))
        made.finish()
        peer.join()
        assert [which for which, _ in settled] == [[number] for number in range(total)]


def test_a_connection_that_ends_leaves_what_was_not_answered() -> None:
    with pipe() as (made, theirs, settled):
        made.send([b"abc"], rows(0, 1, 2))
        theirs.recv(100)
        theirs.sendall(b"+OK\r\n+O")
        theirs.close()
        with pytest.raises(LostError, match="closed by the server"):
            made.finish()
        assert settled == [([0], None)]
        assert [which.tolist() for which in made.unanswered()] == [[1, 2]]


def test_last_words_of_a_server_that_closes_while_it_is_sent_to_are_heard() -> None:
    with pipe() as (made, theirs, settled):
        theirs.sendall(b"-ERR Protocol error: invalid bulk length\r\n")
        theirs.close()
        with pytest.raises(LostError):
            made.send([b"x" * 10_000_000], rows(7))
        assert settled == [([7], "ERR Protocol error: invalid bulk length")]


def test_silence_ends_when_patience_does() -> None:
    with pipe(patience_s=0.3) as (made, _, _):
        made.send([b"abc"], rows(0))
        with pytest.raises(LostError, match="neither took nor answered"):
            made.finish()


def test_a_wait_ends_when_the_user_wants_to() -> None:
    stop = threading.Event()
    with pipe(stop=stop) as (made, _, _):
        made.send([b"abc"], rows(0))
        threading.Timer(0.1, stop.set).start()
        with pytest.raises(StoppedError):
            made.finish()


def test_more_answers_than_questions_are_no_answers() -> None:
    with pipe() as (made, theirs, _):
        theirs.sendall(b"+OK\r\n+OK\r\n")
        with pytest.raises(TargetError, match="more than it was asked"):
            made.send([b"abc"], rows(0))
