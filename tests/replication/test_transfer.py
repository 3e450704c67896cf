from __future__ import annotations

import itertools
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdbmerge.replication.transfer import Finished, MarkedTransfer, SizedTransfer, SnapshotBytes, Transfer

MARK = b"0123456789abcdef0123456789abcdef01234567"


def run(transfer: Transfer, chunks: list[bytes]) -> tuple[bytes, bytes | None]:
    body, rest = bytearray(), None
    for chunk in chunks:
        if rest is not None:
            rest += chunk
            continue
        for event in transfer.feed(chunk):
            if isinstance(event, SnapshotBytes):
                assert len(event.data)
                body += event.data
            else:
                rest = event.rest
    return bytes(body), rest


@pytest.mark.parametrize("cut", range(13))
def test_the_snapshot_arrives_whole_wherever_the_stream_is_cut(cut: int) -> None:
    stream = b"REDIS0012PING"
    assert run(SizedTransfer(9), [stream[:cut], stream[cut:]]) == (b"REDIS0012", b"PING")


@given(
    body=st.binary(max_size=200),
    rest=st.binary(max_size=50),
    cuts=st.lists(st.integers(0, 300), max_size=8),
    near=st.integers(0, 40),
)
def test_the_mark_is_found_over_any_reads_and_a_near_miss_is_data(
    body: bytes, rest: bytes, cuts: list[int], near: int
) -> None:
    body = body + MARK[:near]
    if MARK in (body + MARK)[:-1]:
        body = body[:-1]
    stream = body + MARK + rest
    at = [0, *sorted(cuts), len(stream)]
    chunks = [stream[start:end] for start, end in itertools.pairwise(at)]
    assert run(MarkedTransfer(MARK), [chunk for chunk in chunks if chunk]) == (body, rest)


def test_one_byte_at_a_time_gives_the_same() -> None:
    body = MARK[:39] + MARK[:39] + b"x"
    stream = body + MARK
    assert run(MarkedTransfer(MARK), [stream[at : at + 1] for at in range(len(stream))]) == (body, b"")
    assert run(SizedTransfer(3), [b"a", b"b", b"c"]) == (b"abc", b"")


def test_a_sized_snapshot_passes_without_being_copied() -> None:
    chunk = bytes(1000)
    events = SizedTransfer(2000).feed(chunk)
    assert isinstance(events[0], SnapshotBytes)
    assert events[0].data is chunk
    view = MarkedTransfer(MARK).feed(chunk)[-1]
    assert isinstance(view, SnapshotBytes)
    assert isinstance(view.data, memoryview)
    assert view.data.obj is chunk


def test_a_cut_says_how_far_it_came() -> None:
    sized, marked = SizedTransfer(2_000), MarkedTransfer(MARK)
    sized.feed(bytes(1_500))
    marked.feed(bytes(1_500))
    assert str(sized.closed()) == "the connection ended after 1,500 of 2,000 bytes of the snapshot"
    assert str(marked.closed()) == "the connection ended after 1,500 bytes of the snapshot, before its end mark"
    assert "pull this source again" in marked.closed().remedy


@pytest.mark.parametrize("mark", [b"", MARK[1:], MARK + b"0"])
def test_a_mark_has_40_bytes(mark: bytes) -> None:
    with pytest.raises(ValueError, match="a mark has 40 bytes"):
        MarkedTransfer(mark)


def test_finished_holds_what_followed() -> None:
    assert SizedTransfer(1).feed(b"abc")[-1] == Finished(b"bc")


@pytest.mark.parametrize("size", [4096, 1 << 20])
def test_the_end_mark_is_searched_faster_than_any_network(size: int) -> None:
    chunk = random.Random(1).randbytes(size)
    transfer = MarkedTransfer(MARK)
    started = time.perf_counter()
    for _ in range((64 << 20) // size):
        transfer.feed(chunk)
    # Some 100 MB/s would already do; the floor is low so that a busy machine does not fail it.
    assert (64 << 20) / (time.perf_counter() - started) > 100e6
