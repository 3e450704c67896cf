from __future__ import annotations

import json
import re
import shutil
import stat
from pathlib import Path

import pytest
from cli.running import run
from objectstores import ObjectStore

from rdbmerge.plan.model import Plan
from rdbmerge.steps.merge_run import MergeReport


@pytest.fixture
def folder(golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two servers that hold the same keys; the working directory."""
    (tmp_path / "in").mkdir()
    for version in ("6.0.20", "6.2.16"):
        shutil.copy(golden / version / "all_types.rdb", tmp_path / "in" / f"{version}.rdb")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_merge_shows_its_plan_and_its_end(folder: Path) -> None:
    result = run("merge", "in", "-o", "out.rdb", "--ttl-offset", "3h", "--on-conflict", "first")
    assert result.exit_code == 0
    text = result.stdout
    assert re.search(r"6\.0\.20\.rdb +REDIS0009 +20\S+ \S+Z +aux ctime +3h ", text)
    assert re.search(r"^Source +Db +Read +(Expired +)?Lost conflict +Written$", text, re.MULTILINE)
    assert re.search(r"^In the merged file +Keys +With expiry$", text, re.MULTILINE)
    size = (folder / "out.rdb").stat().st_size
    assert size > 1000
    assert re.search(r"^out\.rdb: [\d,]+ keys, [\d.]+ KB, REDIS0009, CRC-64 [0-9a-f]{16}$", text, re.MULTILINE)
    assert "The conflicts are listed in out.rdb.conflicts.jsonl\nScanned and planned in " in result.stderr


def test_plan_and_report_are_private_json(folder: Path) -> None:
    result = run("merge", "in", "-o", "out.rdb", "--on-conflict", "last", "--plan", "plan.json", "--report", "r.json")
    assert result.exit_code == 0
    plan = Plan.model_validate_json(Path("plan.json").read_text())
    report = MergeReport.model_validate_json(Path("r.json").read_text())
    assert report.keys == plan.keys
    assert {stat.S_IMODE(Path(name).stat().st_mode) for name in ("plan.json", "r.json", "out.rdb")} == {0o600}


def test_a_dry_run_shows_the_plan_and_writes_only_what_is_named(folder: Path) -> None:
    result = run("merge", "in", "--dry-run", "--db-map", "0:7", "--on-conflict", "first", "--plan", "plan.json")
    assert result.exit_code == 0
    assert " 0 -> 7 " in result.stdout
    assert re.search(r"^dry run: nothing was written; the merged file would hold [\d,]+ keys, ", result.stdout, re.M)
    assert sorted(path.name for path in folder.iterdir()) == ["in", "plan.json"]


def test_conflicts_end_it_with_20_and_where_they_are_listed(folder: Path) -> None:
    result = run("merge", "in", "-o", "out.rdb")
    assert result.exit_code == 20
    assert "\n  all of them are listed in out.rdb.conflicts.jsonl\nTry:   choose with --on-conflict" in result.stderr
    first = json.loads(Path("out.rdb.conflicts.jsonl").read_text().splitlines()[0])
    assert first["source"] in ("6.0.20.rdb", "6.2.16.rdb")
    assert not Path("out.rdb").exists()


@pytest.mark.parametrize("exists", ["out.rdb", "plan.json", "r.json"])
def test_nothing_is_overwritten_without_force(folder: Path, exists: str) -> None:
    Path(exists).write_text("mine")
    arguments = ("merge", "in", "-o", "out.rdb", "--on-conflict", "first", "--plan", "plan.json", "--report", "r.json")
    refused = run(*arguments)
    assert (refused.exit_code, refused.stdout, refused.stderr) == (
        2,
        "",
        f"Error: {exists} exists\nTry:   choose another name, or replace it with --force\n",
    )
    assert Path(exists).read_text() == "mine"
    assert sorted(path.name for path in folder.iterdir()) == sorted(["in", exists])
    assert run(*arguments, "--force").exit_code == 0
    assert Path(exists).read_bytes() != b"mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["in"], "no output is named"),
        (["in", "-o", "in"], "in is a folder"),
        (["in", "-o", "-"], "an output cannot go to standard output"),
        (["in", "-o", "no/out.rdb"], "cannot write no/out.rdb: there is no folder no"),
        (["nope", "-o", "out.rdb"], "nope is not there"),
        (["in", "in/6.0.20.rdb", "-o", "out.rdb"], "in/6.0.20.rdb is named twice: its keys would all conflict"),
        (["in/6.0.20.rdb", "-o", "in/6.0.20.rdb", "--force"], "in/6.0.20.rdb is both a source and the output"),
        (["in", "-o", "out.rdb", "--report", "out.rdb"], "two outputs have the same name"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(folder: Path, arguments: list[str], message: str) -> None:
    result = run("merge", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"Error: {message}\nTry:   ")
    assert [path.name for path in folder.iterdir()] == ["in"]
    assert not list((folder / "in").glob("*.index"))


def test_an_earlier_output_within_the_folder_is_not_a_source(folder: Path) -> None:
    arguments = ("merge", "in", "-o", "in/merged.rdb", "--on-conflict", "first", "--report", "r.json", "--force")
    for _ in range(2):
        assert run(*arguments).exit_code == 0
        assert len(json.loads(Path("r.json").read_text())["sources"]) == 2


def test_a_bad_source_ends_it_with_its_code_and_no_output(folder: Path) -> None:
    path = folder / "in" / "6.2.16.rdb"
    path.write_bytes(path.read_bytes()[:-100])
    result = run("merge", "in", "-o", "out.rdb")
    assert result.exit_code == 11
    assert result.stderr.startswith("Error: 6.2.16.rdb at byte ")
    assert not Path("out.rdb").exists()


# --- into an object -----------------------------------------------------------------------------------------------


def test_a_merge_goes_into_an_object(folder: Path, bucket: str, object_store: ObjectStore) -> None:
    url = f"s3://{bucket}/x/out.rdb"
    result = run("merge", "in", "-o", url, "--on-conflict", "first", "--report", "r.json", "--grant")
    assert result.exit_code == 0
    assert f"OK       bucket                s3://{bucket} is there, in us-east-1\n" in result.stdout
    assert re.search(rf"^{url}: [\d,]+ keys, [\d.]+ KB, REDIS0009, CRC-64 [0-9a-f]{{16}}$", result.stdout, re.MULTILINE)
    assert f"its manifest is {url}.manifest.json" in result.stderr
    assert "elasticache may read it: a statement in the policy" in result.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["in", "out.rdb.conflicts.jsonl", "r.json"]
    report = MergeReport.model_validate_json(Path("r.json").read_text())
    data = object_store.client().get_object(Bucket=bucket, Key="x/out.rdb")["Body"].read()
    assert len(data) == report.output_bytes
    Path("back.rdb").write_bytes(data)
    assert run("verify", "back.rdb", "--against", "in", "--on-conflict", "first").exit_code == 0
    refused = run("merge", "in", "-o", url, "--on-conflict", "first", "-q")
    assert (refused.exit_code, f"Error: {url} exists\n" in refused.stderr) == (2, True)


@pytest.mark.parametrize("option", [["--grant"], ["--region", "eu-west-1"], ["--service", "memorydb"]])
def test_options_of_s3_want_an_object(folder: Path, option: list[str]) -> None:
    result = run("merge", "in", "-o", "out.rdb", *option)
    assert result.exit_code == 2
    assert "an option for S3 is given, and no object as output" in result.stderr


def test_an_address_that_is_none_is_told_with_its_option(folder: Path) -> None:
    result = run("merge", "in", "-o", "s3://seeds")
    assert (result.exit_code, "-o: 's3://seeds' names a bucket and no object in it" in result.stderr) == (2, True)
