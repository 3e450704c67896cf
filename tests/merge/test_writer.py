"""The merged file is what the plan says, and it is there whole or not at all, whatever happens."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from merging import NOW_MS, check_output, merged, planned, saved
from rdbbytes import entry, expiry, function, pairs, rdb, record, resize, select, string, strings
from writing import big, started, wait_for

from rdbmerge.errors import DiskError, LedgerError, StoppedError, UsageError
from rdbmerge.merge.writer import partial_path, write_plan
from rdbmerge.plan.model import Policy
from rdbmerge.snapshot.segment import Segment
from rdbmerge.steps.merge import PlannedMerge

HOUR = 3_600_000
AT = 2_000_000_000_000
ONE = rdb(9, select(0), resize(2, 1), entry(b"a", expire_at_ms=AT), entry(b"b", b"x" * 100), select(2), entry(b"c"))
TWO = rdb(11, function(b"#!lua name=lib\nreturn 1"), select(0), entry(b"b"), record(4, b"h", pairs({b"f": b"v"})))


@pytest.fixture
def merge(tmp_path: Path) -> Iterator[PlannedMerge]:
    with planned(saved(tmp_path, ONE, TWO), on_conflict=Policy.LAST, ttl_offset_ms=HOUR) as one:
        yield one


def write(merge: PlannedMerge, output: Path, *, jobs: int = 2, **options: object) -> int:
    return write_plan(merge.plan, merge.segments, output, jobs=jobs, **options)  # type: ignore[arg-type]


def beside(output: Path) -> set[str]:
    """What lies in the folder that no source is."""
    return {path.name for path in output.parent.iterdir()} - {"a.rdb", "b.rdb", "a.rdb.index", "b.rdb.index"}


def test_the_merged_file_holds_what_the_plan_says(merge: PlannedMerge, tmp_path: Path) -> None:
    output = tmp_path / "out.rdb"
    crc = write(merge, output)
    found = check_output(merge.plan, output)
    assert {place: entry.payload for place, entry in found.items()} == {
        (0, b"a"): string(b"v"),
        (0, b"b"): string(b"v"),
        (0, b"h"): pairs({b"f": b"v"}),
        (2, b"c"): string(b"v"),
    }
    assert found[0, b"a"].expire_at_ms == AT + HOUR
    with Segment(output) as segment:
        assert int.from_bytes(segment.view[-8:], "little") == crc
    assert beside(output) == {"out.rdb", "out.rdb.index"}


def test_the_number_of_hands_does_not_change_a_byte(merge: PlannedMerge, tmp_path: Path) -> None:
    for jobs in (1, 2, 7):
        write(merge, tmp_path / f"out{jobs}.rdb", jobs=jobs)
    assert len({(tmp_path / f"out{jobs}.rdb").read_bytes() for jobs in (1, 2, 7)}) == 1


def test_nothing_of_a_source_survives_that_would_harm(tmp_path: Path) -> None:
    from rdbbytes import aux

    source = rdb(
        11, aux(b"repl-id", b"x" * 40), aux(b"repl-offset", b"5"), aux(b"aof-base", b"1"), aux(b"lua", b"return 1"),
        select(0), resize(1 << 40, 0), b"\xf4\x01\x02\x03", aux(b"slot-info", b"1,2"), entry(b"k"),
    )  # fmt: skip
    merged(saved(tmp_path, source), tmp_path / "out.rdb")
    # One key of type 0 fits a version without AUX and RESIZEDB, and so needs none of them.
    data = (tmp_path / "out.rdb").read_bytes()
    assert data[:-8] == b"REDIS0006" + select(0) + entry(b"k") + b"\xff"


def test_aux_fields_are_written_new(tmp_path: Path) -> None:
    from rdbbytes import aux

    sources = saved(
        tmp_path,
        rdb(
            11,
            aux(b"ctime", b"7"),
            select(3),
            record(20, b"s", string(bytes.fromhex("0a000000010081610 2ff".replace(" ", "")))),
        ),
    )
    merged(sources, tmp_path / "out.rdb")
    head = b"REDIS0011" + aux(b"redis-bits", b"64") + aux(b"ctime", b"%d" % (NOW_MS // 1000)) + select(3) + resize(1, 0)
    assert (tmp_path / "out.rdb").read_bytes().startswith(head)


def test_a_merge_of_nothing_is_an_empty_file(tmp_path: Path) -> None:
    plan = merged(saved(tmp_path, rdb(9), rdb(11, select(4))), tmp_path / "out.rdb")
    assert plan.keys == 0
    assert (tmp_path / "out.rdb").read_bytes()[:-8] == b"REDIS0006\xff"


def test_the_output_is_private(merge: PlannedMerge, tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        write(merge, tmp_path / "out.rdb")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "out.rdb").stat().st_mode) == 0o600


# --- never over another file --------------------------------------------------------------------------------------


def test_an_output_that_exists_is_refused_and_stays(merge: PlannedMerge, tmp_path: Path) -> None:
    output = tmp_path / "out.rdb"
    output.write_bytes(b"precious")
    with pytest.raises(UsageError, match=r"out\.rdb exists") as refused:
        write(merge, output)
    assert "--force" in refused.value.remedy
    assert output.read_bytes() == b"precious"
    assert beside(output) == {"out.rdb"}


def test_force_replaces_it_at_once(merge: PlannedMerge, tmp_path: Path) -> None:
    output = tmp_path / "out.rdb"
    output.write_bytes(b"old")
    with output.open("rb") as reader:
        write(merge, output, force=True)
        assert reader.read() == b"old"  # who had the old file open keeps it whole
    check_output(merge.plan, output)


def test_force_that_fails_leaves_the_old_output(merge: PlannedMerge, tmp_path: Path) -> None:
    output, stop = tmp_path / "out.rdb", threading.Event()
    output.write_bytes(b"old")
    stop.set()
    with pytest.raises(StoppedError):
        write(merge, output, force=True, stop=stop)
    assert output.read_bytes() == b"old"
    assert beside(output) == {"out.rdb"}


def test_a_partial_that_another_process_writes_is_left_to_it(merge: PlannedMerge, tmp_path: Path) -> None:
    output = tmp_path / "out.rdb"
    partial = partial_path(output)
    with partial.open("wb") as other:
        other.write(b"half of it")
        other.flush()
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match=r"another rdbmerge is writing .*out\.rdb") as refused:
            write(merge, output)
    assert refused.value.remedy
    assert partial.read_bytes() == b"half of it"
    assert not output.exists()


def test_a_partial_of_a_killed_process_is_taken_over(merge: PlannedMerge, tmp_path: Path) -> None:
    output = tmp_path / "out.rdb"
    partial_path(output).write_bytes(b"remains" * 100_000)
    write(merge, output)
    check_output(merge.plan, output)
    assert not partial_path(output).exists()


@pytest.mark.parametrize("force", [False, True])
def test_an_output_whose_second_name_was_left_is_not_written_over(
    merge: PlannedMerge, tmp_path: Path, force: bool
) -> None:
    """A process killed between giving the file its name and taking the partial one away leaves both."""
    output, stop = tmp_path / "out.rdb", threading.Event()
    output.write_bytes(b"whole")
    os.link(output, partial_path(output))
    stop.set()
    with pytest.raises(StoppedError):
        write(merge, output, force=force, stop=stop)
    assert output.read_bytes() == b"whole"


def test_an_output_that_appears_meanwhile_is_kept(merge: PlannedMerge, tmp_path: Path) -> None:
    output = tmp_path / "out.rdb"
    with pytest.raises(UsageError, match="exists"):
        write(merge, output, progress=lambda _: output.write_bytes(b"theirs"))
    assert output.read_bytes() == b"theirs"
    assert not partial_path(output).exists()


# --- crashes ------------------------------------------------------------------------------------------------------


def test_a_process_killed_while_writing_leaves_nothing_under_the_final_name(tmp_path: Path) -> None:
    source = big(tmp_path, 30)
    for pause_s in (0, 0.005, 0.02):
        output = tmp_path / f"out{pause_s}.rdb"
        process = started(source, output)
        wait_for(partial_path(output), process)
        time.sleep(pause_s)
        process.kill()
        assert process.wait(20) == -signal.SIGKILL
        if output.exists():  # it was quick: then it is whole
            with planned([source], ttl_offset_ms=1) as merge:
                assert output.stat().st_size == merge.plan.output_bytes
        merged([source], tmp_path / f"again{pause_s}.rdb", ttl_offset_ms=1)


def test_a_process_killed_at_any_moment_leaves_an_output_that_is_whole(tmp_path: Path) -> None:
    source, output = big(tmp_path, 3), tmp_path / "out.rdb"
    with planned([source], ttl_offset_ms=1) as merge:
        write(merge, output, jobs=1)
        for pause_s in (0.01, 0.023, 0.037, 0.051, 0.08):
            process = started(source, output, "--force")
            time.sleep(pause_s)
            process.kill()
            process.wait(20)
            check_output(merge.plan, output)


def test_to_stop_leaves_nothing(merge: PlannedMerge, tmp_path: Path) -> None:
    stop = threading.Event()
    with pytest.raises(StoppedError, match="nothing was left behind") as stopped:
        write(merge, tmp_path / "out.rdb", jobs=1, stop=stop, progress=lambda _: stop.set())
    assert stopped.value.exit_code == 130
    assert beside(tmp_path / "out.rdb") == set()


def test_an_interrupt_leaves_nothing(merge: PlannedMerge, tmp_path: Path) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(merge, tmp_path / "out.rdb", progress=interrupt)
    assert beside(tmp_path / "out.rdb") == set()


# --- disks that refuse --------------------------------------------------------------------------------------------


def test_a_full_disk_is_told_with_what_is_needed_and_leaves_nothing(tmp_path: Path, small_disk: Path) -> None:
    with (
        planned([big(tmp_path, 1)]) as merge,
        pytest.raises(DiskError, match=r"no room for .*out\.rdb: 1000\.0 KB needed, 64\.0 KB free in .*disk") as full,
    ):
        write(merge, small_disk / "out.rdb")
    assert full.value.exit_code == 2
    assert "-o" in full.value.remedy
    assert list(small_disk.iterdir()) == []


def test_a_disk_that_is_read_only_is_refused(merge: PlannedMerge, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(DiskError, match="Read-only file system") as refused:
        write(merge, small_disk / "out.rdb")
    assert refused.value.remedy == "choose a folder you may write to with -o"


def test_a_limit_on_the_size_of_files_leaves_nothing(merge: PlannedMerge, tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(DiskError, match=r"cannot write .*: File too large"):
            write(merge, tmp_path / "out.rdb")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert beside(tmp_path / "out.rdb") == set()


def test_a_folder_that_is_not_there_is_refused(merge: PlannedMerge, tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="No such file or directory") as refused:
        write(merge, tmp_path / "nowhere" / "out.rdb")
    assert refused.value.remedy == "make the folder first"


def test_a_folder_without_permission_is_refused(merge: PlannedMerge, tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    if os.access(folder, os.W_OK):
        pytest.skip("this user may write anywhere: permissions cannot be tested")
    with pytest.raises(DiskError, match="Permission denied") as refused:
        write(merge, folder / "out.rdb")
    assert "may write to" in refused.value.remedy


def test_a_file_in_the_place_of_the_folder_is_refused(merge: PlannedMerge, tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="Not a directory"):
        write(merge, tmp_path / "a.rdb" / "out.rdb")


# --- defects of our own -------------------------------------------------------------------------------------------


def test_a_part_of_another_size_than_planned_is_a_defect_and_leaves_nothing(
    merge: PlannedMerge, tmp_path: Path
) -> None:
    merge.plan.sources[0].runs[0].chunks[0].output_bytes += 1
    merge.plan.output_bytes += 1
    with pytest.raises(LedgerError, match="the plan says") as defect:
        write(merge, tmp_path / "out.rdb")
    assert "defect of rdbmerge" in defect.value.remedy
    assert beside(tmp_path / "out.rdb") == set()


def test_progress_adds_up_to_the_size_of_the_parts(merge: PlannedMerge, tmp_path: Path) -> None:
    told: list[int] = []
    write(merge, tmp_path / "out.rdb", progress=told.append)
    assert sum(told) == merge.plan.output_bytes - 8


def test_every_kind_of_part_has_its_place(tmp_path: Path) -> None:
    module_data = b"\xf7\x81" + bytes.fromhex("BDE72DA2BB1EB400") + b"\x02%c\x02\x05\x00"
    source = rdb(
        10, module_data % 1, function(b"#!lua name=one\nreturn 1"), select(0), entry(b"k"),
        record(1, b"l", strings([b"a"]), attributes=expiry(AT)), select(1), entry(b"k"), module_data % 2,
    )  # fmt: skip
    merged(saved(tmp_path, source), tmp_path / "out.rdb")
    data = (tmp_path / "out.rdb").read_bytes()
    places = [
        data.index(piece) for piece in (module_data % 1, b"#!lua", select(0), entry(b"k"), select(1), module_data % 2)
    ]
    assert places == sorted(places)
    assert data[-9 - len(module_data % 2) : -9] == module_data % 2
