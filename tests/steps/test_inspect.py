from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from truth import read_truth

from rdbmerge.errors import FormatError, StoppedError
from rdbmerge.snapshot.segment import Segment
from rdbmerge.steps.inspect import inspect, summarize_file

FOLDERS = sorted((Path(__file__).parents[2] / "fixtures" / "rdb").iterdir())


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_summary_of_every_golden_file_is_its_truth(folder: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(folder / "all_types.rdb", tmp_path))
    truth = read_truth(folder / "all_types.truth.jsonl.gz")
    with Segment(path) as segment:
        summary = summarize_file(segment, top=3)
    assert {db.db: db.keys for db in summary.dbs} == {
        db: sum(one == db for one, _ in truth.entries) for db in {db for db, _ in truth.entries}
    }
    for db in summary.dbs:
        mine = [entry for (number, _), entry in truth.entries.items() if number == db.db]
        expiries = [entry.expire_at_ms for entry in mine if entry.expire_at_ms is not None]
        assert db.expires == len(expiries)
        assert (db.first_expiry_ms, db.last_expiry_ms) == (min(expiries, default=None), max(expiries, default=None))
        assert db.dead == sum(at_ms < summary.snapshot_at_ms for at_ms in expiries)
        by_type = {kind: sum(entry.type == kind for entry in mine) for kind in {entry.type for entry in mine}}
        told: dict[str, int] = {}
        for one in db.types:
            told[one.type] = told.get(one.type, 0) + one.keys
        assert told == by_type
        assert db.entry_bytes == sum(one.entry_bytes for one in db.types)
    assert sum(db.entry_bytes for db in summary.dbs) < summary.size_bytes
    assert sorted(summary.libraries) == sorted(truth.functions)
    assert [big.entry_bytes for big in summary.biggest] == sorted(
        (b.entry_bytes for b in summary.biggest), reverse=True
    )
    assert all((big.db, big.key_base64) in truth.entries for big in summary.biggest)
    assert len(summary.biggest) == min(3, summary.keys)


def test_the_biggest_keys_are_the_biggest(golden: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(golden / "7.0.15" / "all_types.rdb", tmp_path))
    with Segment(path) as segment:
        every = summarize_file(segment, top=10_000).biggest
        few = summarize_file(segment, top=4).biggest
        none = summarize_file(segment, top=0).biggest
    assert [big.entry_bytes for big in few] == [big.entry_bytes for big in every[:4]]
    assert len(every) == len({(big.db, big.key_base64) for big in every})
    assert none == []


def test_what_a_checksum_is_worth_is_told(golden: Path, tmp_path: Path) -> None:
    words = {}
    for version, name in (("2.4.18", "all_types"), ("2.6.17", "nochecksum"), ("2.6.17", "all_types")):
        path = Path(shutil.copy(golden / version / f"{name}.rdb", tmp_path / f"{version}-{name}.rdb"))
        with Segment(path) as segment:
            words[path.name] = summarize_file(segment, top=0).checksum
    assert list(words.values()) == ["none", "off", "right"]


def test_a_bad_file_does_not_hide_the_others(golden: Path, tmp_path: Path) -> None:
    good = Path(shutil.copy(golden / "7.0.15" / "all_types.rdb", tmp_path / "good.rdb"))
    bad = tmp_path / "bad.rdb"
    bad.write_bytes(good.read_bytes()[:-9])
    report = inspect([bad, tmp_path / "none.rdb", good], top=1)
    assert [one.name for one in report.files] == ["good.rdb"]
    assert [failure.exit_code for failure in report.failures] == [11, 2]
    assert report.failures[0].error.startswith("bad.rdb at byte ")
    with Segment(bad) as segment, pytest.raises(FormatError):
        summarize_file(segment, top=1)


def test_stopping_is_no_failure_of_a_file(golden: Path, tmp_path: Path) -> None:
    good = Path(shutil.copy(golden / "7.0.15" / "all_types.rdb", tmp_path))

    def stop(_bytes: int) -> None:
        raise StoppedError("stopped")

    with pytest.raises(StoppedError):
        inspect([good], top=1, progress=stop)
