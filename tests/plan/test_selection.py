"""What stays out and why: patterns as Redis has them, types, dbs, and what was dead at the snapshot."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdbbytes import entry, length, rdb, record, select, string, strings
from realservers import ServerBinary, each_server, running
from rows import only_batch

from rdbmerge.errors import FormatError, UsageError
from rdbmerge.format.dialects import Dialect
from rdbmerge.format.emit import Change
from rdbmerge.plan.fitting import Fitting, loader_of
from rdbmerge.plan.model import KeyPattern, Rules, Unsupported
from rdbmerge.plan.profile import PROFILES
from rdbmerge.plan.selection import CONFLICT, EXPIRED, FILTERED, KEPT, REJECTED, Selection, compile_pattern
from rdbmerge.verify.globs import key_test

REDIS = Dialect("redis", 12)


def glob(text: bytes) -> KeyPattern:
    return KeyPattern(kind="glob", text=text)


def regex(text: bytes) -> KeyPattern:
    return KeyPattern(kind="re", text=text)


def matches(pattern: bytes, key: bytes) -> bool:
    return bool(compile_pattern(glob(pattern))(key))


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        (b"*", [b"", b"a", b"\n", b"\xff\x00"], []),
        (b"", [b""], [b"a"]),
        (b"user:*", [b"user:", b"user:1\n2"], [b"user", b"xuser:1"]),
        (b"h?llo", [b"hello", b"h\nllo", b"h\xffllo"], [b"hllo", b"heello"]),
        (b"h[ae]llo", [b"hello", b"hallo"], [b"hillo"]),
        (b"h[^e]llo", [b"hallo", b"h^llo"], [b"hello", b"hllo"]),
        (b"h[a-c]llo", [b"hbllo"], [b"hdllo", b"h-llo"]),
        (b"h[c-a]llo", [b"hbllo"], [b"hdllo"]),
        (b"h[a-]llo", [b"h^", b"hl"], [b"hallo", b"h-llo"]),
        (b"[\\]]x", [b"]x"], [b"\\x", b"x"]),
        (b"[\\a-c]", [b"a", b"-", b"c"], [b"b", b"\\"]),
        (b"a[b", [b"ab"], [b"a[b", b"a["]),
        (b"a[", [], [b"a", b"a["]),
        (b"a[^", [b"ab", b"a^"], [b"a"]),
        (b"\\*", [b"*"], [b"a", b"\\*"]),
        (b"a\\", [b"a\\"], [b"a"]),
        (b"a.b+c$", [b"a.b+c$"], [b"axbbc"]),
        (b"**a**", [b"a", b"xax"], [b"b"]),
        (b"[]a", [], [b"]a", b"a"]),
        (b"[^]a", [b"xa"], [b"a"]),
    ],
)
def test_the_table_of_globs(pattern: bytes, yes: list[bytes], no: list[bytes]) -> None:
    for key in yes:
        assert matches(pattern, key), key
    for key in no:
        assert not matches(pattern, key), key


def stringmatch(pattern: bytes, text: bytes) -> bool:
    """Redis' stringmatchlen, as it is described: one character of the pattern after the other."""
    p = s = 0
    while p < len(pattern) and s < len(text):
        char = pattern[p : p + 1]
        if char == b"*":
            return any(stringmatch(pattern[p + 1 :], text[rest:]) for rest in range(s, len(text) + 1))
        if char == b"[":
            p += 1
            negated = pattern[p : p + 1] == b"^"
            p += negated
            match = False
            while True:
                left = len(pattern) - p
                if left >= 2 and pattern[p : p + 1] == b"\\":
                    p += 1
                    match |= pattern[p] == text[s]
                elif pattern[p : p + 1] == b"]":
                    break
                elif left == 0:
                    p -= 1
                    break
                elif left >= 3 and pattern[p + 1 : p + 2] == b"-":
                    low, high = sorted((pattern[p], pattern[p + 2]))
                    p += 2
                    match |= low <= text[s] <= high
                else:
                    match |= pattern[p] == text[s]
                p += 1
            if match == negated:
                return False
        elif char != b"?":
            if char == b"\\" and len(pattern) - p >= 2:
                p += 1
            if pattern[p] != text[s]:
                return False
        p, s = p + 1, s + 1
    return s == len(text) and not pattern[p:].strip(b"*")


PATTERNS = st.lists(st.sampled_from(b"*?[]^-\\abc"), max_size=9).map(bytes)
KEYS = st.lists(st.sampled_from(b"abc-]^[\\"), max_size=6).map(bytes)


