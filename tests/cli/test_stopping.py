from __future__ import annotations

import os
import signal
import threading

import pytest

from rdbmerge.cli.stopping import stoppable, stopping
from rdbmerge.errors import StoppedError


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_does_not_wait(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stoppable() as stop:
        assert not stop.is_set()
        os.kill(os.getpid(), number)
        assert stop.wait(1)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_in_another_thread_there_are_no_signals_to_catch() -> None:
    got: list[bool] = []

    def work() -> None:
        with stoppable() as stop:
            got.append(stop.is_set())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert got == [False]


def test_work_that_tells_its_progress_ends_where_it_tells() -> None:
    stop, told = threading.Event(), list[int]()
    tell = stopping(told.append, stop)
    tell(1)
    stop.set()
    with pytest.raises(StoppedError):
        tell(2)
    assert told == [1]
    with pytest.raises(StoppedError):
        stopping(None, stop)(3)
