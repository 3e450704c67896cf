"""What threads share ends them all."""

from __future__ import annotations

from unittest.mock import sentinel

import pytest

from rdbmerge.errors import StoppedError
from rdbmerge.format.commands import RestoreForm
from rdbmerge.format.rebuild import Vocabulary
from rdbmerge.steps.restoring.work import Work
from rdbmerge.targets.server_pacing import Brake, Pace

pytestmark = pytest.mark.once


def test_a_stop_ends_pauses_and_waits() -> None:
    brake = Brake(0, 0)
    brake.pause_s = 3_600
    work = Work(
        servers=sentinel.servers, watch=sentinel.watch, form=RestoreForm(absolute=True), words=Vocabulary(),
        on_busy="fail", big_bytes=1, most_bulk_bytes=1, modules=None, unlinks=True, pace=Pace(brake=brake),
        retry_for_s=3_600, say=lambda _: None,
    )  # fmt: skip
    work.check_stop()
    work.stop.set()
    work.pause(1, 1)  # at once
    with pytest.raises(StoppedError):
        work.check_stop()
    with pytest.raises(StoppedError):
        work.patience().wait("why", "")
