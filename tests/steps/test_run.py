"""A run does what is not done, keeps what still holds, and says why; whatever happened in between."""

from __future__ import annotations

import json
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from rows import contents
from steps.runs import outcomes, ran, rdb_of, tools_of, two_files, write_run_file

from rdbmerge.errors import ConflictError, RdbMergeError, StoppedError, UsageError, VerifyError
from rdbmerge.steps.run import record_of_done
from rdbmerge.steps.run_report import RunReport
from rdbmerge.steps.stages.verifying import VerifyStage
from rdbmerge.verify.report import VerifyReport

ALL_KEPT = {"pull a": "kept", "pull b": "kept", "merge": "kept", "verify": "kept"}


def keys_of(path: Path) -> set[bytes]:
    return {key for _, key in contents(path.read_bytes())}


def whys(report: RunReport) -> dict[str, str]:
    return {line.step: line.why for line in report.lines}


def test_the_whole_line_is_done_and_reported(tmp_path: Path) -> None:
    report = ran(two_files(tmp_path))
    work = tmp_path / "work"
    assert outcomes(report) == {**ALL_KEPT, "merge": "done", "verify": "done"}
    assert keys_of(work / "merged.rdb") == {b"k", b"a", b"b:k"}
    assert VerifyReport.model_validate_json((work / "verify.json").read_bytes()).verdict == "passed"
    assert RunReport.model_validate_json((work / "report.json").read_bytes()) == report
    assert report.reports.keys() == {"plan", "merge", "verify"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in work.iterdir()} == {0o600}
    merge = report.lines[2]
    assert (merge.keys, merge.size_bytes) == (3, (work / "merged.rdb").stat().st_size)
    assert merge.duration_s is not None


def test_run_again_keeps_everything(tmp_path: Path) -> None:
    path = two_files(tmp_path)
    ran(path)
    before = {one.name: one.stat().st_mtime_ns for one in (tmp_path / "work").iterdir() if one.suffix == ".rdb"}
    report = ran(path)
    assert outcomes(report) == ALL_KEPT
    assert whys(report)["merge"] == "nothing it depends on has changed"
    assert {one.name: one.stat().st_mtime_ns for one in (tmp_path / "work").iterdir() if one.suffix == ".rdb"} == before


CHANGES: list[tuple[str, dict[str, str], str]] = [
    ('key_prefix = "b:"', {"merge": "changed: rules", "verify": "changed: merged.rdb, plan.json"}, 'key_prefix = "c:"'),
    ('[verify]\nlevel = "digest"', {"verify": "changed: level"}, '[verify]\nlevel = "full"'),
    ("jobs = 2", {}, "jobs = 1"),
    ("[merge]\n", {"merge": "changed: shards, output", "verify": "changed: "}, '[merge]\nshards = 2\noutput = "o.rdb"'),
]  # fmt: skip


@pytest.mark.parametrize(("old", "again", "new"), CHANGES)
def test_a_change_of_the_file_does_again_what_depends_on_it(
    tmp_path: Path, old: str, again: dict[str, str], new: str
) -> None:
    path = two_files(tmp_path, '[verify]\nlevel = "digest"\n[merge]\n')
    ran(path)
    path.write_text(path.read_text().replace(old, new))
    report = ran(path)
    assert all(whys(report)[step].startswith(why) for step, why in again.items())
    assert outcomes(report) == {**ALL_KEPT, **dict.fromkeys(again, "done")}
    assert outcomes(ran(path)) == ALL_KEPT


def test_a_source_that_changed_is_merged_anew_and_one_that_did_not_changes_nothing(tmp_path: Path) -> None:
    path = two_files(tmp_path)
    ran(path)
    (tmp_path / "b.rdb").write_bytes(rdb_of(b"new"))
    report = ran(path)
    assert whys(report)["merge"] == "changed: source b"
    assert keys_of(tmp_path / "work" / "merged.rdb") == {b"k", b"a", b"b:new"}


