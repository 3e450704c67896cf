"""The stream has the bytes of the file, whoever makes them, and ends where it is told to."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from merging import check_output, planned, saved
from rdbbytes import entry, function, pairs, rdb, record, select
from writing import big

from rdbmerge.errors import LedgerError, StoppedError, StoreError
from rdbmerge.merge import stream
from rdbmerge.merge.stream import stream_plan
from rdbmerge.merge.writer import Output, write_plans
from rdbmerge.plan.model import Policy
from rdbmerge.plan.sharding import even_slots
from rdbmerge.steps.merge import PlannedMerge

AT = 2_000_000_000_000
ONE = rdb(9, select(0), entry(b"a", expire_at_ms=AT), entry(b"b", b"x" * 100), select(2), entry(b"c"))
TWO = rdb(11, function(b"#!lua name=lib\nreturn 1"), select(0), entry(b"b"), record(4, b"h", pairs({b"f": b"v"})))


class Collected:
    """A sink that keeps copies, for the bytes may be overwritten; it takes its time where it is told to."""

    def __init__(self, pause_s: float = 0.0) -> None:
        self.pieces: list[bytes] = []
        self.pause_s = pause_s

    def write(self, data: bytes | bytearray | memoryview) -> None:
        time.sleep(self.pause_s)
        self.pieces.append(bytes(data))

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)


def written(merge: PlannedMerge, folder: Path) -> tuple[list[int], list[bytes]]:
    outputs = [Output(plan, folder / f"file{number}.rdb") for number, plan in enumerate(merge.plans)]
    crcs = write_plans(outputs, merge.segments, jobs=2)
    return crcs, [output.path.read_bytes() for output in outputs]


@pytest.mark.parametrize("jobs", [1, 2, 7])
def test_the_stream_has_the_bytes_of_the_file(tmp_path: Path, jobs: int) -> None:
    with planned(saved(tmp_path, ONE, TWO), on_conflict=Policy.LAST, ttl_offset_ms=3_600_000) as merge:
        (crc,), (data,) = written(merge, tmp_path)
        sink = Collected()
        assert stream_plan(merge.plans, 0, merge.segments, sink, jobs=jobs) == crc
        assert sink.data == data
        check_output(merge.plan, tmp_path / "file0.rdb")


@pytest.mark.parametrize("version", ["2.8.24", "7.0.15", "8.2.3"])
def test_so_it_has_for_every_type(golden: Path, tmp_path: Path, version: str) -> None:
    with planned([golden / version / "all_types.rdb"], target="redis-8.2", ttl_offset_ms=5) as merge:
        _, (data,) = written(merge, tmp_path)
        sink = Collected()
        stream_plan(merge.plans, 0, merge.segments, sink, jobs=2)
        assert sink.data == data


def test_each_shard_streams_the_bytes_of_its_file(golden: Path, tmp_path: Path) -> None:
    with planned([golden / "6.2.16" / "cluster.rdb"], shards=even_slots(3)) as merge:
        crcs, files = written(merge, tmp_path)
        for number, data in enumerate(files):
            sink = Collected()
            assert stream_plan(merge.plans, number, merge.segments, sink, jobs=2) == crcs[number]
            assert sink.data == data


@pytest.mark.parametrize("held_bytes", [0, 100_000, 1 << 30])
@pytest.mark.parametrize("pause_s", [0.0, 0.001])
def test_who_makes_faster_than_the_sink_takes_holds_no_more_than_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held_bytes: int, pause_s: float
) -> None:
    monkeypatch.setattr(stream, "HELD_BYTES", held_bytes)
    source = big(tmp_path, 70)  # three chunks
    with planned([source], ttl_offset_ms=1) as merge:
        _, (data,) = written(merge, tmp_path)
        sink = Collected(pause_s)
        stream_plan(merge.plans, 0, merge.segments, sink, jobs=3)
        assert sink.data == data


def test_a_stop_ends_it(tmp_path: Path) -> None:
    stop = threading.Event()

    class Stopping(Collected):
        def write(self, data: bytes | bytearray | memoryview) -> None:
            super().write(data)
            stop.set()

    with planned(saved(tmp_path, ONE, TWO), on_conflict=Policy.LAST) as merge, pytest.raises(StoppedError):
        stream_plan(merge.plans, 0, merge.segments, Stopping(), jobs=2, stop=stop)


@pytest.mark.parametrize("jobs", [1, 3])
def test_what_the_sink_raises_ends_it(tmp_path: Path, jobs: int) -> None:
    class Failing(Collected):
        def write(self, data: bytes | bytearray | memoryview) -> None:
            super().write(data)
            if len(self.pieces) > 3:
                raise StoreError("no")

    with planned([big(tmp_path, 70)]) as merge, pytest.raises(StoreError, match="no"):
        stream_plan(merge.plans, 0, merge.segments, Failing(), jobs=jobs)


def test_a_part_of_another_size_than_planned_is_a_defect(tmp_path: Path) -> None:
    with planned(saved(tmp_path, ONE, TWO), on_conflict=Policy.LAST) as merge:
        merge.plan.sources[0].runs[0].chunks[0].output_bytes += 1
        with pytest.raises(LedgerError, match="the plan says"):
            stream_plan(merge.plans, 0, merge.segments, Collected(), jobs=2)
