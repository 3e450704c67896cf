"""One connection that takes many commands before it is answered: sends bytes, and tells what each answer was about.

Never waits for only one direction, so that no proxy between can bring both ends to a halt. Knows nothing of commands.
"""

from __future__ import annotations

import select
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rdbmerge.errors import StoppedError, TargetError
from rdbmerge.targets.server_answers import Answers

Rows = NDArray[np.int32]
Bytes = bytes | bytearray | memoryview
Settle = Callable[[Rows, str | None], None]

_READ_BYTES = 256 << 10
_SEND_BYTES = 1 << 20
_SLICE_S = 0.2  # how often a wait looks whether it should stop
_GRACE_S = 1.0  # once we are to stop, an answer that is on its way may still come
_BLOCKED = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class LostError(TargetError):
    """The connection is gone, or nothing came for too long: what was not answered may have been done or not."""


class Pipe:
    """Sends commands and hears answers over `opened`, a connected socket that belongs to it now.

    Args:
        place: of the server, for messages.
        settle: called with rows, in the order of their commands, and None where all went well, or the words of the
            error that one of them got.
        patience_s: how long the server may neither take nor answer anything.
        stop: ends every wait.
    """

    def __init__(
        self, opened: Any, place: str, settle: Settle, *, patience_s: float, stop: threading.Event | None = None
    ) -> None:
        self._socket = opened
        self._socket.setblocking(False)
        self._place = place
        self._settle = settle
        self._patience_s = patience_s
        self._stop = stop
        self._answers = Answers()
        self._waiting: deque[Rows] = deque()
        self._poll = select.poll()
        self._descriptor = opened.fileno()
        self._heard_s = time.monotonic()

    def unanswered(self) -> list[Rows]:
        """The rows whose answers are still to come."""
        return list(self._waiting)

    def send(self, pieces: Iterable[Bytes], rows: Rows) -> int:
        """Send commands, all of them; the number of their bytes. `rows` are what the answers will be about.

        Answers that come meanwhile are settled. Raises LostError, TargetError (nonsense) and StoppedError.
        """
        self._waiting.append(rows)
        total = 0
        for piece in pieces:
            view = memoryview(piece)
            total += len(view)
            while view:
                view = view[self._send_some(view) :]
        self._hear()
        return total

    def finish(self) -> None:
        """Wait until everything is answered. Raises what `send` raises."""
        while self._waiting:
            if not self._hear():
                self._wait(select.POLLIN)

    def close(self) -> None:
        """Close at once; never raises."""
        self._socket.close()

    def _send_some(self, view: memoryview) -> int:
        try:
            sent = int(self._socket.send(view[:_SEND_BYTES]))
        except _BLOCKED:
            if not self._hear():
                self._wait(select.POLLIN | select.POLLOUT)
            return 0
        except OSError as error:
            # What the server said before it closed tells why.
            self._hear_the_last()
            raise self._lost(error) from error
        self._heard_s = time.monotonic()
        return sent

    def _hear(self) -> bool:
        """Settle what has arrived; False if nothing had."""
        try:
            data = self._socket.recv(_READ_BYTES)
        except _BLOCKED:
            return False
        except OSError as error:
            raise self._lost(error) from error
        if not data:
            raise self._lost(None)
        self._heard_s = time.monotonic()
        for answer in self._answers.feed(data):
            if isinstance(answer, str):
                self._settle_next(1, answer)
            else:
                self._settle_next(answer, None)
        return True

    def _hear_the_last(self) -> None:
        try:
            while self._hear():
                pass
        except LostError:
            return

    def _settle_next(self, count: int, words: str | None) -> None:
        while count:
            if not self._waiting:
                raise TargetError(
                    f"{self._place} answered more than it was asked",
                    remedy="check that nothing stands between us and the server that rewrites what it says",
                )
            rows = self._waiting.popleft()
            if len(rows) > count:
                self._waiting.appendleft(rows[count:])
                rows = rows[:count]
            count -= len(rows)
            self._settle(rows, words)

    def _wait(self, events: int) -> None:
        silent_s = time.monotonic() - self._heard_s
        if self._stop is not None and self._stop.is_set() and silent_s > _GRACE_S:
            raise StoppedError(f"{self._place}: stopped")
        if silent_s > self._patience_s:
            raise LostError(
                f"{self._place} neither took nor answered anything for {self._patience_s:.0f} s",
                remedy="see whether it hangs; if it is only slow, allow more with --timeout",
            )
        self._poll.register(self._descriptor, events)
        self._poll.poll(_SLICE_S * 1_000)

    def _lost(self, error: OSError | None) -> LostError:
        why = (error.strerror or str(error)) if error is not None else "closed by the server"
        return LostError(f"the connection to {self._place} is lost: {why}", remedy="run the same command again")
