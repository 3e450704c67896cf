"""The checkpoint: never says more than is true, and belongs to one plan and one target."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from merging import NOW_MS, opened
from rdbbytes import entry, rdb, select

from rdbmerge.errors import DiskError, UsageError
from rdbmerge.steps.restoring.checkpoint import Checkpoint, Keeper, PartDone, plan_fingerprint, read_checkpoint

pytestmark = pytest.mark.once


def part(source: int, start: int, position: int) -> PartDone:
    return PartDone(source=source, start=start, position=position, restored=position - start)


def test_what_was_noted_is_read_again_and_private(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    keeper = Keeper(path, Checkpoint(plan="p", target="t", on_busy="fail"))
    keeper.note(part(0, 9, 50), {"t": "abc"}, 7)
    keeper.note(part(0, 9, 60), {"t": "abc"}, 8)
    keeper.write()
    found = read_checkpoint(path, plan="p", target="t", on_busy="fail")
    assert found is not None
    assert (found.parts, found.run_ids, found.rejected_bytes) == ([part(0, 9, 60)], {"t": "abc"}, 8)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["c.json"]
    again = Keeper(path, found)
    assert again.done(0, 9) == part(0, 9, 60)
    assert again.done(1, 9) is None
    again.forget({}, 0)
    assert read_checkpoint(path, plan="p", target="t", on_busy="fail") == Checkpoint(
        plan="p", target="t", on_busy="fail"
    )
    assert read_checkpoint(path, plan="p", target="t", on_busy="skip") is not None, "the user may change his mind"


def test_a_finished_one_is_known_again_and_bars_no_other(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    keeper = Keeper(path, Checkpoint(plan="p", target="t", on_busy="fail"))
    keeper.note(part(0, 9, 50), {"t": "abc"}, 0)
    keeper.finish()
    found = read_checkpoint(path, plan="p", target="t", on_busy="fail")
    assert found is not None
    assert (found.finished, found.parts) == (True, [part(0, 9, 50)])
    for plan, target, on_busy in (("q", "t", "fail"), ("p", "u", "fail"), ("p", "t", "skip")):
        assert read_checkpoint(path, plan=plan, target=target, on_busy=on_busy) is None
    Keeper(path, found).note_servers({})
    begun = read_checkpoint(path, plan="p", target="t", on_busy="fail")
    assert begun is not None
    assert not begun.finished


def test_notes_of_many_threads_are_all_kept(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path / "c.json", Checkpoint(plan="p", target="t", on_busy="fail"))
    threads = [
        threading.Thread(target=lambda n=n: [keeper.note(part(n, at, at + 1), {}, 0) for at in range(50)])  # type: ignore[misc]
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keeper.parts) == 400


@pytest.mark.parametrize(("plan", "target", "what"), [("q", "t", "plan"), ("p", "u", "target")])
def test_one_of_another_restore_is_refused(plan: str, target: str, what: str, tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    Keeper(path, Checkpoint(plan="p", target="t", on_busy="fail")).write()
    with pytest.raises(UsageError, match=f"of another {what}"):
        read_checkpoint(path, plan=plan, target=target, on_busy="fail")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"checkpoint_format": 2}', "\x00"])
def test_what_is_none_is_told(text: str, tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text(text)
    with pytest.raises(UsageError, match="no checkpoint of this version"):
        read_checkpoint(path, plan="p", target="t", on_busy="fail")


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="cannot write the checkpoint"):
        Keeper(tmp_path / "none" / "c.json", Checkpoint(plan="p", target="t", on_busy="fail")).write()
    with pytest.raises(UsageError, match="cannot read"):
        read_checkpoint(tmp_path, plan="p", target="t", on_busy="fail")


def test_plans_that_restore_the_same_have_one_fingerprint(tmp_path: Path) -> None:
    with opened(tmp_path, rdb(9, select(0), entry(b"k"))) as files:
        one, other = files.plan(), files.plan(key_prefix=b"p:")
    later = one.model_copy(update={"created_at_ms": NOW_MS + 5})
    assert plan_fingerprint(one) == plan_fingerprint(later) != plan_fingerprint(other)
