"""Globs mean what they mean to Redis' KEYS; the odd cases were read in its matcher."""

from __future__ import annotations

import pytest

from rdbmerge.errors import UsageError
from rdbmerge.plan.model import KeyPattern
from rdbmerge.verify.globs import glob_steps, key_test

GLOBS = [
    (b"user:*", b"user:1", True),
    (b"user:*", b"xuser:1", False),
    (b"*", b"", True),
    (b"?", b"", False),
    (b"h?llo", b"hello", True),
    (b"h?llo", b"hllo", False),
    (b"a*b*c", b"a\nbxc", True),
    (b"[ab]x", b"bx", True),
    (b"[^ab]x", b"bx", False),
    (b"[^ab]x", b"\xffx", True),
    (b"[a-c]", b"b", True),
    (b"[c-a]", b"b", True),
    (b"[]x", b"x", False),
    (b"[^]", b"q", True),
    (b"[a", b"a", True),
    (b"[", b"[", False),
    (b"\\*", b"*", True),
    (b"\\*", b"a", False),
    (b"a\\", b"a\\", True),
    (b"[\\]]", b"]", True),
    (b"[\\a-c]", b"b", False),
    (b"[a-]", b"_", True),
    (b".+", b"xx", False),
]


@pytest.mark.parametrize(("glob", "key", "matches"), GLOBS)
def test_a_glob_matches_as_in_redis(glob: bytes, key: bytes, matches: bool) -> None:
    assert bool(key_test(KeyPattern(kind="glob", text=glob))(key)) is matches


def test_runs_of_stars_are_one() -> None:
    assert glob_steps(b"**a***") == [None, frozenset(b"a"), None]


def test_a_regular_expression_is_searched_anywhere() -> None:
    test = key_test(KeyPattern(kind="re", text=rb":\d+$"))
    assert test(b"user:12")
    assert not test(b"user:12x")


def test_a_regular_expression_that_does_not_compile_is_refused() -> None:
    with pytest.raises(UsageError, match="not a regular expression"):
        key_test(KeyPattern(kind="re", text=b"("))
