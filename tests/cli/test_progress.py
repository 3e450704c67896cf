from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

from rdbmerge.cli.progress import (
    Done,
    DoneLines,
    PullBars,
    PullLines,
    amount,
    bytes_progress,
    end_line,
    pull_progress,
    sum_progress,
)
from rdbmerge.steps.pull_one import PullStatus

MB = 1 << 20


def test_lines_tell_each_phase_and_at_most_one_a_second() -> None:
    lines, now = list[str](), [0.0]
    tell = PullLines(lines.append, clock=lambda: now[0])
    tell(PullStatus("a", "connect"))
    tell(PullStatus("a", "wait"))  # at once: not worth a line
    now[0] = 2.0
    tell(PullStatus("a", "wait"))
    for tenth in range(31):
        now[0] = 3.0 + tenth / 10
        tell(PullStatus("a", "transfer", (tenth + 1) * MB, 100 * MB))
    tell(PullStatus("a", "pulled", 100 * MB, 100 * MB))
    assert lines == [
        "a: connecting",
        "a: waiting for its snapshot",
        "a: receiving, 1.0 MB of 100.0 MB",
        "a: receiving, 11.0 MB of 100.0 MB, 10.0 MB/s, 9s left",
        "a: receiving, 21.0 MB of 100.0 MB, 10.0 MB/s, 8s left",
        "a: receiving, 31.0 MB of 100.0 MB, 10.0 MB/s, 7s left",
        "a: pulled and checked, 100.0 MB",
    ]


def test_each_source_has_lines_of_its_own() -> None:
    lines = list[str]()
    tell = PullLines(lines.append, clock=lambda: 0.0)
    for name in "ab":
        tell(PullStatus(name, "connect"))
        tell(PullStatus(name, "transfer", 5, None))
    assert lines == ["a: connecting", "b: connecting"]


def test_a_long_wait_is_told_twice_a_minute() -> None:
    lines, now = list[str](), [0.0]
    tell = PullLines(lines.append, clock=lambda: now[0])
    for second in range(61):
        now[0] = float(second)
        tell(PullStatus("a", "wait"))
    assert lines == ["a: waiting for its snapshot"] * 3


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (PullStatus("a", "pulled", 1024, 1024, "--force"), "a: pulled and checked, 1.0 KB (--force)"),
        (PullStatus("a", "skipped", text="the same"), "a: unchanged, not pulled again (the same)"),
        (PullStatus("a", "failed", text="why"), "a: failed"),
    ],
)
def test_how_a_source_ends(status: PullStatus, line: str) -> None:
    assert end_line(status) == line


def test_amounts_tell_what_is_known() -> None:
    assert amount(0, None, None) == ""
    assert amount(512, None, None) == "512 B"
    assert amount(MB, 3 * MB, None) == "1.0 MB of 3.0 MB"
    assert amount(MB, None, MB / 2) == "1.0 MB, 512.0 KB/s"


def test_a_bar_stands_for_each_source_at_work() -> None:
    screen = io.StringIO()
    bars = Progress(console=Console(file=screen, width=120))
    tell = PullBars(bars)
    tell(PullStatus("a[b]", "connect"))
    tell(PullStatus("c", "transfer", 5, 10))
    tell(PullStatus("c", "check", 2, 10))
    assert [(task.description, task.completed, task.total) for task in bars.tasks] == [("a[b]", 0, None), ("c", 2, 10)]
    tell(PullStatus("a[b]", "pulled", 1, 1))
    tell(PullStatus("d", "skipped", text="same"))
    assert [task.description for task in bars.tasks] == ["c"]
    assert screen.getvalue() == "a[b]: pulled and checked, 1 B\nd: unchanged, not pulled again (same)\n"


def test_quiet_is_silent_and_a_pipe_gets_lines(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pull_progress(True) as nothing, bytes_progress(False) as none, sum_progress(False, "x", [tmp_path]) as also:
        assert nothing is none is also is None
    with pull_progress(False) as tell:
        assert tell is not None
        tell(PullStatus("a", "connect"))
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "a: connecting\n")


def test_what_goes_over_a_network_is_told_now_and_then() -> None:
    now, said = [0.0], list[str]()
    lines = DoneLines(said.append, clock=lambda: now[0])
    lines(Done("scan", 1, 2))
    now[0] = 5.0
    lines(Done("upload", 0, 4 << 20))
    now[0] = 14.9
    lines(Done("upload", 2 << 20, 4 << 20))
    assert said == []
    now[0] = 15.0
    lines(Done("upload", 1 << 20, 4 << 20))
    assert said == ["upload: 1.0 MB of 4.0 MB, 102.4 KB/s, 30s left"]
    now[0] = 20.0
    lines(Done("upload", 4 << 20, 4 << 20))
    assert len(said) == 1


def test_lines_are_for_who_wants_them() -> None:
    with (
        bytes_progress(False) as none,
        bytes_progress(True, lines=True) as quiet,
        bytes_progress(False, lines=True) as some,
    ):
        assert none is None
        assert quiet is None
        assert isinstance(some, DoneLines)
