"""Libraries and module data: one of equals, the policy's choice among others."""

from __future__ import annotations

from pathlib import Path

import pytest
from rdbbytes import aux, function, length, rdb
from verify.world import check, failed

ONE, TWO = b"#!lua name=lib\nreturn 1", b"#!lua name=lib\nreturn 2"
MODULE_ID = 0xBDE72DA2BB1EB400


def module_aux(when: int, value: int) -> bytes:
    return b"\xf7" + length(MODULE_ID) + length(2) + length(when) + length(2) + length(value) + length(0)


def source(*parts: bytes) -> bytes:
    return rdb(12, aux(b"ctime", b"1700000000"), *parts)


@pytest.mark.parametrize(
    ("merged", "sources", "policy", "said"),
    [
        (ONE, [ONE, ONE], "fail", None),
        (ONE, [ONE, TWO], "first", None),
        (TWO, [ONE, TWO], "last", None),
        (ONE, [ONE, TWO], "last", "'lib' is not the one that wins"),
        (ONE, [ONE, TWO], "fail", "differs between sources"),
        (ONE, [ONE, TWO], "longest-ttl", "longest-ttl cannot choose"),
    ],
)
def test_a_library_of_several_sources(
    tmp_path: Path, merged: bytes, sources: list[bytes], policy: str, said: str | None
) -> None:
    files = [source(function(code)) for code in sources]
    found = failed(check(tmp_path, source(function(merged)), files, on_conflict=policy))
    assert (said is None and found == {}) or (said is not None and said in found["function libraries"])


def test_module_data_is_compared_byte_by_byte_and_by_place(tmp_path: Path) -> None:
    one, two, after = module_aux(1, 5), module_aux(1, 6), module_aux(2, 5)
    assert failed(check(tmp_path, source(one, after), [source(one), source(one, after)], on_conflict="fail")) == {}
    assert "is missing" in failed(check(tmp_path, source(one), [source(one, after)], dbs=[0]))["module data"]
    assert "not the one that wins" in failed(check(tmp_path, source(two), [source(one)], dbs=[0]))["module data"]
    assert "is in no source" in failed(check(tmp_path, source(one), [source()], dbs=[0]))["module data"]