@settings(max_examples=2_000, deadline=None)
@given(PATTERNS, KEYS)
def test_any_glob_means_what_it_means_to_redis(pattern: bytes, key: bytes) -> None:
    assert matches(pattern, key) == stringmatch(pattern, key)


@pytest.mark.once
@each_server(lambda one: one.version >= (5,))  # older ones read past a pattern that ends in `[\`
def test_real_servers_agree_with_the_description(binary: ServerBinary) -> None:
    import random

    generator = random.Random(4)
    keys = sorted({bytes(generator.choices(b"abc-]^[\\", k=generator.randint(1, 3))) for _ in range(200)})
    patterns = [bytes(generator.choices(b"*?[[]]^-\\abc", k=generator.randint(1, 7))) for _ in range(400)]
    with running(binary) as server, server.client(raw=True) as client:
        client.execute_command("MSET", *(part for key in keys for part in (key, b"v")))
        for pattern in patterns:
            found = sorted(client.execute_command("KEYS", pattern))
            assert found == [key for key in keys if matches(pattern, key)], pattern


def reasons(rules: Rules, *records: bytes, at_ms: int = 1_000, losers: tuple[int, ...] = (), db: int = 0) -> list[int]:
    view, batch, dialect = only_batch(rdb(12, select(db), *records))
    return Selection(rules, dialect, at_ms, losers).reasons(view, batch).tolist()


def test_regular_expressions_are_searched_anywhere_in_the_decoded_key() -> None:
    records = [entry(b"user:12"), record(0, b"", string(b"v"), key_bytes=b"\xc0\x0c"), entry(b"x\n12y"), entry(b"1")]
    assert reasons(Rules(include_keys=[regex(b"12")]), *records) == [KEPT, KEPT, KEPT, FILTERED]
    assert reasons(Rules(include_keys=[regex(b"^12$")]), *records) == [FILTERED, KEPT, FILTERED, FILTERED]
    assert reasons(Rules(exclude_keys=[regex(b".12")]), *records) == [FILTERED, KEPT, FILTERED, KEPT]


def test_a_regular_expression_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match=r"'\(' is not a regular expression: missing \)") as refused:
        Selection(Rules(include_keys=[regex(b"(")]), REDIS, 0)
    assert "glob:" in refused.value.remedy


def test_a_key_is_taken_if_any_pattern_includes_it_and_none_excludes_it() -> None:
    rules = Rules(include_keys=[glob(b"a*"), glob(b"b*")], exclude_keys=[glob(b"*x"), regex(b"y$")])
    keys = [b"a", b"b1", b"c", b"ax", b"by", b"x"]
    assert reasons(rules, *map(entry, keys)) == [KEPT, KEPT, FILTERED, FILTERED, FILTERED, FILTERED]


def test_types_are_taken_by_what_users_call_them() -> None:
    records = [
        entry(b"s"),
        record(1, b"l", strings([b"a"])),
        record(18, b"q", b"\x01\x01" + string(b"a")),
        record(2, b"t", strings([b"a"])),
    ]
    assert reasons(Rules(types=["list"]), *records) == [FILTERED, KEPT, KEPT, FILTERED]
    assert reasons(Rules(types=["string", "set"]), *records) == [KEPT, FILTERED, FILTERED, KEPT]
    assert reasons(Rules(types=[]), *records) == [FILTERED] * 4


def test_dbs_are_those_of_the_source() -> None:
    assert reasons(Rules(dbs=[3], db_map={5: 3}), entry(b"k"), db=5) == [FILTERED]
    assert reasons(Rules(dbs=[5], db_map={5: 3}), entry(b"k"), db=5) == [KEPT]
    assert reasons(Rules(dbs=[]), entry(b"k")) == [FILTERED]


def test_dead_means_strictly_before_the_snapshot() -> None:
    records = [entry(b"%d" % at, expire_at_ms=at) for at in (0, 1, 999, 1_000, 1_001, -5)]
    records.append(record(0, b"minus one", string(b"v"), attributes=b"\xfc" + b"\xff" * 8))
    assert reasons(Rules(), *records) == [EXPIRED, EXPIRED, EXPIRED, KEPT, KEPT, EXPIRED, KEPT]
    assert reasons(Rules(drop_expired=False), *records) == [KEPT] * 7
    # A negative offset does not make more of them dead, a positive one not fewer.
    assert reasons(Rules(ttl_offset_ms=-5_000), *records) == reasons(Rules(ttl_offset_ms=9_000), *records)


def hash_of(key: bytes, *times: int) -> bytes:
    body = b"".join(length(at) + string(b"f%d" % n) + string(b"v") for n, at in enumerate(times))
    return record(22, key, length(len(times)) + body)


