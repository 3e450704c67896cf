"""What `merge` and `split` show and leave where there are targets and shards; plain merges are in test_merge.py."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from cli.running import run
from rdbbytes import entry, rdb, select
from unfit import LIBRARY, of_form

from rdbmerge.plan.model import PLANS, Rejection
from rdbmerge.steps.merge_run import MergeReport

SPLIT = ("--shards", "3", "--db", "0")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with two files; the first holds things that an old target cannot hold."""
    (tmp_path / "in").mkdir()
    strings = [entry(b"a%d" % n, expire_at_ms=2_000_000_000_000) for n in range(20)]
    forms = [of_form(name) for name in ("array", "hash_listpack_ex", "list_quicklist_2")]
    one = rdb(14, LIBRARY, select(0), *forms, *strings, select(7), entry(b"else"))
    (tmp_path / "in" / "a.rdb").write_bytes(one)
    (tmp_path / "in" / "b.rdb").write_bytes(rdb(9, select(0), *(entry(b"b%d" % n) for n in range(20))))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def table(text: str, heading: str) -> list[list[str]]:
    """The rows under a heading, up to the next empty line but one (the line before a total is empty)."""
    lines = text.split(f"{heading}\n", 1)[1].splitlines()[1:]
    rows = []
    for line in lines:
        if line.startswith(("total", "all")):
            return [*rows, re.split(r" {2,}", line)]
        if line:
            rows.append(re.split(r" {2,}", line))
    return rows


# --- targets ------------------------------------------------------------------------------------------------------


def test_what_the_target_cannot_hold_ends_it_with_13_and_is_listed(folder: Path) -> None:
    result = run("merge", "in", "-o", "out.rdb", "--target", "redis-6.2", "-q")
    assert (result.exit_code, result.stdout) == (13, "")
    assert result.stderr == (
        "Error: redis-6.2 cannot hold 3 things of the sources:\n"
        '  a.rdb: key "array" of db 0: redis-6.2 has no arrays\n'
        '  a.rdb: key "hash_listpack_ex" of db 0: redis-6.2 has no expiries of hash fields (1 here)\n'
        "  a.rdb: function library lib: redis-6.2 has no functions\n"
        "  all of them are listed in out.rdb.rejected.jsonl\n"
        "Try:   leave them out with --on-unsupported skip, or keep what can be kept of them with"
        " --on-unsupported strip, or choose a newer --target\n"
    )
    listed = [Rejection.model_validate_json(line) for line in Path("out.rdb.rejected.jsonl").read_text().splitlines()]
    assert [(one.kind, one.key, one.outcome) for one in listed] == [
        ("key", '"array"', "refused"),
        ("key", '"hash_listpack_ex"', "refused"),
        ("function library", "lib", "refused"),
    ]
    assert not Path("out.rdb").exists()


@pytest.mark.parametrize(
    ("policy", "columns", "total"),
    [
        ("skip", "Rejected +Written", ["44", "2", "42"]),
        ("strip", "Rejected +Written +Of them stripped", ["44", "1", "43", "1"]),
    ],
)
def test_what_is_left_out_or_stripped_has_a_column_and_a_list(
    folder: Path, policy: str, columns: str, total: list[str]
) -> None:
    result = run("merge", "in", "-o", "out.rdb", "--target", "redis-6.2", "--on-unsupported", policy, "-q")
    assert result.exit_code == 0, result.stderr
    assert re.search(rf"^Source +Db +Read +{columns}$", result.stdout, re.MULTILINE)
    assert re.split(r" +", next(line for line in result.stdout.splitlines() if line.startswith("total")))[1:] == total
    recoded = 1 if policy == "skip" else 2
    assert f"\nvalues re-encoded for redis-6.2: {recoded}\n" in result.stdout
    assert "\nWhat redis-6.2 cannot hold is listed in out.rdb.rejected.jsonl\n" in result.stderr
    assert "Warning: function libraries are left out, for redis-6.2 has no functions: lib\n" in result.stderr
    assert len(Path("out.rdb.rejected.jsonl").read_text().splitlines()) == 3


def test_a_list_of_an_earlier_merge_goes_when_all_fits(folder: Path) -> None:
    assert run("merge", "in", "-o", "out.rdb", "--target", "redis-6.2").exit_code == 13
    result = run("merge", "in", "-o", "out.rdb", "--target", "redis-8.8", "--report", "r.json")
    assert result.exit_code == 0
    assert not Path("out.rdb.rejected.jsonl").exists()
    assert "cannot hold" not in result.stderr
    assert MergeReport.model_validate_json(Path("r.json").read_text()).rejected_file is None


