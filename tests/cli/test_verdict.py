"""What is shown of a verification: the ledger, each db, every check with its reach, differences, the verdict last."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cli.running import run
from rdbbytes import rdb, record, resize, select
from verify.rewritten import SOURCE, Target, plain_hash, redis_28, redis_62
from verify.test_shards import FIRST, NAMES, SECOND, THIRD, file_of
from verify.test_shards import SOURCE as OF_SHARDS
from verify.world import Merged

from rdbmerge.cli.verdict import show_report


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shown(folder: Path, target: Target, *options: str) -> tuple[int, str]:
    """Exit code and what is shown for the file of a target."""
    (folder / "in" / "source.rdb").write_bytes(SOURCE)
    (folder / "merged.rdb").write_bytes(target.bytes())
    rules = ("--ttl-offset", "1h", "--target", target.name, "--on-unsupported", "strip")
    result = run("verify", "merged.rdb", "--against", "in", *rules, *options)
    return result.exit_code, result.stdout


def row(text: str, start: str) -> list[str]:
    (line,) = (line for line in text.splitlines() if line.startswith(start))
    return line.split()


def test_the_ledger_has_the_columns_that_hold_something(folder: Path) -> None:
    code, text = shown(folder, redis_62())
    assert code == 0
    assert re.search(r"^Source +Db +Read +Rejected +Expected +Of them stripped +Found$", text, re.MULTILINE)
    assert row(text, "source.rdb") == ["source.rdb", "0", "9", "1", "8", "2", "8"]
    assert row(text, "total") == ["total", "9", "1", "8", "2", "8"]


def test_without_a_target_nothing_is_said_of_one(folder: Path) -> None:
    (folder / "in" / "a.rdb").write_bytes(OF_SHARDS)
    (folder / "merged.rdb").write_bytes(file_of(*FIRST, *SECOND, *THIRD))
    text = run("verify", "merged.rdb", "--against", "in").stdout
    assert re.search(r"^Source +Db +Read +Expected +Found$", text, re.MULTILINE)
    for word in ("Rejected", "stripped", "shards", "unsupported", "Elsewhere"):
        assert word not in text.replace("here or in another shard", "").replace("dropped by conflict or rejected", "")


def test_each_check_says_what_it_proves_or_what_is_wrong(folder: Path) -> None:
    target = redis_28()
    target.extra.append(record(28, b"array", b"\x01\x00\x05\x00\x01a"))
    code, text = shown(folder, target, "--level", "full")
    assert code == 22
    assert "FAILED    target: redis-2.8 does not know type 28 (array)" in text
    assert (
        "ok        unsupported: 2 keys cannot be held, 1 were stripped\n          proves what redis-2.8 cannot" in text
    )
    failed = text[text.index("FAILED    target") :].splitlines()
    assert not failed[1].startswith("          proves")


def test_differences_come_as_a_table_and_the_verdict_last(folder: Path) -> None:
    target = redis_62()
    del target.records["list"]
    target.records["hash"] = plain_hash(f=b"1", g=b"70001")
    code, text = shown(folder, target)
    assert code == 22
    assert "Differences: 2" in text
    assert row(text, "missing")[:4] == ["missing", "0", '"list"', "source.rdb"]
    assert row(text, "field")[:4] == ["field", "0", '"hash"', "source.rdb"]
    assert text.splitlines()[-1] == "merged.rdb: FAILED (keys per db, contents)"
    assert text.index("Differences: 2") > text.index("FAILED    contents")


def test_many_differences_are_counted_and_some_are_shown(folder: Path) -> None:
    keys = [b"key:%03d" % number for number in range(150)]
    (folder / "in" / "a.rdb").write_bytes(file_of(*keys))
    (folder / "merged.rdb").write_bytes(rdb(10, select(0), resize(0, 0)))
    text = run("verify", "merged.rdb", "--against", "in").stdout
    assert "Differences: 150, the first 100 of them" in text


def test_at_level_counts_it_says_that_contents_were_not_compared(folder: Path) -> None:
    _, text = shown(folder, redis_62(), "--level", "counts")
    dbs = text[text.index("In the merged file") :].splitlines()
    assert dbs[3].split() == ["0", "8", "8", "2", "2", "not", "compared"]
    assert row(text, "total")[-1] == "-"


def shards(folder: Path, *files: list[bytes]) -> tuple[int, list[str]]:
    (folder / "in" / "source.rdb").write_bytes(OF_SHARDS)
    for name, keys in zip(NAMES, files, strict=True):
        (folder / name).write_bytes(file_of(*keys))
    result = run("verify", *NAMES[::-1], "--against", "in", "--shards", "3", "--report", "v.json")
    return result.exit_code, result.stdout.splitlines()


def test_shards_are_shown_one_by_one_and_then_together(folder: Path) -> None:
    code, lines = shards(folder, FIRST, SECOND, THIRD)
    assert code == 0
    assert [line for line in lines if line.endswith(": PASSED")] == [*(f"{name}: PASSED" for name in NAMES), lines[-1]]
    assert lines[-1] == "3 of 3 shards passed; all together: PASSED"
    together = lines[lines.index(next(line for line in lines if "All shards together" in line)) :]
    assert "source.rdb" in "\n".join(together)
    assert any(line.split() == ["source.rdb", "0", "7", "7"] for line in together)
    assert any(line.startswith("ok        balance of all shards: 7 read, 7 expected") for line in together)


def test_what_checks_prove_is_said_once_for_all_shards(folder: Path) -> None:
    _, lines = shards(folder, FIRST, SECOND, THIRD)
    assert sum(line.startswith("ok        exact end") for line in lines) == 3
    assert sum("proves nothing follows the checksum" in line for line in lines) == 1


def test_a_shard_that_fails_fails_all(folder: Path) -> None:
    code, lines = shards(folder, FIRST, [*SECOND, b"foo"], THIRD[1:])
    assert code == 22
    assert lines[-1] == "1 of 3 shards passed; all together: FAILED"
    assert [line.partition(":")[0] for line in lines if ": FAILED" in line and line.startswith("merged")] == NAMES[1:]
    assert any("it belongs in another shard" in line for line in lines)


def test_a_report_is_shown_without_the_step_that_made_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from verify.world import check

    show_report(check(folder / "world", Merged().bytes()))
    assert capsys.readouterr().out.splitlines()[-1].endswith("merged.rdb: PASSED")
