"""Every key of any TOML file is found, on its own line."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdbmerge.steps.toml_lines import Path, key_lines

pytestmark = pytest.mark.once

TEXT = '''# a comment with [a.header] and key = 1
top = 1
"quoted.key" = "x = 2"  # [not.a.table]
a.b."c d" = 'literal'

[run]
dir = """
jobs = 3
[run]
""\\""""
jobs = 4

[[source]]
name = "a"
tags = [ # comment, with a ]
  "x", "]",
  { k = [1, 2], "l.m" = '}' },
]
[source.tls]
ca = "f"
[[source]]
inline = { a = 1, b.c = [ { d = 2 } ] }
[[source.more]]
x = 1
[[source.more]]
y = 2023-01-01T00:00:00Z
[other . "spaced"]
z = [
]
lit = \'\'\'
= ]
\'\'\'\'\'
last = -1.5e3'''

LINES: dict[Path, int] = {
    ("top",): 2, ("quoted.key",): 3, ("a",): 4, ("a", "b"): 4, ("a", "b", "c d"): 4, ("run",): 6, ("run", "dir"): 7,
    ("run", "jobs"): 11, ("source",): 13, ("source", 0): 13, ("source", 0, "name"): 14, ("source", 0, "tags"): 15,
    ("source", 0, "tags", 0): 16, ("source", 0, "tags", 1): 16, ("source", 0, "tags", 2): 17,
    ("source", 0, "tags", 2, "k"): 17, ("source", 0, "tags", 2, "k", 0): 17, ("source", 0, "tags", 2, "k", 1): 17,
    ("source", 0, "tags", 2, "l.m"): 17, ("source", 0, "tls"): 19, ("source", 0, "tls", "ca"): 20, ("source", 1): 21,
    ("source", 1, "inline"): 22, ("source", 1, "inline", "a"): 22, ("source", 1, "inline", "b"): 22,
    ("source", 1, "inline", "b", "c"): 22, ("source", 1, "inline", "b", "c", 0): 22,
    ("source", 1, "inline", "b", "c", 0, "d"): 22, ("source", 1, "more"): 23, ("source", 1, "more", 0): 23,
    ("source", 1, "more", 0, "x"): 24, ("source", 1, "more", 1): 25, ("source", 1, "more", 1, "y"): 26,
    ("other",): 27, ("other", "spaced"): 27, ("other", "spaced", "z"): 28, ("other", "spaced", "lit"): 30,
    ("other", "spaced", "last"): 33,
}  # fmt: skip


def paths(value: Any, path: Path = ()) -> set[Path]:
    found = {path} if path else set()
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inside in items:
        found |= paths(inside, (*path, key))
    return found


def test_each_key_is_on_its_line() -> None:
    assert key_lines(TEXT) == LINES
    assert paths(tomllib.loads(TEXT)) == LINES.keys()


def test_the_ends_of_lines_may_be_those_of_windows() -> None:
    assert key_lines(TEXT.replace("\n", "\r\n")) == LINES


def test_an_empty_file_has_no_keys() -> None:
    assert key_lines("") == key_lines("# nothing\n\n") == {}


# --- any file -----------------------------------------------------------------------------------------------------

KEYS = st.sampled_from(["a", "b-1", "1", '"q.]"', "'l=#'", '"e\\"}"', "a.b", "'x' . y", '"".c', 'd."\\u0041"'])
SCALARS = st.sampled_from(
    ["1", "-2.5", "true", '"s"', "'l'", '"]#\\""', "'}='", '"""\n]\n[x]\n"""', "'''\n'k'=\n'''", '"""a"""""',
     "1979-05-27", "0x1f", "[]", "{}", "07:32:00", '"\\\\"']
)  # fmt: skip
SPACES = st.sampled_from(["", " ", "\n", '  # ], } and "\n'])


@st.composite
def values(draw: Any, depth: int = 2) -> str:
    kind = draw(st.sampled_from(["scalar", "array", "table"])) if depth else "scalar"
    if kind == "scalar":
        return str(draw(SCALARS))
    if kind == "array":
        items = [draw(SPACES) + draw(values(depth - 1)) + draw(SPACES) for _ in range(draw(st.integers(0, 3)))]
        return "[" + ",".join(items) + draw(st.sampled_from(["", ","] if items else [""])) + draw(SPACES) + "]"
    pairs = [f"{draw(KEYS)} = {draw(values(depth - 1))}" for _ in range(draw(st.integers(0, 2)))]
    return "{ " + ", ".join(pairs) + " }"


@st.composite
def files(draw: Any) -> str:
    lines = []
    for _ in range(draw(st.integers(0, 6))):
        header = draw(st.sampled_from(["", "[{}]", "[[{}]]", "[ {} ]  # [x]"]))
        lines += [header.format(draw(KEYS))] if header else []
        lines += [f"{draw(KEYS)} = {draw(values())}{draw(st.sampled_from(['', '  # = [']))}" for _ in range(2)]
    return "\n".join(lines) + draw(st.sampled_from(["", "\n"]))


@settings(max_examples=400, deadline=None)
@given(files())
def test_any_file_has_just_these_keys_each_where_it_stands(text: str) -> None:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    lines = key_lines(text)
    assert lines.keys() == paths(data)
    for path, line in lines.items():
        # Without that line and all after it, nothing of the key can be there: it does not stand earlier.
        before = "\n".join(text.split("\n")[: line - 1])
        try:
            assert path not in paths(tomllib.loads(before))
        except tomllib.TOMLDecodeError:
            continue  # that line is within a longer value
