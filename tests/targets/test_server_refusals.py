"""Words of servers and what they mean: those of every version."""

from __future__ import annotations

import pytest

from rdbmerge.targets.server_refusals import Kind, read_refusal, remedy_of

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("BUSYKEY Target key name already exists.", Kind.HELD),
        ("ERR Target key name is busy.", Kind.HELD),
        ("TRYAGAIN Multiple keys request during rehashing of slot", Kind.AGAIN),
        ("OOM command not allowed when used memory > 'maxmemory'.", Kind.WAIT),
        ("LOADING Redis is loading the dataset in memory", Kind.WAIT),
        ("READONLY You can't write against a read only replica.", Kind.WAIT),
        ("BUSY Redis is busy running a script.", Kind.WAIT),
        ("CLUSTERDOWN The cluster is down", Kind.WAIT),
        ("MASTERDOWN Link with MASTER is down", Kind.WAIT),
        ("NOPERM this user has no permissions", Kind.STOP),
        ("NOAUTH Authentication required.", Kind.STOP),
        ("ERR operation not permitted", Kind.STOP),
        ("ERR unknown command 'RESTORE'", Kind.STOP),
        ("ERR Bad data format", Kind.REFUSED),
        ("ERR DUMP payload version or checksum are wrong", Kind.REFUSED),
        ("something new", Kind.REFUSED),
        ("", Kind.REFUSED),
    ],
)
def test_each_error_has_its_meaning(words: str, kind: Kind) -> None:
    assert read_refusal(words).kind is kind


@pytest.mark.parametrize(
    ("words", "kind", "host", "port"),
    [
        ("MOVED 3999 127.0.0.1:6381", Kind.MOVED, "127.0.0.1", 6381),
        ("ASK 3999 ::1:6381", Kind.ASK, "::1", 6381),
        ("MOVED 3999 :6381", Kind.MOVED, "", 6381),
        ("MOVED 3999 nowhere", Kind.AGAIN, "", 0),
        ("ASK 3999 host:99999999", Kind.AGAIN, "", 0),
    ],
)
def test_a_move_tells_where_to(words: str, kind: Kind, host: str, port: int) -> None:
    refusal = read_refusal(words)
    assert (refusal.kind, refusal.host, refusal.port) == (kind, host, port)


def test_what_concerns_the_whole_server_has_a_remedy() -> None:
    assert "memory" in remedy_of("OOM command not allowed")
    assert remedy_of("ERR Bad data format") == ""
