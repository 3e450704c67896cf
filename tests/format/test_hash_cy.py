"""The hash of a key is XXH64 of its decoded bytes, in either core and however the key is stored."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdbbytes import rdb, record, select, string
from rows import only_batch
from xxhash import xxh64_intdigest

from rdbmerge.format.core import mixed, xxh64_of


@pytest.mark.parametrize("seed", [0, 1, 0x9E3779B97F4A7C15, (1 << 64) - 1])
def test_it_is_xxh64_for_every_length(seed: int) -> None:
    generator = random.Random(seed)
    for size in [*range(201), 1_000, 4_097, 100_003]:
        data = generator.randbytes(size)
        assert xxh64_of(data, seed) == xxh64_intdigest(data, seed)


@given(st.binary(max_size=300), st.integers(0, (1 << 64) - 1))
def test_it_is_xxh64_of_anything(data: bytes, seed: int) -> None:
    assert xxh64_of(data, seed) == xxh64_intdigest(data, seed)


@given(st.integers(0, (1 << 64) - 1))
def test_mixing_loses_nothing(h: int) -> None:
    """The finaliser of splitmix64 can be undone."""
    mask = (1 << 64) - 1
    m = mixed(h)
    assert 0 <= m <= mask
    m ^= m >> 31 ^ m >> 62
    m = m * pow(0x94D049BB133111EB, -1, 1 << 64) & mask
    m ^= m >> 27 ^ m >> 54
    m = m * pow(0xBF58476D1CE4E5B9, -1, 1 << 64) & mask
    assert m ^ m >> 30 ^ m >> 60 == h


FORMS = {
    b"5": [b"\xc0\x05", b"\xc1\x05\x00", b"\xc2\x05\0\0\0", b"\x015", b"\x80\0\0\0\x015"],
    b"0": [b"\xc0\x00"],
    b"-1": [b"\xc0\xff", b"\xc1\xff\xff", b"\xc2" + b"\xff" * 4],
    b"-128": [b"\xc0\x80"],
    b"127": [b"\xc0\x7f"],
    b"32767": [b"\xc1\xff\x7f"],
    b"-32768": [b"\xc1\x00\x80"],
    b"2147483647": [b"\xc2\xff\xff\xff\x7f"],
    b"-2147483648": [b"\xc2\x00\x00\x00\x80"],
    b"a" * 20: [bytes.fromhex("C305140061E00A00")],
    b"": [b"\x00", b"\x80\0\0\0\0"],
}


@pytest.mark.parametrize("key", FORMS, ids=repr)
def test_a_key_hashes_as_its_decoded_bytes(key: bytes) -> None:
    forms = [*FORMS[key], string(key)]
    view, batch, _ = only_batch(rdb(9, select(0), *(record(0, b"", string(b"v"), key_bytes=form) for form in forms)))
    assert batch.hash_keys(view).tolist() == [xxh64_intdigest(key)] * len(forms)


@given(st.lists(st.integers(-(1 << 31), (1 << 31) - 1), min_size=1, max_size=20))
def test_any_number_as_a_key_hashes_as_its_text(numbers: list[int]) -> None:
    keys = [b"\xc2" + number.to_bytes(4, "little", signed=True) for number in numbers]
    view, batch, _ = only_batch(rdb(9, select(0), *(record(0, b"", string(b"v"), key_bytes=key) for key in keys)))
    assert batch.hash_keys(view).tolist() == [xxh64_intdigest(str(number).encode()) for number in numbers]
