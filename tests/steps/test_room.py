"""Room on disks: what is needed at least and at most, step after step."""

from __future__ import annotations

from pathlib import Path

import pytest

from rdbmerge.preflight import Outcome
from rdbmerge.steps import room
from rdbmerge.steps.room import Need, need_of, room_checks

pytestmark = pytest.mark.once


@pytest.fixture(autouse=True)
def _small_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_free_bytes", lambda _: 1_000)


def outcomes(*needs: Need) -> list[Outcome]:
    return [check.outcome for check in room_checks(needs)]


@pytest.mark.parametrize(
    ("least", "most", "outcome"),
    [(0, 1_000, Outcome.OK), (1_000, 1_001, Outcome.WARNING), (1_001, 1_001, Outcome.FAILED)],
)
def test_what_is_needed_is_held_against_what_is_free(tmp_path: Path, least: int, most: int, outcome: Outcome) -> None:
    assert outcomes(Need("pull", tmp_path, least, most)) == [outcome]


def test_steps_on_one_disk_add_up(tmp_path: Path) -> None:
    pull, merge = Need("pull", tmp_path / "not" / "there", 600, 600), Need("merge", tmp_path, 600, 600)
    first, second = room_checks([pull, merge])
    assert (first.outcome, second.outcome) == (Outcome.OK, Outcome.FAILED)
    assert second.finding == f"600 B needed, 600 B by the steps before, 1000 B free in {tmp_path}"


def test_of_a_server_only_the_memory_is_known(tmp_path: Path) -> None:
    need = need_of("pull", tmp_path, files_bytes=100, memory_bytes=1_000)
    assert (need.least_bytes, need.most_bytes) == (350, 1_100)
    assert room_checks([need])[0].finding.startswith("at most 1.1 KB needed")


def test_the_real_disk_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()
    assert outcomes(Need("pull", tmp_path, 1, 1), Need("merge", tmp_path, 1 << 60, 1 << 60)) == [
        Outcome.OK, Outcome.FAILED,
    ]  # fmt: skip
