"""Answers come out the same, wherever the stream is cut."""

from __future__ import annotations

import pytest

from rdbmerge.errors import TargetError
from rdbmerge.targets.server_answers import Answers

pytestmark = pytest.mark.once

STREAM = b"+OK\r\n+OK\r\n-BUSYKEY it exists.\r\n+OK\r\n:12\r\n-ERR Bad data format\r\n+OK\r\n+OK\r\n"
ALL = [None, None, "BUSYKEY it exists.", None, None, "ERR Bad data format", None, None]


def heard(pieces: list[bytes]) -> list[str | None]:
    answers, out = Answers(), list[str | None]()
    for piece in pieces:
        for answer in answers.feed(piece):
            out += [answer] if isinstance(answer, str) else [None] * answer
    return out


def test_answers_are_told_as_runs_and_errors() -> None:
    assert list(Answers().feed(STREAM)) == [
        2,
        "BUSYKEY it exists.",
        1,
        1,
        "ERR Bad data format",
        2,
    ]
    assert list(Answers().feed(b"+OK\r\n" * 1_000)) == [1_000]
    assert list(Answers().feed(b"")) == []


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
def test_a_cut_changes_nothing(cut: int) -> None:
    assert heard([STREAM[:cut], STREAM[cut:]]) == ALL


def test_single_bytes_are_enough() -> None:
    assert heard([STREAM[at : at + 1] for at in range(len(STREAM))]) == ALL


@pytest.mark.parametrize("said", [b"$3\r\nabc\r\n", b"HTTP/1.1 400 Bad Request\r\n", b"+OK\n", b"\r\n", b"x" * 70_000])
def test_what_is_no_answer_is_not_taken_for_one(said: bytes) -> None:
    with pytest.raises(TargetError, match="no answer to RESTORE"):
        list(Answers().feed(said))