@pytest.mark.parametrize("name", ["merged.rdb", "plan.json"])
@pytest.mark.parametrize("what", ["gone", "other"])
def test_an_output_that_is_not_as_it_was_is_made_again(tmp_path: Path, name: str, what: str) -> None:
    path = two_files(tmp_path)
    ran(path)
    output = tmp_path / "work" / name
    right = output.read_bytes()
    output.unlink()
    if what == "other":
        output.write_bytes(right[:-1] + b"x")
    report = ran(path)
    said = "is gone" if what == "gone" else "is not the file that was made"
    assert whys(report)["merge"] == f"{name} {said}"
    assert output.read_bytes() == right


def test_a_source_that_is_gone_is_an_error_and_no_smaller_merge(tmp_path: Path) -> None:
    path = two_files(tmp_path)
    ran(path, until_step="pull")
    (tmp_path / "b.rdb").unlink()
    with pytest.raises(UsageError, match=r"source b: there is no file .*b\.rdb"):
        ran(path)
    with pytest.raises(UsageError, match=r"source b is in the run file, but .*b\.rdb is not there") as failure:
        ran(path, from_step="merge")
    assert "smaller than what was asked for" in failure.value.remedy
    assert not (tmp_path / "work" / "merged.rdb").exists()


def test_a_file_among_the_snapshots_that_is_no_source_is_told_and_not_merged(tmp_path: Path) -> None:
    path = two_files(tmp_path)
    snapshots = tmp_path / "work" / "snapshots"
    snapshots.mkdir(parents=True)
    (snapshots / "old.rdb").write_bytes(rdb_of(b"stale"))
    warnings: list[str] = []
    ran(path, warnings=warnings)
    assert warnings == [f"old.rdb in {snapshots}: no source of the run file; left alone"]
    assert b"stale" not in keys_of(tmp_path / "work" / "merged.rdb")


def test_until_and_from_and_both(tmp_path: Path) -> None:
    path = two_files(tmp_path)
    assert outcomes(ran(path, until_step="merge")) == {"pull a": "kept", "pull b": "kept", "merge": "done"}
    assert not (tmp_path / "work" / "verify.json").exists()
    bytes_before = (tmp_path / "work" / "merged.rdb").read_bytes()
    report = ran(path, from_step="merge")
    assert outcomes(report) == {**ALL_KEPT, "merge": "done", "verify": "done"}
    assert (whys(report)["pull"], whys(report)["merge"]) == ("as it is recorded", "asked for")
    assert (tmp_path / "work" / "merged.rdb").read_bytes() == bytes_before
    assert outcomes(ran(path, from_step="verify", until_step="verify")) == {**ALL_KEPT, "verify": "done"}


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ({"from_step": "verify", "until_step": "merge"}, "verify comes after merge: nothing is left to do"),
        ({"from_step": "upload"}, "the run file has no step upload"),
        ({"until_step": "seed"}, "the run file has no step seed"),
        ({"from_step": "verify"}, "pull has to be done first: it was not done"),
    ],
)
def test_spans_that_cannot_be(tmp_path: Path, steps: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        ran(two_files(tmp_path), **steps)


def test_from_asks_that_what_comes_before_is_as_it_was(tmp_path: Path) -> None:
    path = two_files(tmp_path)
    ran(path)
    (tmp_path / "work" / "merged.rdb").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"merge has to be done first: merged\.rdb is not the file") as failure:
        ran(path, from_step="verify")
    assert failure.value.remedy.startswith("run without --from, or with --from merge")


def test_nothing_goes_on_from_a_file_that_was_not_verified(tmp_path: Path) -> None:
    """A verification is of the file that was merged then; another one has to be verified before anything follows."""
    path = two_files(tmp_path)
    ran(path)
    path.write_text(path.read_text().replace("b:", "c:"))
    ran(path, from_step="merge", until_step="merge")
    path.write_text(path.read_text().replace("c:", "d:"))
    with pytest.raises(UsageError, match=r"merge has to be done first: changed: rules"):
        ran(path, from_step="verify")
    path.write_text(path.read_text().replace("d:", "c:"))
    said = r"verify has to be done first: changed: merged\.rdb, plan\.json"
    with tools_of(path) as tools, pytest.raises(UsageError, match=said):
        record_of_done(tools, VerifyStage(tools))
    ran(path, from_step="verify")
    with tools_of(path) as tools:
        assert record_of_done(tools, VerifyStage(tools)).outputs


