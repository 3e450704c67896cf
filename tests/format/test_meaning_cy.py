"""A value's hash is that of what it means: one for all its forms, and another as soon as anything in it is another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from blobbytes import Raw, listpack, ziplist
from decoded import REDIS, VALKEY
from encodings_of import (
    HASHES,
    LISTS,
    SETS,
    TEXTS,
    TIMED_HASHES,
    TIMES,
    ZSETS,
    Encoded,
    hash_forms,
    list_forms,
    set_forms,
    string_forms,
    timed_forms,
    zset_forms,
)
from forms import AT, FORMS, Form, held_templates, time
from hypothesis import given, settings
from hypothesis import strategies as st
from rdbbytes import length, pairs, string, strings

from rdbmerge.errors import FormatError
from rdbmerge.format import codes
from rdbmerge.format.columns import Columns
from rdbmerge.format.core import ItemReader, Meaning, Recoder
from rdbmerge.format.decode import Values, item_failure
from rdbmerge.format.digest import Reading
from rdbmerge.format.forms import plain_table
from rdbmerge.format.logical import Hash
from rdbmerge.format.scan import Walk
from rdbmerge.format.values import Logical, item_tables
from rdbmerge.verify.meaning import difference_of, expected_value

FILES = sorted((Path(__file__).parents[2] / "fixtures" / "rdb").glob("*/*.rdb"))
KINDS: list[tuple[st.SearchStrategy[Any], Any]] = [
    (TEXTS, string_forms), (LISTS, list_forms), (SETS, set_forms), (ZSETS, zset_forms), (HASHES, hash_forms),
    (TIMED_HASHES, timed_forms),
]  # fmt: skip
NAMES = ["string", "list", "set", "zset", "hash", "timed hash"]


def meaning_of(one: Encoded, *, seed: int = 7, **rules: Any) -> int:
    """The hash, with other bytes around the value; raises what is wrong with it."""
    view = memoryview(b"\xffbefore" + one.payload + b"behind\xff")
    meaning = Reading(dialect=one.dialect, **rules).meaning(view, one.held)
    got = meaning.of(one.number, 7, 7 + len(one.payload), seed)
    if meaning.has_failed():
        raise item_failure(meaning.get_reader())
    return int(got)


@pytest.mark.parametrize(("values", "forms"), KINDS, ids=NAMES)
@settings(deadline=None, max_examples=300)
@given(st.data())
def test_two_values_have_one_hash_if_and_only_if_they_are_equal(values: Any, forms: Any, data: st.DataObject) -> None:
    one, other = data.draw(values), data.draw(values)
    hashes = [meaning_of(data.draw(forms(value))) for value in (one, one, other)]
    assert hashes[0] == hashes[1]
    assert (hashes[0] == hashes[2]) == (one == other)


@settings(deadline=None, max_examples=300)
@given(st.lists(TEXTS, min_size=1, max_size=5), st.data())
def test_a_list_that_is_changed_in_one_place_is_another(texts: list[bytes], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(texts) - 1))
    changed = {
        "dropped": texts[:at] + texts[at + 1 :],
        "doubled": texts[: at + 1] + texts[at:],
        "changed": [*texts[:at], texts[at] + b"!", *texts[at + 1 :]],
        "turned": texts[::-1],
        "moved": texts[1:] + texts[:1],
    }[data.draw(st.sampled_from(["dropped", "doubled", "changed", "turned", "moved"]))]
    same = meaning_of(data.draw(list_forms(texts))) == meaning_of(data.draw(list_forms(changed)))
    assert same == (texts == changed)


def plain(number: int, *texts: bytes) -> Encoded:
    return Encoded(number, strings(texts))


def test_the_order_counts_in_lists_only() -> None:
    assert meaning_of(plain(1, b"a", b"b")) != meaning_of(plain(1, b"b", b"a"))
    assert meaning_of(plain(2, b"a", b"b")) == meaning_of(plain(2, b"b", b"a"))
    assert meaning_of(Encoded(4, pairs({b"a": b"1", b"b": b"2"}))) == meaning_of(
        Encoded(4, pairs({b"b": b"2", b"a": b"1"}))
    )


def test_where_one_element_ends_counts() -> None:
    assert meaning_of(plain(1, b"a", b"b")) != meaning_of(plain(1, b"ab"))
    assert meaning_of(plain(1, b"ab", b"")) != meaning_of(plain(1, b"a", b"b"))
    assert meaning_of(plain(2, b"ab")) != meaning_of(plain(2, b"a", b"b"))
    assert meaning_of(Encoded(4, pairs({b"a": b"bc"}))) != meaning_of(Encoded(4, pairs({b"ab": b"c"})))


def test_what_is_a_field_and_what_its_value_counts() -> None:
    assert meaning_of(Encoded(4, pairs({b"a": b"b"}))) != meaning_of(Encoded(4, pairs({b"b": b"a"})))
    crossed = pairs({b"a": b"2", b"b": b"1"})
    assert meaning_of(Encoded(4, pairs({b"a": b"1", b"b": b"2"}))) != meaning_of(Encoded(4, crossed))


def test_a_member_twice_is_not_that_member_once() -> None:
    assert meaning_of(plain(2, b"a", b"a")) != meaning_of(plain(2, b"a"))
    assert meaning_of(plain(2, b"a", b"a")) != meaning_of(plain(2))


def test_scores_change_places_only_when_they_are_equal() -> None:
    def scored(a: float, b: float) -> int:
        return meaning_of(Encoded(12, string(ziplist(b"a", b"%g" % a, b"b", b"%g" % b))))

    assert scored(1, 2) != scored(2, 1)
    assert scored(0.0, 1) == scored(-0.0, 1)
    assert scored(float("inf"), 1) != scored(float("-inf"), 1)


def test_the_seed_binds_a_value_to_its_key() -> None:
    for form in FORMS:
        if form.dialect.types[form.number].logical <= Logical.STREAM:
            one = Encoded(form.number, form.payload, form.dialect, held_templates())
            assert meaning_of(one, seed=1) != meaning_of(one, seed=2)


@pytest.mark.parametrize("cut", range(5))
def test_how_a_list_is_cut_into_nodes_does_not_count(cut: int) -> None:
    texts = [b"a", b"b", b"5", b"d"]
    whole = meaning_of(plain(1, *texts))
    for number, container, blob in ((14, b"", ziplist), (18, b"\x02", listpack)):
        two = container + string(blob(*texts[:cut])) + container + string(blob(*texts[cut:]))
        assert meaning_of(Encoded(number, b"\x02" + two)) == whole


# --- fields with expiries -----------------------------------------------------------------------------------------


def timed(*fields: tuple[bytes, int]) -> Encoded:
    body = b"".join(length(at) + string(name) + string(b"v") for name, at in fields)
    return Encoded(22, length(len(fields)) + body)


FIELDS = (b"f", AT), (b"g", 0), (b"h", AT + 5)


@pytest.mark.parametrize(
    "other",
    [
        ((b"f", AT + 1), (b"g", 0), (b"h", AT + 5)), ((b"f", 0), (b"g", 0), (b"h", AT + 5)),
        ((b"f", AT), (b"g", AT), (b"h", AT + 5)), ((b"f", AT + 5), (b"g", 0), (b"h", AT)),
        ((b"f", AT), (b"h", AT + 5)), ((b"f", 0), (b"g", 0), (b"h", 0)),
    ],
)  # fmt: skip
def test_the_time_of_one_field_counts(other: tuple[tuple[bytes, int], ...]) -> None:
    assert meaning_of(timed(*FIELDS)) != meaning_of(timed(*other))
    same = meaning_of(timed(*FIELDS), without_field_times=True) == meaning_of(timed(*other), without_field_times=True)
    assert same == (len(other) == 3)


def test_times_count_as_they_are_to_be() -> None:
    moved = tuple((name, at and at + 9) for name, at in FIELDS)
    assert meaning_of(timed(*FIELDS), ttl_offset_ms=9) == meaning_of(timed(*moved))
    assert meaning_of(timed(*FIELDS), ttl_offset_ms=9) != meaning_of(timed(*FIELDS))
    assert meaning_of(timed(*FIELDS), ttl_offset_ms=9, as_it_stands=True) == meaning_of(timed(*FIELDS))
    assert meaning_of(timed(*FIELDS), ttl_offset_ms=9, without_field_times=True) == meaning_of(
        Encoded(4, pairs({b"f": b"v", b"g": b"v", b"h": b"v"}))
    )


def test_dead_fields_do_not_count() -> None:
    left = meaning_of(timed((b"g", 0), (b"h", AT + 5)))
    assert meaning_of(timed(*FIELDS), fields_dead_before_ms=AT + 1) == left
    assert meaning_of(timed(*FIELDS), fields_dead_before_ms=AT) == meaning_of(timed(*FIELDS))
    assert meaning_of(timed(*FIELDS), fields_dead_before_ms=AT + 1, as_it_stands=True) == meaning_of(timed(*FIELDS))


def test_times_that_cannot_be_written_count_as_what_is_written() -> None:
    last, latest = codes.LATEST_FIELD_EXPIRY_MS, codes.LATEST_EXPIRY_MS
    assert meaning_of(timed((b"f", last)), ttl_offset_ms=1) == meaning_of(timed((b"f", last)))
    assert meaning_of(timed((b"f", 5)), ttl_offset_ms=-9) == meaning_of(timed((b"f", 1)))
    of_valkey = Encoded(22, b"\x01\x01f\x01v" + time((1 << 63) - 1), VALKEY)
    bound = Encoded(22, b"\x01\x01f\x01v" + time(latest), VALKEY)
    assert meaning_of(of_valkey, ttl_offset_ms=9) == meaning_of(bound, as_it_stands=True)
    assert meaning_of(of_valkey, latest_field_ms=last) == meaning_of(timed((b"f", last)), as_it_stands=True)


RULES = st.fixed_dictionaries(
    {},
    optional={
        "ttl_offset_ms": st.one_of(st.sampled_from([0, 1, -1, -3]), st.integers(-(1 << 47), 1 << 47)),
        "fields_dead_before_ms": TIMES,
        "as_it_stands": st.booleans(),
        "without_field_times": st.booleans(),
        "latest_field_ms": st.sampled_from([None, codes.LATEST_FIELD_EXPIRY_MS, codes.LATEST_EXPIRY_MS]),
    },
)


def decoded(one: Encoded) -> Any:
    return Values(memoryview(one.payload), one.dialect).value(one.number, 0, len(one.payload))


@settings(deadline=None, max_examples=300)
@given(st.data(), RULES)
def test_the_hash_agrees_with_the_comparison_of_decoded_values(data: st.DataObject, rules: dict[str, Any]) -> None:
    """Two ways to say what a hash must be: in bulk, and for one entry. Neither may see what the other does not."""
    one = data.draw(timed_forms(data.draw(TIMED_HASHES)))
    wanted = expected_value(decoded(one), Reading(dialect=one.dialect, **rules), one.number)
    right = {name: (text, wanted.expire_at_ms.get(name)) for name, text in wanted.items()}
    other = data.draw(timed_forms(data.draw(st.one_of(st.just(right), TIMED_HASHES))))
    as_found = {**rules, "as_it_stands": True}
    found = expected_value(decoded(other), Reading(dialect=other.dialect, **as_found), other.number)
    difference = difference_of(wanted, found)
    assert (meaning_of(one, **rules) == meaning_of(other, **as_found)) == (difference is None)


# --- real files, and damage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_real_value_means_the_same_when_it_is_written_plainly(path: Path) -> None:
    walk = Walk(memoryview(path.read_bytes()))
    types = walk.dialect.types
    forms = plain_table(walk.dialect, walk.dialect.line, types)
    meaning = Reading(dialect=walk.dialect).meaning(walk.view, walk.templates)
    recoder = Recoder(
        ItemReader(walk.view, item_tables(types), walk.templates), forms, 0, -(1 << 62), codes.LATEST_FIELD_EXPIRY_MS
    )
    for batch in walk:
        for row in range(batch.rows if isinstance(batch, Columns) else 0):
            place = (int(batch.type[row]), int(batch.value_start[row]), int(batch.end[row]))
            if types[place[0]].logical <= Logical.HASH:
                buffer = bytearray(recoder.measure(*place) or 1)
                assert recoder.start(*place)
                used = recoder.write(buffer)
                again = Encoded(forms[place[0]], bytes(buffer[:used]), walk.dialect)
                assert meaning.of(*place, 7) == meaning_of(again)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_a_damaged_value_has_no_hash(form: Form) -> None:
    if form.dialect.types[form.number].logical > Logical.STREAM:
        return
    for cut in range(len(form.payload)):
        with pytest.raises(FormatError):
            meaning_of(Encoded(form.number, form.payload[:cut], form.dialect, held_templates()))
    with pytest.raises(FormatError, match="a value whose last 3 bytes belong to nothing"):
        meaning_of(Encoded(form.number, form.payload + b"abc", form.dialect, held_templates()))


def test_a_value_after_a_damaged_one_has_its_hash() -> None:
    view = memoryview(string(listpack(b"a", Raw(b"\xfe"))) + strings([b"a"]))
    meaning = Meaning(ItemReader(view, item_tables(REDIS.types)), 0, 0, 0, True, False, 5)
    meaning.of(20, 0, len(view) - 3, 7)
    assert meaning.has_failed()
    assert meaning.of(2, len(view) - 3, len(view), 7) == meaning_of(plain(2, b"a"))
    assert not meaning.has_failed()


def test_a_hash_with_times_is_equal_to_one_without_only_if_none_counts() -> None:
    assert meaning_of(timed((b"f", 0))) == meaning_of(Encoded(4, pairs({b"f": b"v"})))
    assert Hash({b"f": b"v"}) == {b"f": b"v"}
    assert meaning_of(timed((b"f", 5))) != meaning_of(Encoded(4, pairs({b"f": b"v"})))
