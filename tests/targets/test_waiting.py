"""The waiting, by a clock that costs no time: how it ends, and how it bears with a service that does not answer."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rdbmerge.errors import TargetError
from rdbmerge.targets.standing import Phase, Standing
from rdbmerge.targets.waiting import Waited, Waiting, WaitLimits, wait_until_available

pytestmark = pytest.mark.once
BUSY = TargetError("Rate exceeded", retryable=True, code="Throttling")
LIMITS = WaitLimits(timeout_s=1_000, poll_s=20, jitter_s=4)


class World:
    """A clock that sleeping moves, and a service that answers from a list; the last answer stays."""

    def __init__(self, *answers: Standing | TargetError | None, stop_after_s: float = float("inf")) -> None:
        self.answers, self.now_s, self.stop_after_s = list(answers), 100.0, stop_after_s
        self.pauses: list[float] = []
        self.told: list[Waiting] = []

    def look(self) -> Standing | None:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, TargetError):
            raise answer
        return answer

    def sleep(self, seconds: float) -> bool:
        self.pauses.append(seconds)
        self.now_s += seconds
        return self.now_s - 100.0 >= self.stop_after_s

    def wait(self, dice: Callable[[], float] = lambda: 0.5) -> Waited:
        return wait_until_available(
            self.look, clock=lambda: self.now_s, sleep=self.sleep, dice=dice, limits=LIMITS, tell=self.told.append
        )


def at(phase: Phase) -> Standing:
    return Standing("g", {"creating": "creating", "available": "available", "failed": "create-failed"}[phase], phase)


def test_it_looks_until_it_is_there() -> None:
    world = World(at("creating"), at("creating"), at("available"))
    ended = world.wait()
    assert (ended.outcome, ended.elapsed_s, world.pauses) == ("available", 44, [22, 22])
    assert [one.elapsed_s for one in world.told] == [0, 22, 44]


def test_a_failure_ends_it_at_once() -> None:
    world = World(at("creating"), at("failed"))
    assert world.wait().outcome == "failed"
    assert len(world.pauses) == 1


def test_time_runs_out_and_not_later_than_was_said() -> None:
    ended = World(at("creating")).wait()
    assert (ended.outcome, ended.elapsed_s) == ("timeout", 1_000)
    assert ended.standing == at("creating")


def test_throttling_is_survived_with_longer_pauses_that_end_with_it() -> None:
    world = World(at("creating"), *[BUSY] * 5, at("creating"), at("available"))
    assert world.wait().outcome == "available"
    assert world.pauses == [22, 42, 82, 122, 122, 122, 22]
    assert [one.trouble for one in world.told].count("Rate exceeded") == 5
    assert world.told[3].standing == at("creating")


def test_throttling_without_end_is_a_timeout_that_says_so() -> None:
    ended = World(BUSY).wait()
    assert (ended.outcome, ended.trouble) == ("timeout", "Rate exceeded")


def test_any_other_refusal_ends_it() -> None:
    with pytest.raises(TargetError, match="expired"):
        World(at("creating"), TargetError("expired", code="ExpiredToken")).wait()


def test_what_is_not_to_be_seen_yet_may_come_and_what_stays_away_is_gone() -> None:
    assert World(None, None, at("available")).wait().outcome == "available"
    ended = World(at("creating"), None).wait()
    assert (ended.outcome, ended.standing) == ("gone", at("creating"))


def test_it_stops_when_it_is_told() -> None:
    ended = World(at("creating"), stop_after_s=60).wait()
    assert (ended.outcome, ended.elapsed_s) == ("stopped", 66)


def test_pauses_differ_by_the_dice() -> None:
    throws = iter((0.0, 1.0, 0.25))
    world = World(at("creating"), at("creating"), at("creating"), at("available"))
    world.wait(lambda: next(throws))
    assert world.pauses == [20, 24, 21]
