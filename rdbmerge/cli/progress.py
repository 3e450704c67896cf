"""Progress on stderr: bars on a terminal, plain lines elsewhere, nothing with --quiet.

Knows where work stands only by the values it is told.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import click

from rdbmerge.units import format_bytes, format_duration_ms

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from rdbmerge.steps.pull_one import PullStatus

_LINE_EVERY_S = 1.0
_WAITING_LINE_EVERY_S = 30.0  # a snapshot of a large server takes minutes to be made
_DONE_LINE_EVERY_S = 10.0
_ENDS = ("pulled", "skipped", "failed")
_DOING = {"connect": "connecting", "wait": "waiting for its snapshot", "transfer": "receiving", "check": "checking"}


class BytesDone(Protocol):
    """How far a phase of the work on files is."""

    @property
    def phase(self) -> str:
        """What is being done."""

    @property
    def done_bytes(self) -> int:
        """Bytes behind us."""

    @property
    def total_bytes(self) -> int:
        """Bytes in all."""


class Done(NamedTuple):
    """A BytesDone."""

    phase: str
    done_bytes: int
    total_bytes: int


@contextmanager
def pull_progress(quiet: bool) -> Iterator[Callable[[PullStatus], None] | None]:
    """What to tell the states of sources to."""
    if quiet:
        yield None
    elif not sys.stderr.isatty():
        yield PullLines(lambda line: click.echo(line, err=True))
    else:
        with _rich_bars() as bars:
            yield PullBars(bars)


@contextmanager
def bytes_progress(quiet: bool, *, lines: bool = False) -> Iterator[Callable[[BytesDone], None] | None]:
    """What to tell phases of work to. Work on files is short, and shown on a terminal only; what goes over a network is
    not, and where there is no terminal it gets `lines`."""
    if quiet or not sys.stderr.isatty():
        yield DoneLines(lambda line: click.echo(line, err=True)) if lines and not quiet else None
        return
    with _rich_bars() as bars:
        tasks: dict[str, TaskID] = {}

        def tell(status: BytesDone) -> None:
            if status.phase not in tasks:
                tasks[status.phase] = bars.add_task(status.phase, total=None, doing="")
            bars.update(tasks[status.phase], completed=status.done_bytes, total=status.total_bytes)

        yield tell


@contextmanager
def sum_progress(
    quiet: bool, phase: str, files: Sequence[Path], *, lines: bool = False
) -> Iterator[Callable[[int], None] | None]:
    """Like `bytes_progress` for work that tells, from several threads, how many bytes of `files` it has read more."""
    with bytes_progress(quiet, lines=lines) as tell:
        if tell is None:
            yield None
            return
        total = sum(_size(path) for path in files)
        lock, done = threading.Lock(), 0

        def add(more_bytes: int) -> None:
            nonlocal done
            with lock:
                done += more_bytes
                tell(Done(phase, done, max(total, done)))

        yield add


class DoneLines:
    """How far a phase is, every ten seconds. Told one state at a time."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._clock = clock
        self._phase = ""
        self._began_s = self._next_s = 0.0

    def __call__(self, status: BytesDone) -> None:
        """Say it, if it is time to."""
        now_s = self._clock()
        if status.phase != self._phase:
            self._phase, self._began_s, self._next_s = status.phase, now_s, now_s + _DONE_LINE_EVERY_S
        elif now_s >= self._next_s:
            self._next_s = now_s + _DONE_LINE_EVERY_S
            self._say(f"{status.phase}: {rate_line(status.done_bytes, status.total_bytes, now_s - self._began_s)}")


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(file.stat().st_size for file in path.glob("*.rdb"))
    return path.stat().st_size if path.is_file() else 0


def _rich_bars() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Amount(ProgressColumn):
        """Bytes, of how many, and how fast: in the units of every other output."""

        def render(self, task: Task) -> Text:
            return Text(amount(int(task.completed), None if task.total is None else int(task.total), task.speed))

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        Amount(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[doing]}", markup=False),
        console=Console(stderr=True, highlight=False),
        transient=True,
    )


class PullBars:
    """A bar for each source that is at work; a line above the bars for each that has ended."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._phases: dict[str, str] = {}

    def __call__(self, status: PullStatus) -> None:
        """Show it."""
        name = status.source
        if status.phase in _ENDS:
            if name in self._tasks:
                self._bars.remove_task(self._tasks.pop(name))
            self._bars.console.print(end_line(status), markup=False, highlight=False, soft_wrap=True)
            return
        changes: dict[str, Any] = {"doing": _DOING[status.phase]}
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=None, **changes)
        # A new phase has a new speed.
        move = self._bars.update if self._phases.get(name) == status.phase else self._bars.reset
        self._phases[name] = status.phase
        move(self._tasks[name], completed=status.done_bytes, total=status.total_bytes, **changes)


class PullLines:
    """Lines: each change of a source's phase, and at most one a second while bytes come."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._clock = clock
        self._phases: dict[str, str] = {}
        self._began: dict[str, tuple[float, int]] = {}
        self._next: dict[str, float] = {}  # when a new phase may be told
        self._again: dict[str, float] = {}  # when the same one may be told again

    def __call__(self, status: PullStatus) -> None:
        """Say it, if it is time to."""
        name, now = status.source, self._clock()
        if status.phase in _ENDS:
            self._say(end_line(status))
            return
        if self._phases.get(name) != status.phase:
            first = name not in self._phases
            self._phases[name] = status.phase
            self._began[name] = (now, status.done_bytes)
            # Phases that pass in less than a second are not worth a line each.
            if not first and now < self._next.get(name, now):
                self._again[name] = self._next[name]
                return
        elif now < self._again.get(name, now):
            return
        waits = status.phase in ("connect", "wait")
        self._next[name] = now + _LINE_EVERY_S
        self._again[name] = now + (_WAITING_LINE_EVERY_S if waits else _LINE_EVERY_S)
        self._say(f"{name}: {_DOING[status.phase]}{self._amount(status, now)}")

    def _amount(self, status: PullStatus, now: float) -> str:
        began, at = self._began[status.source]
        text = rate_line(status.done_bytes, status.total_bytes, now - began, at)
        return f", {text}" if text else ""


def amount(done_bytes: int, total_bytes: int | None, bytes_per_s: float | None) -> str:
    """`1.5 MB of 3.0 MB, 1.0 MB/s`, as far as it is known."""
    if not done_bytes and not total_bytes:
        return ""
    text = format_bytes(done_bytes)
    if total_bytes:
        text += f" of {format_bytes(total_bytes)}"
    return f"{text}, {format_bytes(bytes_per_s)}/s" if bytes_per_s else text


def rate_line(done_bytes: int, total_bytes: int | None, since_s: float, at_bytes: int = 0) -> str:
    """`amount`, at the speed since there were `at_bytes`, with the time that is left."""
    speed = (done_bytes - at_bytes) / since_s if since_s >= 1 else None
    text = amount(done_bytes, total_bytes, speed)
    if speed and speed > 0 and total_bytes and total_bytes - done_bytes >= speed:
        left_s = round((total_bytes - done_bytes) / speed)
        text += f", {format_duration_ms(left_s * 1_000)} left"
    return text


def end_line(status: PullStatus) -> str:
    """How a source ended."""
    if status.phase == "pulled":
        why = f" ({status.text})" if status.text else ""
        return f"{status.source}: pulled and checked, {format_bytes(status.done_bytes)}{why}"
    if status.phase == "skipped":
        return f"{status.source}: unchanged, not pulled again ({status.text})"
    return f"{status.source}: failed"
