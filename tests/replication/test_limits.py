from __future__ import annotations

import threading

import pytest

from rdbmerge.errors import UsageError
from rdbmerge.replication.limits import BandwidthLimit, PullLimits, PullProgress, Reporter


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_bytes_are_spread_over_time() -> None:
    clock = Clock()
    limit = BandwidthLimit(1_000, clock=clock)
    assert limit.take(500) == 0.5
    assert limit.take(500) == 1.0
    clock.now += 1.0
    assert limit.take(100) == pytest.approx(0.1)


def test_a_pause_saves_up_a_quarter_of_a_second_and_no_more() -> None:
    clock = Clock()
    limit = BandwidthLimit(1_000, clock=clock)
    clock.now += 60
    assert limit.take(250) == 0
    assert limit.take(250) == 0.25


def test_several_pulls_share_one_limit() -> None:
    limit = BandwidthLimit(1_000_000, clock=Clock())
    threads = [threading.Thread(target=lambda: [limit.take(100) for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert limit.take(0) == pytest.approx(0.2)


def test_a_read_is_a_tenth_of_a_second_and_at_least_a_byte() -> None:
    assert BandwidthLimit(1_000).chunk_bytes == 100
    assert BandwidthLimit(1).chunk_bytes == 1
    assert BandwidthLimit(10**12).chunk_bytes == 256 * 1024


@pytest.mark.parametrize(
    "options",
    [
        {"connect_timeout_s": 0},
        {"reply_timeout_s": -1},
        {"header_timeout_s": 0},
        {"retry_for_s": -1},
        {"max_bytes": -1},
    ],
)
def test_limits_that_make_no_sense_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        PullLimits(**options)  # type: ignore[arg-type]


def test_a_limit_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="at least 1 byte/s"):
        BandwidthLimit(0)


def test_progress_is_told_at_each_phase_and_else_ten_times_a_second() -> None:
    clock, told = Clock(), list[PullProgress]()
    reporter = Reporter("a", told.append, clock=clock)
    reporter.report("connect")
    reporter.report("wait")
    for count in range(100):
        clock.now += 0.01
        reporter.report("transfer", count, 100)
    reporter.report("done", 100, 100)
    assert [progress.phase for progress in told[:2]] == ["connect", "wait"]
    assert 9 <= sum(progress.phase == "transfer" for progress in told) <= 11
    assert told[-1] == PullProgress("a", "done", 100, 100)


def test_nobody_has_to_listen() -> None:
    Reporter("a", None).report("connect")