def test_a_hash_is_dead_when_all_its_fields_are() -> None:
    records = [hash_of(b"a", 500, 999), hash_of(b"b", 500, 1_000), hash_of(b"c", 500, 0), hash_of(b"d", 0)]
    assert reasons(Rules(), *records) == [EXPIRED, KEPT, KEPT, KEPT]
    assert reasons(Rules(drop_expired=False), *records) == [KEPT] * 4


def test_of_several_reasons_the_first_counts_not_chosen_then_dead_then_lost() -> None:
    records = [entry(b"a", expire_at_ms=5), entry(b"b", expire_at_ms=5), entry(b"c"), record(2, b"d", length(0))]
    starts = [11]
    for one in records:
        starts.append(starts[-1] + len(one))
    losers = tuple(starts[:4])
    rules = Rules(exclude_keys=[glob(b"a")])
    assert reasons(rules, *records, losers=losers) == [FILTERED, EXPIRED, CONFLICT, FILTERED]
    assert reasons(rules, *records) == [FILTERED, EXPIRED, KEPT, FILTERED]


def fitted(policy: Unsupported, *records: bytes, losers: tuple[int, ...] = ()) -> tuple[list[int], list[bool]]:
    """Reasons, and what is stripped, for a target that knows no expiries of hash fields, no arrays."""
    view, batch, dialect = only_batch(rdb(14, select(0), *records))
    profile = PROFILES["redis-6.2"]
    rules = Rules(target=profile.name, on_unsupported=policy, exclude_keys=[glob(b"no")])
    change = Change(dialect=dialect, loader=loader_of(profile), fields_dead_before_ms=1_000)
    selection = Selection(rules, dialect, 1_000, losers, Fitting(profile, change))
    found = selection.reasons(view, batch)
    return found.tolist(), selection.stripped(view, batch, found).tolist()


LATER = 2_000_000_000_000
ARRAY = b"\x01\x00" + b"\x07\x00" + string(b"a")


@pytest.mark.parametrize("policy", [Unsupported.FAIL, Unsupported.SKIP])
def test_what_does_not_fit_whole_is_left_out(policy: Unsupported) -> None:
    records = [hash_of(b"a", LATER), record(28, b"b", ARRAY), entry(b"c"), hash_of(b"d", 0)]
    assert fitted(policy, *records) == ([REJECTED, REJECTED, KEPT, KEPT], [False] * 4)


def test_what_can_be_stripped_is_kept_if_the_rules_say_so() -> None:
    records = [hash_of(b"a", LATER), record(28, b"b", ARRAY), entry(b"c"), hash_of(b"d", 0)]
    assert fitted(Unsupported.STRIP, *records) == ([KEPT, REJECTED, KEPT, KEPT], [True, False, False, False])


def test_not_chosen_and_dead_count_before_what_does_not_fit() -> None:
    dead = record(28, b"dead", ARRAY, attributes=b"\xfc" + (5).to_bytes(8, "little"))
    records = [record(28, b"no", ARRAY), dead, hash_of(b"gone", 5), hash_of(b"half", 5, 0)]
    assert fitted(Unsupported.SKIP, *records) == ([FILTERED, EXPIRED, EXPIRED, KEPT], [False] * 4)


def test_nothing_is_stripped_of_a_loser() -> None:
    records = [hash_of(b"a", LATER), hash_of(b"b", LATER)]
    assert fitted(Unsupported.STRIP, *records, losers=(11,)) == ([CONFLICT, KEPT], [False, True])


def test_losers_of_other_batches_do_no_harm() -> None:
    records = [entry(b"a"), entry(b"b")]
    assert reasons(Rules(), *records, losers=(3, 11, 500, 10_000)) == [CONFLICT, KEPT]


def test_a_key_that_does_not_unpack_is_refused_only_when_it_is_looked_at(tmp_path: Path) -> None:
    bad = record(0, b"", string(b"v"), key_bytes=b"\xc3\x02\x05\x00a")
    assert reasons(Rules(), bad) == [KEPT]
    with pytest.raises(FormatError, match="does not unpack"):
        reasons(Rules(include_keys=[glob(b"*")]), bad)


@settings(max_examples=1_000, deadline=None)
@given(PATTERNS, st.lists(KEYS, max_size=5))
def test_the_verifier_reads_globs_in_a_way_of_its_own_and_agrees(pattern: bytes, keys: list[bytes]) -> None:
    theirs = key_test(glob(pattern))
    assert [bool(theirs(key)) for key in keys] == [matches(pattern, key) for key in keys]
