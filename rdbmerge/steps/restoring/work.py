"""What the threads of a restore share: servers, pace, the wishes of the user; and the fates that entries have."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from rdbmerge.errors import StoppedError
from rdbmerge.format.commands import RestoreForm
from rdbmerge.format.rebuild import Vocabulary
from rdbmerge.steps.restoring.watch import Patience, Say, Watch
from rdbmerge.targets.server_cluster import Servers
from rdbmerge.targets.server_pacing import Pace

PENDING, RESTORED, SKIPPED, REJECTED, EXPIRED, LEFT_OUT = range(6)  # fates of entries

OnBusy = Literal["fail", "skip", "replace"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One restore. `stop` ends all threads, whoever sets it."""

    servers: Servers
    watch: Watch
    form: RestoreForm
    words: Vocabulary
    on_busy: OnBusy
    big_bytes: int  # larger values are sent item by item
    most_bulk_bytes: int  # what the servers take at once
    modules: frozenset[str] | None  # loaded ones, where a value of any other would end the server (4.0 to 6.0)
    unlinks: bool  # whether large keys can be deleted without blocking the server
    pace: Pace
    retry_for_s: float
    say: Say
    count_bytes: Callable[[int], None] = lambda _: None
    stop: threading.Event = field(default_factory=threading.Event)

    def patience(self) -> Patience:
        """To wait with, when nothing goes on."""
        return Patience(self.retry_for_s, self.stop, self.say)

    def pause(self, commands: int, size_bytes: int) -> None:
        """After sending: as long as the limits and the target want."""
        pause_s = self.pace.after(commands, size_bytes)
        if pause_s > 0:
            self.stop.wait(pause_s)

    def check_stop(self) -> None:
        """Raise StoppedError once the work is to end."""
        if self.stop.is_set():
            raise StoppedError("stopped")
