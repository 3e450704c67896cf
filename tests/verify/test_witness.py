"""Witnesses agree on real files, and say so when they cannot be asked; a server's refusal is a failed check."""

from __future__ import annotations

from pathlib import Path

import pytest
from rdbbytes import entry, rdb, record, resize, select, string
from realservers import need

from rdbmerge.format.digest import Reading
from rdbmerge.snapshot.segment import Segment
from rdbmerge.verify.report import Check, Witness
from rdbmerge.verify.structure import Found, MergedReader
from rdbmerge.verify.witness import ask


def asked(path: Path, witness: Witness, *, server: Path | None = None, change: object = None) -> Check:
    with Segment(path) as segment:
        found = MergedReader(segment, Reading(dialect=segment.dialect), jobs=1).read()
        if callable(change):
            change(found)
        (check,) = ask(witness, segment, found, server=server)
    return check


@pytest.mark.parametrize("folder", ["2.4.18", "2.8.24", "3.2.13", "4.0.14", "6.2.16"])
def test_rdbtools_counts_what_we_count(golden: Path, folder: str) -> None:
    check = asked(golden / folder / "all_types.rdb", Witness.RDBTOOLS)
    assert check.ok is True, check.detail


def test_rdbtools_disagrees_when_we_are_wrong(golden: Path) -> None:
    def miscount(found: Found) -> None:
        found.dbs[0].types[0] += 1
        found.dbs[0].expiry_sum_ms += 1

    check = asked(golden / "6.2.16" / "expired.rdb", Witness.RDBTOOLS, change=miscount)
    assert check.ok is False
    assert "string keys by rdbtools" in check.detail
    assert "the expiries sum up to" in check.detail


def test_what_rdbtools_cannot_read_is_no_difference(golden: Path, tmp_path: Path) -> None:
    assert asked(golden / "7.4.1" / "all_types.rdb", Witness.RDBTOOLS).ok is None
    odd = tmp_path / "odd.rdb"
    odd.write_bytes(rdb(9, select(0), resize(1, 0), record(10, b"l", string(b"no ziplist at all"))))
    check = asked(odd, Witness.RDBTOOLS)
    assert check.ok is None
    assert "rdbtools gave up" in check.detail


@pytest.mark.parametrize("folder", ["2.8.24", "6.2.16", "7.0.15", "7.2.6", "7.4.1", "valkey-9.1.2"])
@pytest.mark.parametrize("name", ["all_types", "expired", "sync"])
def test_a_server_finds_what_we_find(golden: Path, folder: str, name: str) -> None:
    path = golden / folder / f"{name}.rdb"
    if not path.exists():
        pytest.skip(f"no {name} of {folder}")
    check = asked(path, Witness.SERVER)
    if check.ok is None:
        pytest.skip(check.detail)
    assert check.ok is True, check.detail


def test_a_server_disagrees_when_we_are_wrong(golden: Path) -> None:
    need("redis-7.0")

    def miscount(found: Found) -> None:
        found.dbs[0].keys += 1
        found.libraries.append(type(found.libraries[0])(b"ghost", b"", 0))

    check = asked(golden / "7.0.15" / "sync.rdb", Witness.SERVER, change=miscount)
    assert check.ok is False
    assert "db 0: (keys, expiries)" in check.detail
    assert "b'ghost' is not in" in check.detail


def test_a_refusal_is_told_in_the_servers_words(tmp_path: Path) -> None:
    server = need("redis-7.0")
    path = tmp_path / "twice.rdb"
    path.write_bytes(rdb(9, select(0), resize(2, 0), entry(b"k"), entry(b"k")))
    check = asked(path, Witness.SERVER, server=server.path)
    assert check.ok is False
    assert "duplicated key" in check.detail.lower()


def test_nobody_is_asked_when_nobody_is_named(golden: Path) -> None:
    with Segment(golden / "7.4.1" / "empty.rdb") as segment:
        assert ask(Witness.NONE, segment, Found(segment.dialect)) == []
