"""Finding RDB files, opening them under names that tell them apart, and noticing when one changes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from rdbbytes import entry, rdb, select

from rdbmerge.errors import FormatError, TruncatedError, UsageError
from rdbmerge.format.columns import Columns
from rdbmerge.snapshot.segment import Segment, find_rdb_files, open_segments

DATA = rdb(9, select(0), *(entry(b"k%d" % n) for n in range(10)), select(3), entry(b"z"))


def put(folder: Path, *names: str, data: bytes = DATA) -> list[Path]:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return [folder / name for name in names]


def test_a_folder_means_its_rdb_files_by_name(tmp_path: Path) -> None:
    put(tmp_path, "b.rdb", "a.rdb", "a.rdb.index", "notes.txt", ".hidden.rdb.partial", "deep/c.rdb")
    (tmp_path / "folder.rdb").mkdir()
    assert find_rdb_files([tmp_path]) == [tmp_path / "a.rdb", tmp_path / "b.rdb"]


def test_the_order_is_the_one_that_was_given(tmp_path: Path) -> None:
    paths = put(tmp_path, "z.rdb", "in/b.rdb", "in/a.rdb", "dump.bin")
    assert find_rdb_files([paths[0], tmp_path / "in", paths[3]]) == [paths[0], paths[2], paths[1], paths[3]]


def test_what_cannot_be_found_is_said_with_what_to_do(tmp_path: Path) -> None:
    (one,) = put(tmp_path, "a.rdb")
    (tmp_path / "empty").mkdir()
    (tmp_path / "again").symlink_to(one)
    for paths, message, remedy in [
        ([tmp_path / "empty"], f"{tmp_path / 'empty'} holds no .rdb files", "rdbmerge pull"),
        ([tmp_path / "none.rdb"], f"{tmp_path / 'none.rdb'} is not there", "check the path"),
        ([one, tmp_path / "." / "a.rdb"], "is named twice: its keys would all conflict", "once"),
        ([one, tmp_path / "again"], "is named twice: its keys would all conflict", "once"),
        ([one, tmp_path], "is named twice: its keys would all conflict", "once"),
    ]:
        with pytest.raises(UsageError) as refused:
            find_rdb_files(paths)
        assert message in str(refused.value)
        assert remedy in refused.value.remedy
        assert refused.value.exit_code == 2


def test_files_of_one_name_are_told_apart_by_their_paths(tmp_path: Path) -> None:
    paths = put(tmp_path, "one/dump.rdb", "two/dump.rdb")
    with open_segments(paths) as segments:
        assert [segment.name for segment in segments] == [str(path) for path in paths]
    with open_segments(put(tmp_path, "a.rdb", "b.rdb")) as segments:
        assert [segment.name for segment in segments] == ["a.rdb", "b.rdb"]


def test_when_one_file_is_bad_the_others_are_closed(tmp_path: Path) -> None:
    good, bad = put(tmp_path, "good.rdb", "bad.rdb")
    bad.write_bytes(b"nonsense!")
    open_files = Path("/proc/self/fd")
    before = len(list(open_files.iterdir())) if open_files.exists() else 0
    for _ in range(5):
        with pytest.raises(FormatError, match=r"bad\.rdb at byte 0"), open_segments([good, bad]):
            pass
    if before:
        assert len(list(open_files.iterdir())) == before


def test_an_error_carries_the_name_of_the_file_once(tmp_path: Path) -> None:
    (path,) = put(tmp_path, "cut.rdb", data=DATA[:-3])
    with Segment(path) as segment, pytest.raises(TruncatedError) as caught:
        list(segment.walk())
    assert str(caught.value).startswith("cut.rdb at byte ")
    assert str(caught.value).count("cut.rdb") == 1


def test_an_empty_file_is_truncated(tmp_path: Path) -> None:
    (path,) = put(tmp_path, "empty.rdb", data=b"")
    with pytest.raises(TruncatedError, match=r"empty\.rdb at byte 0: the file is empty"):
        Segment(path)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file") as refused:
        Segment(tmp_path / "none.rdb")
    assert refused.value.remedy == "check the path"
    with pytest.raises(UsageError, match="Is a directory"):
        Segment(tmp_path)


def test_a_part_is_walked_as_the_whole_would_be(tmp_path: Path) -> None:
    (path,) = put(tmp_path, "a.rdb")
    with Segment(path) as segment:
        whole = next(item for item in segment.walk() if isinstance(item, Columns))
        start, stop = int(whole.entry_start[2]), int(whole.end[6])
        batches = list(segment.walk_part(start, stop, 0, columns=Columns()))
        assert [batch.rows for batch in batches] == [5]
        assert batches[0].key(segment.view, 0) == b"k2"


def test_a_change_on_disk_is_noticed(tmp_path: Path) -> None:
    (path,) = put(tmp_path, "a.rdb")
    with Segment(path) as segment:
        segment.check_unchanged()
        os.utime(path, ns=(1, 1))
        with pytest.raises(UsageError, match="changed while it was being read"):
            segment.check_unchanged()
        path.write_bytes(DATA + b"x")
        with pytest.raises(UsageError, match="changed"):
            segment.check_unchanged()
        path.unlink()
        with pytest.raises(UsageError, match="went away") as gone:
            segment.check_unchanged()
        assert gone.value.remedy


def test_a_file_that_was_replaced_stays_readable_while_it_is_open(tmp_path: Path) -> None:
    """Servers rename a new file into place: the old one is whole until it is closed."""
    (path, new) = put(tmp_path, "a.rdb", "new")
    with Segment(path) as segment:
        new.replace(path)
        assert sum(item.rows for item in segment.walk() if isinstance(item, Columns)) == 11


def test_closing_waits_for_arrays_that_still_look(tmp_path: Path) -> None:
    (path,) = put(tmp_path, "a.rdb")
    segment = Segment(path)
    array = np.frombuffer(segment.view, np.uint8)
    segment.close()
    assert array[:5].tobytes() == b"REDIS"
