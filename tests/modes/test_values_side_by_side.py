"""Two modes, one truth about values: whole or damaged, both cores re-encode and hash them, or refuse them, alike."""

from __future__ import annotations

import random

import pytest
from blobbytes import lzf
from forms import FORMS, TEMPLATES, Form
from modes.test_side_by_side import HOSTILE
from modes.twins import OF_ENTRIES, assert_alike
from rdbbytes import length, rdb, record, select, string, strings

pytestmark = pytest.mark.once  # one run has both cores

HASH_TEMPLATES = b"".join(b"\xf2" + length(number) + strings(names) for number, names in TEMPLATES.items())
LIKE_OTHERS = ("stream-2", "stream-3", "stream-4")
PACKED = [form for form in FORMS if form.packed and form.name not in LIKE_OTHERS]


def file_of(form: Form, payload: bytes) -> bytes:
    """The one value in a file of its line; only where it needs them, after hash templates."""
    one = select(0) + record(form.number, b"k", payload)
    if form.dialect.line == "valkey":
        return rdb(80, one, magic=b"VALKEY080")
    return rdb(15, HASH_TEMPLATES, one) if form.number in (30, 32) else rdb(14, one)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_a_value_of_every_form_is_one_to_both(form: Form) -> None:
    assert_alike(file_of(form, form.payload))
    if form.packed:
        assert_alike(file_of(form, form.payload.replace(string(form.inside), lzf(form.inside))))


@pytest.mark.parametrize("form", [form for form in FORMS if form.name not in LIKE_OTHERS], ids=lambda form: form.name)
def test_a_value_damaged_anywhere_is_one_to_both(form: Form) -> None:
    generator = random.Random(form.name)
    for place in range(len(form.payload)):
        for damage in (generator.randbytes(1), generator.choice(HOSTILE)):
            damaged = form.payload[:place] + damage + form.payload[place + len(damage) :]
            assert_alike(file_of(form, damaged), asked=OF_ENTRIES)


@pytest.mark.parametrize("form", PACKED, ids=lambda form: form.name)
def test_a_compressed_value_with_damage_inside_is_one_to_both(form: Form) -> None:
    generator = random.Random(form.name)
    for place in range(len(form.inside)):
        inside = bytearray(form.inside)
        inside[place] = generator.choice([inside[place] ^ 1, 0, 0xFF, generator.randrange(256)])
        damaged = form.payload.replace(string(form.inside), lzf(bytes(inside)))
        assert_alike(file_of(form, damaged), asked=OF_ENTRIES)
