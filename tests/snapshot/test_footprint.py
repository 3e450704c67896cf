"""The memory of one value: by the form that a server gives it at load, whatever form it has in the file."""

from __future__ import annotations

import pytest
from blobbytes import intset, listpack, ziplist
from rdbbytes import pairs, string, strings

from rdbmerge.errors import FormatError
from rdbmerge.format.decode import Values
from rdbmerge.format.dialects import Dialect
from rdbmerge.snapshot import footprint as module
from rdbmerge.snapshot.footprint import Footprint, footprint

LIST, SET, HASH, SET_INTSET, HASH_ZIPLIST, HASH_LISTPACK = 1, 2, 4, 11, 13, 16


def of(number: int, payload: bytes) -> Footprint:
    view = memoryview(payload + b"\xff" * 8)
    return footprint(Values(view, Dialect("redis", 11)), number, 0, len(payload))


def fields(count: int, size: int = 5) -> dict[bytes, bytes]:
    return {b"f%d" % n: b"v" * size for n in range(count)}


def test_a_hash_takes_the_same_in_whatever_form_the_file_has_it() -> None:
    flat = [part for pair in fields(20).items() for part in pair]
    assert (
        of(HASH, pairs(fields(20)))
        == of(HASH_LISTPACK, string(listpack(*flat)))
        == of(HASH_ZIPLIST, string(ziplist(*flat)))
    )


@pytest.mark.parametrize(("few", "many"), [(fields(512), fields(513)), (fields(3, 64), fields(3, 65))])
def test_beyond_the_thresholds_a_hash_becomes_a_table(few: dict[bytes, bytes], many: dict[bytes, bytes]) -> None:
    small, large = of(HASH, pairs(few)), of(HASH, pairs(many))
    assert all(large[layout] > 1.5 * small[layout] for layout in large)


def test_small_sets_are_packed_by_valkey_alone_and_whole_numbers_by_both() -> None:
    words, numbers = of(SET, strings([b"m%d" % n for n in range(20)])), of(SET, strings([b"%d" % n for n in range(20)]))
    assert words["redis"] > 5 * words["valkey"]
    assert numbers == {"redis": 48, "valkey": 48}
    assert of(SET_INTSET, string(intset(2, *range(20)))) == numbers
    assert of(SET, strings([b"%d" % (n << 33) for n in range(20)]))["redis"] == 192


def test_a_very_large_value_is_looked_at_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    payload = pairs({b"f%05d" % n: b"v" * 20 for n in range(4_000)})
    whole = of(HASH, payload)
    monkeypatch.setattr(module, "MOST_ITEMS", 100)
    assert of(HASH, payload) == pytest.approx(whole, rel=0.01)


def test_the_nodes_of_a_list_are_counted_by_their_size_unpacked() -> None:
    short = of(LIST, strings([b"x" * 100] * 10))
    long = of(LIST, strings([b"x" * 100] * 1_000))
    assert 70 < long["redis"] / short["redis"] < 110


def test_a_damaged_value_is_refused() -> None:
    with pytest.raises(FormatError):
        of(HASH_LISTPACK, string(listpack(b"a")[:-1] + b"\x01"))
