"""What a merge of a run depends on, and what those after it may rely on."""

from __future__ import annotations

from pathlib import Path

import pytest
from steps.runs import ran, tools_of, two_files

from rdbmerge.errors import UsageError
from rdbmerge.snapshot.manifest import read_manifest
from rdbmerge.steps.stages.merging import MergeStage, merged_files


def test_a_merge_depends_on_the_rules_the_sources_and_their_order(tmp_path: Path) -> None:
    path = two_files(tmp_path)
    with tools_of(path) as tools:
        before = MergeStage(tools).inputs()
    assert list(before) == ["rules", "shards", "order of the sources", "source a", "source b", "output", "rdbmerge"]
    text = path.read_text()
    first, second = (f"[[source]]{part}" for part in text.split("[[source]]")[1:])
    path.write_text(text.replace(first + second, f"{second}\n{first}"))
    with tools_of(path) as tools:
        after = MergeStage(tools).inputs()
    assert {name for name in before if before[name] != after[name]} == {"order of the sources"}


def test_no_secret_is_among_what_is_remembered(tmp_path: Path) -> None:
    path = two_files(tmp_path)
    path.write_text(path.read_text() + '[[source]]\nname = "s"\naddress = "redis://u:hunter2@127.0.0.1:1"\n')
    with pytest.raises(Exception, match="1 of 1 sources"):
        ran(path)
    assert not [one for one in (tmp_path / "work").rglob("*") if one.is_file() and b"hunter2" in one.read_bytes()]


def test_what_follows_gets_the_files_as_the_merge_left_them(tmp_path: Path) -> None:
    path = two_files(tmp_path, "[merge]\nshards = 2\n")
    with tools_of(path) as tools, pytest.raises(UsageError, match="the merge is not at hand: it was not done"):
        merged_files(tools)
    ran(path, until_step="merge")
    with tools_of(path) as tools:
        outputs = MergeStage(tools).outputs()
        found = merged_files(tools)
    assert [one.name for one in outputs] == ["merged.0-8191.rdb", "merged.8192-16383.rdb"]
    assert list(found) == ["merged.0-8191.rdb", "merged.8192-16383.rdb", "plan.json"]
    manifest = read_manifest(outputs[0])
    assert manifest is not None
    assert found["merged.0-8191.rdb"].startswith(f"{manifest.crc64}, ")
    outputs[0].unlink()
    with tools_of(path) as tools, pytest.raises(UsageError, match=r"merged\.0-8191\.rdb is gone"):
        merged_files(tools)
