from __future__ import annotations

import pytest

from rdbmerge.errors import UsageError
from rdbmerge.replication.source_list import read_sources

LIST = """
# the old park
10.0.0.1:6379
orders=redis://puller:${PULL_PASSWORD}@10.0.0.2:6380   # by name

${REGION}-cache:6381
 sessions = rediss://:fixed#1@h
"""
VARIABLES = {"PULL_PASSWORD": "p@ss%41/#word", "REGION": "eu"}


def test_a_list_gives_its_sources_in_order() -> None:
    sources = read_sources(LIST.splitlines(), variables=VARIABLES)
    assert [(source.name, source.address) for source in sources] == [
        ("10.0.0.1-6379", "10.0.0.1:6379"),
        ("orders", "10.0.0.2:6380"),
        ("eu-cache-6381", "eu-cache:6381"),
        ("sessions", "rediss://h:6379"),
    ]
    assert [source.password for source in sources] == [None, "p@ss%41/#word", None, "fixed#1"]


def test_options_are_the_defaults_of_every_line() -> None:
    first, second = read_sources(["a", "redis://:own@b"], variables={}, password="common")
    assert (first.password, second.password) == ("common", "own")


@pytest.mark.parametrize(
    ("lines", "finding"),
    [
        (["a", "", "a:6379"], "sources file, line 3: the name a-6379 is on line 1 already"),
        (["x=a", "y=rediss://A:6379"], "sources file, line 2: the address a:6379 is on line 1 already"),
        (["x=a", "X=b"], "sources file, line 2: the name x is on line 1 already"),
        (["redis://:${NOPE}@a"], "sources file, line 1: the variable NOPE is not set"),
        (["a", "b:x"], "sources file, line 2: 'b:x' is not a source address: the port must be 1 to 65535"),
        (["a/b=c"], "sources file, line 1: 'a/b=c' is not a source address: no host in it"),
    ],
)
def test_a_bad_line_is_named(lines: list[str], finding: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_sources(lines, variables={})
    assert str(refused.value) == finding
    assert refused.value.remedy


def test_an_empty_list_has_no_sources() -> None:
    assert read_sources(["", "# nothing"], variables={}) == []


def test_a_line_may_name_the_ssh_server_on_the_way() -> None:
    lines = ["a=10.0.0.1  ssh=ops@one:2222 # comment", "b=10.0.0.1 ssh=${WAY}", "c=redis-cluster://d:1", "d=e ssh=f"]
    sources = read_sources(lines, variables={"WAY": "two"}, ssh="all")
    assert [source.ssh for source in sources] == ["ops@one:2222", "two", "all", "f"]
    assert [source.cluster for source in sources] == [False, False, True, False]
    with pytest.raises(UsageError, match="line 1: the destination for SSH is not one"):
        read_sources(["a ssh=-oProxyCommand=x"], variables={})
