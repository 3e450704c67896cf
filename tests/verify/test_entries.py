"""Entries picked out of a batch can be found again."""

from __future__ import annotations

import numpy as np
from rdbbytes import entry, rdb, record, select, string

from rdbmerge.format.columns import Columns
from rdbmerge.format.scan import Walk
from rdbmerge.verify.entries import key_of, pick


def test_a_picked_entry_knows_its_place_and_its_key() -> None:
    five = record(0, b"", string(b"v"), key_bytes=b"\xc0\x05")
    view = memoryview(rdb(9, select(0), entry(b"a"), five, entry(b"c", expire_at_ms=77)))
    batch = next(item for item in Walk(view) if isinstance(item, Columns))
    batch.hash_keys(view)
    picked = pick(batch, np.array([1, 2]), db=8, origin=3)
    assert [key_of(view, one) for one in picked] == [b"5", b"c"]
    assert picked["expire"].tolist() == [-1, 77]
    assert picked["hash"].tolist() == batch.key_hash[1:3].tolist()
    assert set(picked["db"].tolist()) == {8}
    assert [bytes(view[one["value"] : one["end"]]) for one in picked] == [string(b"v")] * 2
