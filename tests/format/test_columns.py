"""A batch of entries as columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rdbbytes import entry, rdb, record, select, string
from rows import only_batch
from truth import read_truth, short
from xxhash import xxh64_intdigest

from rdbmerge.errors import FormatError
from rdbmerge.format.columns import BATCH_ROWS, Columns
from rdbmerge.format.scan import Walk

FIXTURES = Path(__file__).parents[2] / "fixtures" / "rdb"
COMPRESSED = bytes.fromhex("C305140061E00A00")


def test_the_columns_have_the_types_that_are_promised() -> None:
    columns = Columns(3)
    kinds = {name: getattr(columns, name).dtype for name in vars(columns) if hasattr(getattr(columns, name), "dtype")}
    assert kinds == {
        "type": np.uint8, "flags": np.uint8, "expire_at_ms": np.int64, "hint": np.int64, "entry_start": np.int64,
        "key_start": np.int64, "key_len": np.uint32, "value_start": np.int64, "end": np.int64, "key_hash": np.uint64,
    }  # fmt: skip
    assert (columns.capacity, columns.rows, Columns().capacity) == (3, 0, BATCH_ROWS)


def test_a_batch_knows_where_it_starts_and_stops() -> None:
    data = rdb(9, select(0), entry(b"a", expire_at_ms=5), entry(b"b"))
    _, batch, _ = only_batch(data)
    assert (batch.start, batch.stop) == (11, 11 + len(entry(b"a", expire_at_ms=5) + entry(b"b")))


def test_keys_are_decoded_and_hashed_in_all_their_forms() -> None:
    forms = {b"raw": string(b"raw"), b"": b"\0", b"-7": b"\xc0\xf9", b"a" * 20: COMPRESSED, b"12345": b"\xc1\x39\x30"}
    data = rdb(9, select(0), *(record(0, b"", string(b"v"), key_bytes=form) for form in forms.values()))
    view, batch, _ = only_batch(data)
    assert [batch.key(view, row) for row in range(batch.rows)] == list(forms)
    assert batch.hash_keys(view).tolist() == [xxh64_intdigest(key) for key in forms]


def test_a_prefix_is_hashed_as_if_it_stood_before_each_key() -> None:
    forms = {b"plain": string(b"plain"), b"5": b"\xc0\x05", b"": b"\0"}
    view, batch, _ = only_batch(
        rdb(9, select(0), *(record(0, b"", string(b"v"), key_bytes=one) for one in forms.values()))
    )
    assert batch.hash_keys(view, b"p:").tolist() == [xxh64_intdigest(b"p:" + key) for key in forms]
    assert batch.hash_keys(view).tolist() == [xxh64_intdigest(key) for key in forms]


def test_a_key_that_does_not_unpack_is_refused_at_its_place() -> None:
    view, batch, _ = only_batch(rdb(9, select(0), record(0, b"", string(b"v"), key_bytes=b"\xc3\x02\x05\x00a")))
    for ask in (lambda: batch.key(view, 0), lambda: batch.hash_keys(view)):
        with pytest.raises(FormatError, match="at byte 12: a compressed string does not unpack"):
            ask()


@pytest.mark.parametrize("capacity", [1, 7, 65_536])
def test_the_size_of_a_batch_does_not_matter(capacity: int) -> None:
    path = FIXTURES / "6.2.16" / "all_types.rdb"
    view = memoryview(path.read_bytes())
    found = []
    for batch in Walk(view, columns=Columns(capacity)):
        if isinstance(batch, Columns):
            assert batch.rows <= capacity
            assert batch.hash_keys(view).tolist() == [xxh64_intdigest(batch.key(view, r)) for r in range(batch.rows)]
            found += [(batch.db, short(batch.key(view, row))) for row in range(batch.rows)]
    assert sorted(found) == sorted(read_truth(path.with_name("all_types.truth.jsonl.gz")).entries)