def test_a_dry_run_tells_what_does_not_fit_and_lists_nothing(folder: Path) -> None:
    result = run("merge", "in", "--dry-run", "--target", "redis-6.2")
    assert result.exit_code == 13
    assert "is listed in" not in result.stderr
    assert not list(folder.glob("*.jsonl"))


def test_the_report_tells_target_policy_and_list(folder: Path) -> None:
    arguments = ("--target", "redis-6.x", "--on-unsupported", "strip", "--report", "r.json")
    assert run("merge", "in", "-o", "out.rdb", *arguments).exit_code == 0
    report = MergeReport.model_validate_json(Path("r.json").read_text())
    assert (report.rules.target, report.rules.on_unsupported) == ("redis-6.0", "strip")
    assert (report.rejected_file, report.recoded) == ("out.rdb.rejected.jsonl", 2)
    assert (report.ledger.total().rejected, report.ledger.total().stripped) == (1, 1)


# --- shards -------------------------------------------------------------------------------------------------------


def test_shards_share_one_ledger_and_have_a_table(folder: Path) -> None:
    result = run("merge", "in", "-o", "out.rdb", *SPLIT)
    assert result.exit_code == 0, result.stderr
    assert [row[:4] for row in table(result.stdout, "Source   Db   Read   Filtered   Written")] == [
        ["a.rdb", "0", "23", "0"], ["a.rdb", "7", "1", "1"], ["b.rdb", "0", "20", "0"], ["total", "44", "1", "43"],
    ]  # fmt: skip
    heading = next(line for line in result.stdout.splitlines() if line.startswith("In the file of slots"))
    assert heading.split("  ")[0] == "In the file of slots"
    shards = table(result.stdout, heading)
    assert [row[0] for row in shards] == ["0-5460", "5461-10922", "10923-16383", "all"]
    assert sum(int(row[1]) for row in shards[:-1]) == int(shards[-1][1]) == 43
    assert sum(int(row[2]) for row in shards[:-1]) == int(shards[-1][2]) == 20
    for name in ("out.0-5460.rdb", "out.5461-10922.rdb", "out.10923-16383.rdb"):
        assert re.search(rf"^{name}: [\d,]+ keys, [\d.]+ B, REDIS00\d\d, CRC-64 [0-9a-f]{{16}}$", result.stdout, re.M)


def test_plans_of_shards_are_one_json_list(folder: Path) -> None:
    assert run("merge", "in", "-o", "out.rdb", *SPLIT, "--plan", "plan.json", "--report", "r.json").exit_code == 0
    assert isinstance(json.loads(Path("plan.json").read_text()), list)
    plans = PLANS.validate_json(Path("plan.json").read_text())
    report = MergeReport.model_validate_json(Path("r.json").read_text())
    assert [plan.rules.slots for plan in plans] == [file.slots for file in report.files]
    assert [plan.keys for plan in plans] == [file.keys for file in report.files]
    assert report.keys == sum(plan.keys for plan in plans) == 43
    assert [file.path for file in report.files] == [
        "out.0-5460.rdb", "out.5461-10922.rdb", "out.10923-16383.rdb",
    ]  # fmt: skip


def test_a_dry_run_of_shards_says_once_what_they_would_hold(folder: Path) -> None:
    result = run("merge", "in", "--dry-run", *SPLIT)
    assert result.exit_code == 0
    last = result.stdout.splitlines()[-1]
    assert re.fullmatch(r"dry run: nothing was written; the 3 files would hold 43 keys, \d+ B", last)
    assert sorted(path.name for path in folder.iterdir()) == ["in"]


def test_shards_of_an_earlier_merge_within_the_folder_are_no_sources(folder: Path) -> None:
    arguments = ("merge", "in", "-o", "in/out.rdb", *SPLIT, "--force", "--report", "r.json")
    for _ in range(2):
        assert run(*arguments).exit_code == 0
        assert len(MergeReport.model_validate_json(Path("r.json").read_text()).sources) == 2


def test_no_line_is_wider_than_a_terminal_but_warnings(folder: Path) -> None:
    result = run("merge", "in", "-o", "out.rdb", *SPLIT, "--target", "redis-6.2", "--on-unsupported", "strip")
    assert max(map(len, result.stdout.splitlines())) <= 100
