"""Samples come from all over the file, and none is dead for a server."""

from __future__ import annotations

from pathlib import Path

from rdbbytes import entry, rdb, record, select, strings

from rdbmerge.format.digest import Reading
from rdbmerge.snapshot.segment import Segment
from rdbmerge.verify.samples import take_samples
from rdbmerge.verify.structure import MergedReader


def test_samples_say_type_and_expiry_and_pass_over_the_dead(tmp_path: Path) -> None:
    path = tmp_path / "m.rdb"
    parts = (
        select(0),
        entry(b"a", expire_at_ms=5),
        entry(b"b", expire_at_ms=50),
        select(3),
        record(1, b"l", strings([b"x"])),
    )
    path.write_bytes(rdb(9, *parts))
    with Segment(path) as segment:
        found = MergedReader(segment, Reading(dialect=segment.dialect), jobs=1).read()
        samples = list(take_samples(segment, found, alive_after_ms=10))
    assert [(one.db, one.key, one.type_name, one.expire_at_ms) for one in samples] == [
        (0, b"b", "string", 50),
        (3, b"l", "list", None),
    ]
    assert str(samples[0]) == '"b" of db 0'
