"""A few threads that do one kind of work, handed out piece by piece with a limit on what waits.

Unlike a pool they can be left: whoever waits for them goes on within a tenth of a second once `stop` is set, and a
thread that hangs in a socket does not keep the process. Knows nothing of the work.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from rdbmerge.errors import RdbMergeError, StoppedError

Task = TypeVar("Task")
Result = TypeVar("Result")

_LOOK_EVERY_S = 0.1


class Crew(Generic[Task, Result]):
    """Does `work` on every task that is given; the first failure ends it for all.

    `halt` is set when the crew is to drop everything: by `stop`, a failure, or `leave`; `work` should look at it.
    """

    def __init__(
        self, work: Callable[[Task], Result], size: int, *, stop: threading.Event, halt: threading.Event
    ) -> None:
        self._work = work
        self._stop = stop
        self.halt = halt
        self._size = size
        self._waiting: deque[Task] = deque()
        self._busy = 0
        self._over = False
        self._results: list[Result] = []
        self._failure: BaseException | None = None
        self._changed = threading.Condition()
        self._threads = [threading.Thread(target=self._run, name=f"part-{n}", daemon=True) for n in range(size)]
        for thread in self._threads:
            thread.start()

    def give(self, task: Task) -> None:
        """Hand out a task, waiting until one of the threads is free for it. Raises what a task before it raised."""
        with self._changed:
            self._wait_until(lambda: self._busy + len(self._waiting) < self._size)
            self._waiting.append(task)
            self._changed.notify_all()

    def finish(self) -> list[Result]:
        """The results of all tasks, in no order, when all are done. Raises what the first failing one raised."""
        with self._changed:
            self._wait_until(lambda: not self._busy and not self._waiting)
        self.leave()
        return self._results

    def leave(self) -> None:
        """Drop everything."""
        self.halt.set()
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def done_count(self) -> int:
        """How many tasks are done."""
        return len(self._results)

    def _wait_until(self, ready: Callable[[], bool]) -> None:
        while True:
            if self._failure is not None:
                self.halt.set()
                raise self._failure
            if self._stop.is_set():
                self.halt.set()
                raise StoppedError("stopped")
            if ready():
                return
            self._changed.wait(_LOOK_EVERY_S)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._over:
                    self._changed.wait()
                if self._over:
                    return
                task = self._waiting.popleft()
                self._busy += 1
            try:
                result = self._work(task)
            except (RdbMergeError, OSError, ValueError) as error:
                self._end_with(error)
                return
            with self._changed:
                self._results.append(result)
                self._busy -= 1
                self._changed.notify_all()

    def _end_with(self, error: BaseException) -> None:
        with self._changed:
            if self._failure is None and not self.halt.is_set():
                self._failure = error
            self._over = True
            self._changed.notify_all()
        self.halt.set()
