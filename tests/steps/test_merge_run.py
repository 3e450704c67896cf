from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from truth import read_truth

from rdbmerge.errors import ConflictError, StoppedError, UnfitError, UsageError
from rdbmerge.plan.model import Plan, Policy, Rejection, Rules, Unsupported
from rdbmerge.plan.sharding import even_slots
from rdbmerge.snapshot.manifest import read_manifest
from rdbmerge.steps.merge import MergeProgress
from rdbmerge.steps.merge_run import MergeReport, run_merge

NOW_MS = 1_800_000_000_000


@pytest.fixture
def sources(golden: Path, tmp_path: Path) -> list[Path]:
    """The same data from two servers: every key is in conflict."""
    return [
        Path(shutil.copy(golden / version / "all_types.rdb", tmp_path / f"{version}.rdb"))
        for version in ("6.0.20", "6.2.16")
    ]


def test_a_report_says_what_was_decided_and_written(sources: list[Path], tmp_path: Path) -> None:
    output, plans = tmp_path / "out.rdb", list[Plan]()
    rules = Rules(on_conflict=Policy.FIRST, ttl_offset_ms=5_000)
    report = run_merge(sources, output, rules, now_ms=NOW_MS, jobs=2, on_plan=plans.extend)
    (plan,), (file,) = plans, report.files
    assert (report.rules, report.keys, report.output_bytes) == (rules, plan.keys, output.stat().st_size)
    assert (file.magic, file.dbs, file.keys, file.slots) == (plan.magic, plan.dbs, plan.keys, None)
    assert (file.path, file.output_bytes) == (str(output), output.stat().st_size)
    assert file.manifest == read_manifest(output)
    assert (report.recoded, report.rejected_file) == (0, None)
    assert report.conflicts == plan.conflicts > 0
    assert report.conflicts_file == f"{output}.conflicts.jsonl"
    assert Path(report.conflicts_file).stat().st_size
    assert report.ledger == plan.ledger()
    assert [source.ttl_offset_ms for source in report.sources] == [5_000, 5_000]
    assert report.write_s is not None
    assert MergeReport.model_validate_json(report.model_dump_json()) == report


def test_a_dry_run_writes_nothing_and_needs_no_output(sources: list[Path], tmp_path: Path) -> None:
    rules = Rules(on_conflict=Policy.LAST)
    for output in (None, tmp_path / "out.rdb"):
        report = run_merge(sources, output, rules, now_ms=NOW_MS, jobs=1, dry_run=True)
        assert [(file.path, file.manifest) for file in report.files] == [(None, None)]
        assert (report.write_s, report.conflicts_file, report.rejected_file) == (None, None, None)
        assert report.keys > 0
    # The indexes beside the sources are a cache.
    assert {path.suffix for path in tmp_path.iterdir()} == {".rdb", ".index"}
    assert not (tmp_path / "out.rdb").exists()


def test_conflicts_that_end_a_merge_are_listed(sources: list[Path], tmp_path: Path) -> None:
    output = tmp_path / "out.rdb"
    with pytest.raises(ConflictError) as failure:
        run_merge(sources, output, Rules(), now_ms=NOW_MS, jobs=1)
    assert str(failure.value).endswith(f"all of them are listed in {output}.conflicts.jsonl")
    assert failure.value.remedy
    assert not output.exists()


def test_what_the_target_cannot_hold_ends_a_merge_and_is_listed(golden: Path, tmp_path: Path) -> None:
    source, output = Path(shutil.copy(golden / "7.4.1" / "all_types.rdb", tmp_path / "a.rdb")), tmp_path / "out.rdb"
    with pytest.raises(UnfitError) as failure:
        run_merge([source], output, Rules(target="redis-6.2"), now_ms=NOW_MS, jobs=1)
    assert str(failure.value).endswith(f"all of them are listed in {output}.rejected.jsonl")
    assert failure.value.remedy
    assert not output.exists()
    rules = Rules(target="redis-6.2", on_unsupported=Unsupported.STRIP)
    report = run_merge([source], output, rules, now_ms=NOW_MS, jobs=1)
    lines = Path(report.rejected_file or "").read_text().splitlines()
    outcomes = [Rejection.model_validate_json(line).outcome for line in lines]
    total = report.ledger.total()
    assert outcomes.count("stripped") == total.stripped > 0
    functions = read_truth(golden / "7.4.1" / "all_types.truth.jsonl.gz").functions
    assert outcomes.count("skipped") == total.rejected + len(functions)
    assert report.recoded > 50
    assert report.files[0].magic == "REDIS0009"


def test_shards_are_reported_file_by_file_with_one_ledger(sources: list[Path], tmp_path: Path) -> None:
    rules = Rules(on_conflict=Policy.FIRST, dbs=[0])
    whole = run_merge(sources, None, rules, now_ms=NOW_MS, jobs=2, dry_run=True)
    report = run_merge(sources, tmp_path / "out.rdb", rules, now_ms=NOW_MS, jobs=2, shards=even_slots(3))
    assert (report.ledger, report.keys, report.rules) == (whole.ledger, whole.keys, rules)
    assert (report.conflicts, report.recoded) == (whole.conflicts, whole.recoded)
    assert [source.fields_expired for source in report.sources] == [source.fields_expired for source in whole.sources]
    assert sum(file.keys for file in report.files) == report.keys
    assert sum(file.output_bytes for file in report.files) == report.output_bytes
    for file in report.files:
        assert file.path is not None
        assert file.manifest == read_manifest(Path(file.path))
        assert Path(file.path).stat().st_size == file.output_bytes
    assert MergeReport.model_validate_json(report.model_dump_json()) == report


def test_an_output_that_exists_is_refused_before_any_work(sources: list[Path], tmp_path: Path) -> None:
    output = tmp_path / "out.rdb"
    output.write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"out\.rdb exists"):
        run_merge(sources, output, Rules(on_conflict=Policy.FIRST), now_ms=NOW_MS, jobs=1)
    assert output.read_bytes() == b"mine"
    assert not list(tmp_path.glob("*.index"))


def test_progress_that_raises_stops_the_merge_and_leaves_nothing(sources: list[Path], tmp_path: Path) -> None:
    def stop(progress: MergeProgress) -> None:
        if progress.phase == "write":
            raise StoppedError("stopped")

    output = tmp_path / "out.rdb"
    with pytest.raises(StoppedError):
        run_merge(sources, output, Rules(on_conflict=Policy.FIRST), now_ms=NOW_MS, jobs=2, progress=stop)
    assert not output.exists()
    assert not (tmp_path / ".out.rdb.partial").exists()
