from __future__ import annotations

import threading
import time

import pytest

from rdbmerge.errors import StoppedError, StoreError
from rdbmerge.stores.crew import Crew

pytestmark = pytest.mark.once


def crew_of(work: object, size: int = 3) -> tuple[Crew[int, int], threading.Event]:
    stop = threading.Event()
    return Crew(work, size, stop=stop, halt=threading.Event()), stop  # type: ignore[arg-type]


def test_all_tasks_are_done_and_no_more_than_the_crew_at_once() -> None:
    lock, busy, most = threading.Lock(), 0, 0

    def work(number: int) -> int:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        time.sleep(0.002)
        with lock:
            busy -= 1
        return number * 2

    crew, _ = crew_of(work)
    for number in range(20):
        crew.give(number)
    assert sorted(crew.finish()) == [2 * number for number in range(20)]
    assert 1 <= most <= 3


def test_the_first_failure_ends_it() -> None:
    def work(number: int) -> int:
        if number == 2:
            raise StoreError("no")
        return number

    crew, _ = crew_of(work)

    def give_all() -> None:
        for number in range(100):
            crew.give(number)

    with pytest.raises(StoreError, match="no"):
        give_all()
    assert crew.halt.is_set()


def test_a_failure_of_the_last_task_is_not_lost() -> None:
    def work(_: int) -> int:
        raise OSError("disk")

    crew, _ = crew_of(work)
    crew.give(1)
    with pytest.raises(OSError, match="disk"):
        crew.finish()


def test_a_stop_does_not_wait_for_who_hangs() -> None:
    release = threading.Event()
    crew, stop = crew_of(lambda _: int(release.wait(30)), 1)
    crew.give(1)
    stop.set()
    with pytest.raises(StoppedError):
        crew.finish()
    assert crew.halt.is_set()
    assert crew.done_count() == 0
    release.set()
    crew.leave()
