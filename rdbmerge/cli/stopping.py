"""Ctrl-C and SIGTERM become an event that the work looks at; a second Ctrl-C does not wait."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

import click

from rdbmerge.errors import StoppedError

Status = TypeVar("Status")


@contextmanager
def stoppable() -> Iterator[threading.Event]:
    """An event that is set by the first SIGINT or SIGTERM inside."""
    stop = threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        click.echo("Stopping...", err=True)

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stopping(progress: Callable[[Status], None] | None, stop: threading.Event) -> Callable[[Status], None]:
    """`progress`, ending the work that calls it once `stop` is set."""

    def tell(status: Status) -> None:
        if stop.is_set():
            raise StoppedError("stopped; nothing was left behind")
        if progress:
            progress(status)

    return tell
