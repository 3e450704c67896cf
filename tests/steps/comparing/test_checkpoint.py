"""What is saved of a comparison, and when it is not taken up."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from rdbmerge.errors import DiskError, UsageError
from rdbmerge.steps.comparing.checkpoint import CheckpointFile
from rdbmerge.verify.live_tally import LiveTally

pytestmark = pytest.mark.once


def counted(asked: int) -> LiveTally:
    tally = LiveTally()
    tally.line(0).asked = asked
    return tally


def test_what_was_done_is_there_again_with_the_seed_of_the_first_run(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    first = CheckpointFile.opened(path, "mark", 1_000)
    first.note(3, counted(5))
    first.note(0, counted(7))
    first.save()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    second = CheckpointFile.opened(path, "mark", 2_000)
    assert second.state.done == [3, 0]
    assert second.state.tally.line(0).asked == 12
    assert (second.state.seed, second.state.started_at_ms) == (1_000, [1_000, 2_000])
    second.remove()
    assert not path.exists()
    second.remove()


def test_without_a_file_nothing_is_saved() -> None:
    one = CheckpointFile.opened(None, "mark", 1)
    one.note(0, counted(1))
    one.save()
    one.remove()
    assert one.state.done == [0]


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"checkpoint_format": 1, "fingerprint": "mark"}'])
def test_what_is_no_checkpoint_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "c").write_text(text)
    with pytest.raises(UsageError, match="is not a checkpoint of a comparison"):
        CheckpointFile.opened(tmp_path / "c", "mark", 1)


def test_another_comparisons_is_refused_and_a_folder_that_is_not_there(tmp_path: Path) -> None:
    CheckpointFile.opened(tmp_path / "c", "mark", 1).save()
    with pytest.raises(UsageError, match="checkpoint of another comparison"):
        CheckpointFile.opened(tmp_path / "c", "other mark", 1)
    with pytest.raises(DiskError, match="cannot write"):
        CheckpointFile.opened(tmp_path / "none" / "c", "mark", 1).save()
