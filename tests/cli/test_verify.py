from __future__ import annotations

import re
import shutil
import stat
from pathlib import Path

import pytest
from cli.running import run

from rdbmerge.verify.report import ShardsReport, VerifyReport


@pytest.fixture
def folder(golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "in").mkdir()
    for version in ("6.0.20", "6.2.16"):
        shutil.copy(golden / version / "all_types.rdb", tmp_path / "in" / f"{version}.rdb")
    monkeypatch.chdir(tmp_path)
    arguments = ("in", "-o", "out.rdb", "--ttl-offset", "3h", "--on-conflict", "last", "--plan", "plan.json", "-q")
    assert run("merge", *arguments).exit_code == 0
    return tmp_path


RULES = ("--ttl-offset", "3h", "--on-conflict", "last")


@pytest.mark.parametrize(
    "against",
    [
        ("--against", "in", *RULES),
        ("--against", "in/6.0.20.rdb", "in/6.2.16.rdb", *RULES),
        (*RULES, "--against", "in/6.0.20.rdb", "--against", "in/6.2.16.rdb"),
        ("--against", "plan.json"),
    ],
    ids=["folder", "two at once", "two by two", "plan"],
)
@pytest.mark.parametrize("level", ["counts", "digest", "full"])
def test_a_right_merge_passes(folder: Path, against: tuple[str, ...], level: str) -> None:
    result = run("verify", "out.rdb", *against, "--level", level)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == "out.rdb: PASSED"
    assert re.search(r"^Source +Db +Read .*Expected +Found$", result.stdout, re.MULTILINE)
    assert "\n          proves " in result.stdout
    assert "\n          not " in result.stdout
    assert f"Verified at level {level} in " in result.stderr


def test_the_order_of_the_files_is_that_of_precedence(folder: Path) -> None:
    turned = run("verify", "out.rdb", "--against", "in/6.2.16.rdb", "in/6.0.20.rdb", *RULES)
    assert turned.exit_code == 22


def test_another_declaration_fails_and_shows_where(folder: Path) -> None:
    result = run("verify", "out.rdb", "--against", "in", "--on-conflict", "last", "--report", "v.json")
    assert result.exit_code == 22
    assert "FAILED" in result.stdout.splitlines()[-1]
    assert re.search(r"^Differences: \d+", result.stdout, re.MULTILINE)
    report = VerifyReport.model_validate_json(Path("v.json").read_text())
    assert report.verdict == "failed"
    assert stat.S_IMODE(Path("v.json").stat().st_mode) == 0o600
    refused = run("verify", "out.rdb", "--against", "in", "--report", "v.json")
    assert (refused.exit_code, refused.stdout) == (2, "")


def test_a_damaged_file_is_an_error_of_the_file(folder: Path) -> None:
    body = bytearray((folder / "out.rdb").read_bytes())
    body[len(body) // 2] ^= 1
    (folder / "out.rdb").write_bytes(body)
    assert run("verify", "out.rdb", "--against", "plan.json").exit_code in (10, 11, 12, 13, 22)


def test_a_plan_and_rules_do_not_go_together(folder: Path) -> None:
    result = run("verify", "out.rdb", "--against", "plan.json", *RULES)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: a plan holds its own rules\n")


TARGET = ("--target", "redis-6.0", "--on-unsupported", "strip")


@pytest.mark.parametrize("level", ["counts", "digest", "full"])
def test_what_was_shared_out_among_shards_passes(folder: Path, level: str) -> None:
    rules = (*RULES, "--db", "0", *TARGET)
    assert run("merge", "in", "-o", "s.rdb", *rules, "--shards", "2", "--plan", "s.json", "-q").exit_code == 0
    files = sorted(folder.glob("s.*.rdb"))
    assert len(files) == 2
    for against in (("--against", "in", *rules, "--shards", "2"), ("--against", "s.json")):
        result = run("verify", *files, *against, "--level", level)
        assert result.exit_code == 0, result.output
        assert result.stdout.splitlines()[-1] == "2 of 2 shards passed; all together: PASSED"
    slots = run("verify", *files, "--against", "in", *rules, "--slots", "0-8191,8192-16383", "--report", "v.json")
    assert slots.exit_code == 0, slots.output
    assert ShardsReport.model_validate_json(Path("v.json").read_text()).verdict == "passed"
    other = run("verify", *files, "--against", "in", *rules, "--slots", "0-99,100-16383", "--level", level)
    assert other.exit_code == 22


@pytest.mark.parametrize("more", [("--shards", "2"), ("--slots", "0-16383"), ("--target", "redis-7.0")])
def test_a_plan_takes_no_shards_and_no_target_beside_it(folder: Path, more: tuple[str, ...]) -> None:
    result = run("verify", *["out.rdb"] * (2 if more[0] == "--shards" else 1), "--against", "plan.json", *more)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Error: a plan holds its own rules\n")


def test_another_number_of_files_than_shards_is_refused(folder: Path) -> None:
    result = run("verify", "out.rdb", "--against", "in", *RULES, "--shards", "2")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: 2 merged files, one a shard, are expected, 1 are given\n")


def test_the_merged_file_comes_first(folder: Path) -> None:
    result = run("verify", "--against", "in", "out.rdb")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: missing argument 'MERGED...'\n")
