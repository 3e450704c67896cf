from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from cli.running import process, run


@pytest.fixture
def folder(golden: Path, tmp_path: Path) -> Path:
    for version in ("2.4.18", "7.0.15"):
        shutil.copy(golden / version / "all_types.rdb", tmp_path / f"{version}.rdb")
    return tmp_path


def test_a_folder_is_shown_file_by_file_and_in_sum(folder: Path) -> None:
    result = run("inspect", folder, "--top", "2")
    assert result.exit_code == 0
    text = result.stdout
    assert text.index("2.4.18.rdb") < text.index("7.0.15.rdb") < text.index("2 files")
    assert "  format     REDIS0010, " in text
    assert "  CRC-64     none in this version" in text
    assert "redis-ver=7.0.15" in text
    assert "Biggest keys" in text
    assert "  functions  " in text
    assert "zset (zset_listpack)" in text


def test_json_holds_everything(folder: Path) -> None:
    result = run("inspect", folder / "7.0.15.rdb", "--json")
    (one,) = json.loads(result.stdout)["files"]
    assert one["keys"] == sum(db["keys"] for db in one["dbs"])
    assert len(one["biggest"]) == 5


@pytest.mark.once
def test_standard_input_is_a_file_too(golden: Path) -> None:
    with (golden / "7.0.15" / "all_types.rdb").open("rb") as file:
        done = process("inspect", "-", "--json", stdin=file)
    assert done.returncode == 0
    assert json.loads(done.stdout)["files"][0]["name"] == "standard-input"


def test_a_bad_file_is_told_after_the_good_ones(folder: Path) -> None:
    whole = (folder / "7.0.15.rdb").read_bytes()
    (folder / "a.rdb").write_bytes(whole[:-9])
    (folder / "b.rdb").write_bytes(whole + b"tail")
    result = run("inspect", folder)
    assert result.exit_code == 11
    assert "3 files" in result.stdout
    assert "Warning: b.rdb: 4 bytes after the end of the RDB, which no server reads\n" in result.stderr
    assert "Error: a.rdb at byte " in result.stderr


@pytest.mark.parametrize(
    ("name", "message"), [("none.rdb", "none.rdb is not there"), ("empty", "empty holds no .rdb files")]
)
def test_what_is_not_there_is_named(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    result = run("inspect", tmp_path / name)
    assert (result.exit_code, result.stderr.splitlines()[0]) == (2, f"Error: {tmp_path}/{message}")
