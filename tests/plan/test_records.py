"""Which libraries and which module data the merged file holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from merging import merged, opened, saved
from rdbbytes import entry, function, rdb, select

from rdbmerge.errors import ConflictError
from rdbmerge.plan.model import Policy


def lib(name: str, body: str = "return 1") -> bytes:
    return function(f"#!lua name={name}\n{body}".encode())


def module(body: int, *, when: int = 1, letters: str = "BDE72DA2BB1EB400") -> bytes:
    return b"\xf7\x81" + bytes.fromhex(letters) + b"\x02%c\x02%c\x00" % (when, body)


def test_libraries_are_merged_by_name_and_equal_ones_are_one(tmp_path: Path) -> None:
    files = [rdb(10, lib("one"), lib("two")), rdb(10, lib("two"), lib("three")), rdb(10)]
    with opened(tmp_path, *files) as merge:
        plan = merge.plan()
    assert [(one.name, one.source, one.equal, one.dropped) for one in plan.libraries] == [
        ("one", 0, [], []), ("two", 0, [1], []), ("three", 1, [], []),
    ]  # fmt: skip
    assert plan.magic == "REDIS0010"


@pytest.mark.parametrize(("policy", "source", "dropped"), [(Policy.FIRST, 0, [1]), (Policy.LAST, 1, [0])])
def test_of_two_that_differ_the_policy_chooses(tmp_path: Path, policy: Policy, source: int, dropped: list[int]) -> None:
    files = [rdb(10, lib("one", "return 1")), rdb(10, lib("one", "return 2"))]
    with opened(tmp_path, *files) as merge:
        (library,) = merge.plan(on_conflict=policy).libraries
    assert (library.source, library.dropped) == (source, dropped)
    merged(saved(tmp_path, *files), tmp_path / "out.rdb", on_conflict=policy)
    assert b"return %d" % (source + 1) in (tmp_path / "out.rdb").read_bytes()


@pytest.mark.parametrize("policy", [Policy.FAIL, Policy.LONGEST_TTL])
def test_two_that_differ_fail_where_the_policy_cannot_choose(tmp_path: Path, policy: Policy) -> None:
    with (
        opened(tmp_path, rdb(10, lib("one", "1")), rdb(10, lib("one", "2"))) as merge,
        pytest.raises(ConflictError, match=r"function library 'one' differs between sources: a\.rdb, b\.rdb") as bad,
    ):
        merge.plan(on_conflict=policy)
    assert bad.value.exit_code == 20
    assert "first or last" in bad.value.remedy
    assert ("longest-ttl cannot choose" in str(bad.value)) == (policy is Policy.LONGEST_TTL)


def test_module_data_is_one_a_module_and_place(tmp_path: Path) -> None:
    other = "BDE72DA2BB1EB000"
    files = [
        rdb(9, module(1), select(0), entry(b"k"), module(2, when=2)),
        rdb(9, module(1), module(5, letters=other), select(1), entry(b"k")),
    ]
    with opened(tmp_path, *files) as merge:
        plan = merge.plan()
    assert [(one.before_keys, one.source, one.equal) for one in plan.module_data] == [
        (True, 0, [1]),
        (False, 0, []),
        (True, 1, []),
    ]
    assert [one.module for one in plan.module_data].count("vectorset") == 2
    merged(saved(tmp_path, *files), tmp_path / "out.rdb")


def test_module_data_that_differs_needs_a_choice(tmp_path: Path) -> None:
    files = [rdb(9, module(1)), rdb(9, module(2))]
    with opened(tmp_path, *files) as merge:
        with pytest.raises(ConflictError, match="data of module 'vectorset' differs between sources"):
            merge.plan()
        assert [one.source for one in merge.plan(on_conflict=Policy.LAST).module_data] == [1]
        assert [one.source for one in merge.plan(on_conflict=Policy.FIRST).module_data] == [0]
