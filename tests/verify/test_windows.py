"""Windows of any size show what the whole file shows, wherever they cut."""

from __future__ import annotations

from pathlib import Path

import pytest
from rdbbytes import aux, entry, function, idle, rdb, record, resize, select, string

from rdbmerge.errors import FormatError, TruncatedError, UsageError
from rdbmerge.format.columns import Columns
from rdbmerge.format.records import End, Function
from rdbmerge.snapshot.segment import Segment
from rdbmerge.verify import windows
from rdbmerge.verify.windows import ENTRIES, FileWalk, Window, reading

Seen = tuple[list[object], list[tuple[int, bytes, int, int]]]


def rows(view: memoryview, batch: Columns, shift: int) -> list[tuple[int, bytes, int, int]]:
    return [
        (batch.db, batch.key(view, row), int(batch.entry_start[row]) + shift, int(batch.end[row]) + shift)
        for row in range(batch.rows)
    ]


def whole(segment: Segment) -> Seen:
    seen: Seen = ([], [])
    for item in segment.walk():
        if isinstance(item, Columns):
            seen[1].extend(rows(segment.view, item, 0))
        else:
            seen[0].append(item)
    return seen


def windowed(segment: Segment, size: int) -> tuple[Seen, FileWalk]:
    seen: Seen = ([], [])
    walk = FileWalk(segment)
    with reading(segment) as file:
        while not (seen[0] and isinstance(seen[0][-1], End)):
            for item in walk.walk(file, Window(size), Columns(7)):
                if isinstance(item, Columns):
                    seen[1].extend(rows(walk.window.view, item, walk.window.shift))
                else:
                    seen[0].append(item)
    return seen, walk


@pytest.mark.parametrize("size", [24, 100, 1000, 1 << 20])
@pytest.mark.parametrize("name", ["all_types", "cluster", "sync", "lru", "expired", "empty"])
def test_windows_show_what_the_whole_shows(golden: Path, name: str, size: int) -> None:
    for folder in ("2.8.24", "3.0.7", "5.0.14", "7.4.1", "valkey-8.1.1", "valkey-9.1.2"):
        path = golden / folder / f"{name}.rdb"
        if path.exists():
            with Segment(path) as segment:
                seen, walk = windowed(segment, size)
                assert seen == whole(segment)
                _, at_once = windowed(segment, 1 << 24)
                records = [step for step in walk.steps if step.opcode != ENTRIES]
                assert records == [step for step in at_once.steps if step.opcode != ENTRIES]


ODD = rdb(
    12, aux(b"a", b"b"), function(b"#!lua name=x\n"), select(2), entry(b"k1"), aux(b"between", b"keys" * 9),
    record(0, b"k2", string(b"v" * 50), attributes=idle(1)), aux(b"more", b"of it"), entry(b"k3"), select(3),
    resize(1, 0), entry(b"k4", b"w" * 300), select(4),
)  # fmt: skip


@pytest.mark.parametrize("size", range(1, 120))
def test_no_cut_loses_or_doubles_anything(tmp_path: Path, size: int) -> None:
    path = tmp_path / "odd.rdb"
    path.write_bytes(ODD)
    with Segment(path) as segment:
        seen, walk = windowed(segment, size)
        assert seen == whole(segment)
        assert sum(isinstance(record, Function) for record in seen[0]) == 1
    offsets = [step.offset for step in walk.steps if step.opcode != ENTRIES]
    assert offsets == sorted(set(offsets))


@pytest.mark.parametrize("size", [5, 30, 200])
def test_a_file_cut_short_says_where(tmp_path: Path, size: int) -> None:
    path = tmp_path / "cut.rdb"
    for length in range(9, len(ODD), 7):
        path.write_bytes(ODD[:length])
        with Segment(path) as segment:
            with pytest.raises(TruncatedError) as expected:
                whole(segment)
            with pytest.raises(TruncatedError) as found:
                windowed(segment, size)
            assert found.value.finding == expected.value.finding
            assert found.value.offset == expected.value.offset


def test_damage_is_told_with_its_place_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "bad.rdb"
    path.write_bytes(rdb(9, select(0), *(entry(b"k%d" % i) for i in range(40)), b"\x63"))
    with Segment(path) as segment, pytest.raises(FormatError) as found:
        windowed(segment, 64)
    assert found.value.offset == path.stat().st_size - 10


def test_a_part_in_a_window_is_the_part_in_the_mapping(tmp_path: Path) -> None:
    path = tmp_path / "a.rdb"
    path.write_bytes(rdb(9, select(1), *(entry(b"k%d" % i) for i in range(40))))
    with Segment(path) as segment, reading(segment) as file:
        ((view, batch),) = windows.walk_part(segment, file, Window(64), 11, 11 + 48, 1, Columns())
        small = rows(view, batch, 10)
        ((view, batch),) = windows.walk_part(segment, file, Window(8), 11, 11 + 48, 1, Columns())
        assert small == rows(view, batch, 0)


def test_a_file_that_was_replaced_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.rdb"
    path.write_bytes(ODD)
    with Segment(path) as segment:
        path.unlink()
        path.write_bytes(ODD + b"x")
        with pytest.raises(UsageError, match="changed"), reading(segment):
            pass
