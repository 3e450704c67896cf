"""Limits and the brake, by a clock of the test's own."""

from __future__ import annotations

import pytest

from rdbmerge.targets.server_pacing import Brake, Pace, RateLimit

pytestmark = pytest.mark.once


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_limit_lets_so_many_through_a_second() -> None:
    clock = Clock()
    limit = RateLimit(1_000, clock=clock)
    for _ in range(100):
        clock.now += limit.take(50)
    assert 104.5 < clock.now <= 105.0


def test_what_was_not_used_is_not_saved_up() -> None:
    clock = Clock()
    limit = RateLimit(1_000, clock=clock)
    clock.now += 3_600
    assert limit.take(250) == 0
    assert limit.take(1_000) == pytest.approx(1.0)


def test_the_brake_is_pulled_while_answers_take_long_and_let_go_when_they_do_not() -> None:
    brake = Brake(usual_ms=1, most_ms=50)
    for _ in range(4):
        brake.note(500)
    assert brake.pause_s == 0, "a few answers are no trend"
    pauses = []
    for _ in range(20):
        brake.note(500)
        pauses.append(brake.pause_s)
    assert pauses == sorted(pauses)
    assert pauses[-1] == 2.0
    for _ in range(40):
        brake.note(2)
    assert brake.pause_s == 0
    assert brake.pulled == 22


def test_one_slow_answer_among_others_does_not_pull_it() -> None:
    brake = Brake(usual_ms=1, most_ms=50)
    for latency in (1, 2, 900, 1, 3, 900, 1, 2):
        brake.note(latency)
    assert (brake.pause_s, brake.pulled) == (0, 0)


def test_the_longest_pause_counts() -> None:
    clock = Clock()
    pace = Pace(commands=RateLimit(10, clock=clock), size=RateLimit(1_000, clock=clock), brake=None)
    assert pace.after(20, 100) == pytest.approx(2.0)
    assert Pace().after(1_000, 1_000) == 0