def test_a_step_that_fails_says_how_to_go_on_and_leaves_a_report(tmp_path: Path) -> None:
    path = two_files(tmp_path)
    path.write_text(path.read_text().replace('key_prefix = "b:"\n', ""))
    with pytest.raises(ConflictError) as failure:
        ran(path)
    assert failure.value.remedy.endswith("what is done stays: `rdbmerge run run.toml` goes on with merge")
    report = RunReport.model_validate_json((tmp_path / "work" / "report.json").read_bytes())
    assert report.failure is not None
    assert (report.failure.step, report.failure.exit_code) == ("merge", 20)
    assert outcomes(report) == {"pull a": "kept", "pull b": "kept", "merge": "failed"}
    path.write_text(path.read_text() + '[merge]\non_conflict = "last"\n')
    assert outcomes(ran(path)) == {**ALL_KEPT, "merge": "done", "verify": "done"}


def test_a_merged_file_that_is_wrong_goes_nowhere(tmp_path: Path) -> None:
    """Whatever spoilt it: the record of the merge is made to agree, so that verify alone can see it."""
    path = two_files(tmp_path)
    ran(path, until_step="merge")
    merged, journal = tmp_path / "work" / "merged.rdb", tmp_path / "work" / "journal.json"
    spoilt = bytearray(merged.read_bytes())
    spoilt[len(spoilt) - 12] ^= 1
    merged.write_bytes(spoilt)
    state = json.loads(journal.read_text())
    state["steps"]["merge"]["outputs"]["merged.rdb"]["mtime_ns"] = merged.stat().st_mtime_ns
    journal.write_text(json.dumps(state))
    for _ in range(2):  # a failed step is not remembered as done
        with pytest.raises(RdbMergeError) as failure:
            ran(path)
        assert failure.value.exit_code in (12, VerifyError.exit_code)
    assert outcomes(ran(path, from_step="merge"))["verify"] == "done"


def test_what_others_made_is_not_replaced(tmp_path: Path) -> None:
    path = two_files(tmp_path, '[merge]\noutput = "mine.rdb"\n')
    (tmp_path / "mine.rdb").write_bytes(b"precious")
    with pytest.raises(UsageError, match=r"mine\.rdb"):
        ran(path)
    assert (tmp_path / "mine.rdb").read_bytes() == b"precious"


def test_a_report_replaces_a_report_and_nothing_else(tmp_path: Path) -> None:
    path = two_files(tmp_path)
    path.write_text(path.read_text().replace("jobs = 2", 'report = "r.json"'))
    (tmp_path / "r.json").write_text('{"mine": 1}')
    with pytest.raises(UsageError, match=r"r\.json exists, and is no report of a run"):
        ran(path)
    (tmp_path / "r.json").unlink()
    ran(path)
    assert ran(path) == RunReport.model_validate_json((tmp_path / "r.json").read_bytes())


def test_a_run_that_is_told_to_stop_stops(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(StoppedError):
        ran(two_files(tmp_path), stop=stop)
    assert not (tmp_path / "work" / "merged.rdb").exists()


def test_a_run_of_files_that_are_called_alike_keeps_them_apart(tmp_path: Path) -> None:
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "dump.rdb").write_bytes(rdb_of(name.encode()))
    text = "".join(f'[[source]]\nname = "{one}"\nfile = "{one}/dump.rdb"\nkey_prefix = "{one}-"\n' for one in "xy")
    ran(write_run_file(tmp_path, text))
    assert keys_of(tmp_path / "work" / "merged.rdb") == {b"x-x", b"y-y"}
    report = VerifyReport.model_validate_json((tmp_path / "work" / "verify.json").read_bytes())
    assert [line.source for line in report.ledger] == ["x", "y"]
