from __future__ import annotations

from pathlib import Path

import pytest
from cli.running import run
from rdbbytes import entry, rdb, select, slot
from rows import contents

NAMES = [b"k%d" % n for n in range(30)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with one file of two dbs."""
    data = rdb(9, select(0), *map(entry, NAMES), select(4), entry(b"other"))
    (tmp_path / "a.rdb").write_bytes(data)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"a.rdb", "a.rdb.index"}


def test_one_file_becomes_one_a_shard(folder: Path) -> None:
    result = run("split", "a.rdb", "-o", "shard.rdb", "--shards", "3", "--db-map", "4:0", "-q")
    assert result.exit_code == 0, result.stderr
    expected = {"shard.0-5460.rdb", "shard.5461-10922.rdb", "shard.10923-16383.rdb"}
    assert names(folder) == expected | {f"{name}.manifest.json" for name in expected}
    found = {path: {key for _, key in contents((folder / path).read_bytes())} for path in expected}
    assert found["shard.0-5460.rdb"] == {name for name in [*NAMES, b"other"] if slot(name) <= 5460}
    assert sum(map(len, found.values())) == 31


def test_slots_of_a_cluster_are_named_as_it_has_them(folder: Path) -> None:
    slots = "0-99+8192-16383,100-8191"
    assert run("split", "a.rdb", "-o", "s.rdb", "--slots", slots, "--db", "0").exit_code == 0
    assert {name for name in names(folder) if name.endswith(".rdb")} == {"s.0-99+8192-16383.rdb", "s.100-8191.rdb"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.rdb", "-o", "s.rdb"], "no shards are named\nTry:   give --shards 3, or their --slots"),
        (["a.rdb", "--shards", "3"], "no output is named"),
        (["-o", "s.rdb", "--shards", "3"], "missing argument 'FILE'"),
        (["a.rdb", "-o", "s.rdb", "--shards", "3", "--slots", "0-16383"], "--shards and --slots are both given"),
        (["a.rdb", "-o", "s.rdb", "--shards", "0"], "invalid value for '--shards': 0 is not in the range"),
        (["a.rdb", "-o", "s.rdb", "--shards", "501"], "501 shards cannot be\nTry:   a cluster has 1 to 500 shards"),
        (["a.rdb", "-o", "s.rdb", "--slots", "0-9"], "--slots: slot 10 is given to no shard"),
        (["a.rdb", "-o", ".", "--shards", "3"], ". is a folder"),
        (["a.rdb", "-o", "-", "--shards", "3"], "an output cannot go to standard output"),
        (["a.rdb", "-o", "no/s.rdb", "--shards", "3"], "cannot write no/s.rdb: there is no folder no"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(folder: Path, arguments: list[str], message: str) -> None:
    result = run("split", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"Error: {message}")
    assert {path.name for path in folder.iterdir()} == {"a.rdb"}


def test_keys_outside_db_0_are_refused_with_the_way_out(folder: Path) -> None:
    result = run("split", "a.rdb", "-o", "s.rdb", "--shards", "3", "-q")
    assert result.exit_code == 2
    assert result.stderr == (
        "Error: a cluster has db 0 only, and keys of db 4 would be in another\n"
        "Try:   bring all into it with --db-map 4:0, or leave out others with --db 0\n"
    )
    assert names(folder) == set()


def test_where_one_output_exists_nothing_is_written(folder: Path) -> None:
    (folder / "s.5461-10922.rdb").write_text("mine")
    arguments = ("split", "a.rdb", "-o", "s.rdb", "--shards", "3", "--db", "0")
    refused = run(*arguments)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr.startswith("Error: s.5461-10922.rdb exists\nTry:   choose another name, or replace it with")
    assert names(folder) == {"s.5461-10922.rdb"}
    assert run(*arguments, "--force").exit_code == 0


def test_the_file_itself_may_lend_its_name(folder: Path) -> None:
    before = (folder / "a.rdb").read_bytes()
    assert run("split", "a.rdb", "-o", "a.rdb", "--shards", "2", "--db", "0").exit_code == 0
    assert (folder / "a.rdb").read_bytes() == before
    assert "a.0-8191.rdb" in names(folder)


def test_a_target_counts_for_each_shard(folder: Path) -> None:
    result = run("split", "a.rdb", "-o", "s.rdb", "--shards", "2", "--db", "0", "--target", "memorydb-redis-7.1")
    assert result.exit_code == 0
    assert (folder / "s.0-8191.rdb").read_bytes().startswith(b"REDIS0006")
