"""Every key that two sources put into one db is found, no other is, and the policy settles it."""

from __future__ import annotations

from pathlib import Path

import pytest
from merging import opened
from rdbbytes import entry, expiry, length, pairs, rdb, record, select, string, strings

from rdbmerge.errors import ConflictError
from rdbmerge.plan.conflicts import choose
from rdbmerge.plan.model import Conflict, KeyPattern, Policy, SourceRules

COMPRESSED = bytes.fromhex("C305140061E00A00")
AT = 2_000_000_000_000


def one(*records: bytes, db: int = 0) -> bytes:
    return rdb(12, select(db), *records)


def kept(conflicts: list[Conflict]) -> list[tuple[str, int]]:
    return [(conflict.source, conflict.source_db) for conflict in conflicts if conflict.kept]


@pytest.mark.parametrize(
    ("expiries", "first", "last", "longest"),
    [
        ([None, None], 0, 1, 0),
        ([5, None], 0, 1, 1),
        ([None, 5], 0, 1, 0),
        ([5, 6], 0, 1, 1),
        ([6, 5], 0, 1, 0),
        ([6, 6], 0, 1, 0),
        ([5, 7, 6], 0, 2, 1),
        ([5, None, None], 0, 2, 1),
        ([7, 5, 7], 0, 2, 0),
        ([1 << 62, None], 0, 1, 1),
        ([5], 0, 0, 0),
    ],
)
def test_the_table_of_policies(expiries: list[int | None], first: int, last: int, longest: int) -> None:
    assert choose(expiries, Policy.FAIL) == choose(expiries, Policy.FIRST) == first
    assert choose(expiries, Policy.LAST) == last
    assert choose(expiries, Policy.LONGEST_TTL) == longest


@pytest.mark.parametrize(("policy", "winner"), [(Policy.FIRST, 0), (Policy.LAST, 2), (Policy.LONGEST_TTL, 1)])
def test_of_three_sources_one_wins_and_two_lose(tmp_path: Path, policy: Policy, winner: int) -> None:
    files = [one(entry(b"x"), entry(b"k", expire_at_ms=at)) for at in (5 + AT, 9 + AT, 7 + AT)]
    files[1] = one(entry(b"k", expire_at_ms=9 + AT), entry(b"y"))
    with opened(tmp_path, *files) as merge:
        plan = merge.plan(on_conflict=policy, exclude_keys=[KeyPattern(kind="glob", text=b"x")])
        conflicts = merge.conflicts(on_conflict=policy, exclude_keys=[KeyPattern(kind="glob", text=b"x")])
    assert plan.conflicts == 1
    assert [conflict.kept for conflict in conflicts] == [place == winner for place in range(3)]
    assert [len(source.losers) for source in plan.sources] == [int(place != winner) for place in range(3)]
    assert plan.keys == 2
    assert [conflict.source for conflict in conflicts] == ["a.rdb", "b.rdb", "c.rdb"]


def test_a_conflict_is_told_with_all_that_helps_to_settle_it(tmp_path: Path) -> None:
    files = [one(entry(b'k"\xff', b"v", expire_at_ms=AT)), one(record(2, b'k"\xff', strings([b"a", b"b"])), db=3)]
    with opened(tmp_path, *files) as merge:
        first, second = merge.conflicts(on_conflict=Policy.LAST, db_map={0: 3}, ttl_offset_ms=50)
    assert first == Conflict(
        db=3, key='"k\\x22\\xff"', key_base64=b'k"\xff', source="a.rdb", source_db=0, offset=11, type="string",
        size_bytes=len(entry(b'k"\xff', b"v", expire_at_ms=AT)), expire_at_ms=AT, kept=False, equal_value=False,
    )  # fmt: skip
    assert (second.db, second.source_db, second.type, second.expire_at_ms) == (3, 3, "set", None)
    assert (second.kept, second.equal_value) == (True, True)


def test_to_fail_lists_what_is_in_conflict_and_keeps_none(tmp_path: Path) -> None:
    files = [one(*(entry(b"k%02d" % n) for n in range(13)), db=7) for _ in range(2)]
    noted: list[Conflict] = []
    with opened(tmp_path, *files) as merge, pytest.raises(ConflictError) as failure:
        merge.plan(noted.append)
    lines = str(failure.value).splitlines()
    assert lines[0] == "13 keys are in more than one source:"
    assert len(lines) == 12
    assert all(" of db 7: in a.rdb (db 7) and b.rdb (db 7)" in line for line in lines[1:11])
    assert lines[11] == "  ... and 3 more"
    assert "--on-conflict first|last|longest-ttl" in failure.value.remedy
    assert failure.value.exit_code == 20
    assert len(noted) == 26
    assert not any(conflict.kept for conflict in noted)


def test_one_key_in_conflict_is_told_in_the_singular(tmp_path: Path) -> None:
    with opened(tmp_path, one(entry(b"k")), one(entry(b"k"))) as merge, pytest.raises(ConflictError, match="1 key is"):
        merge.plan()


@pytest.mark.parametrize(
    ("stored", "other"),
    [(b"\x0212", b"\xc0\x0c"), (b"\xc0\x0c", b"\xc1\x0c\x00"), (string(b"a" * 20), COMPRESSED),
     (b"\x40\x0212", b"\x0212")],
)  # fmt: skip
def test_a_key_stored_in_two_ways_is_still_one_key(tmp_path: Path, stored: bytes, other: bytes) -> None:
    files = [one(record(0, b"", string(b"v"), key_bytes=key)) for key in (stored, other)]
    with opened(tmp_path, *files) as merge:
        conflicts = merge.conflicts(on_conflict=Policy.FIRST)
        assert len(conflicts) == 2
        assert all(conflict.equal_value for conflict in conflicts)
        assert merge.plan(on_conflict=Policy.FIRST, key_prefix=b"p:").keys == 1


def test_keys_of_different_dbs_are_no_conflict_until_they_are_mapped_to_one(tmp_path: Path) -> None:
    with opened(tmp_path, one(entry(b"k"), db=0), one(entry(b"k"), db=1)) as merge:
        assert merge.plan().conflicts == 0
        assert kept(merge.conflicts(db_map={1: 0}, on_conflict=Policy.LAST)) == [("b.rdb", 1)]
        assert merge.plan(db_map={0: 1, 1: 0}).conflicts == 0


@pytest.mark.parametrize(("policy", "winner"), [(Policy.FIRST, 0), (Policy.LAST, 9), (Policy.LONGEST_TTL, 4)])
def test_a_map_can_bring_one_source_into_conflict_with_itself(tmp_path: Path, policy: Policy, winner: int) -> None:
    data = rdb(
        12,
        select(9),
        entry(b"k"[:1], expire_at_ms=5 + AT),
        select(4),
        entry(b"k"),
        select(0),
        entry(b"k", expire_at_ms=AT),
    )
    with opened(tmp_path, data) as merge:
        assert merge.plan().conflicts == 0
        conflicts = merge.conflicts(db_map={4: 0, 9: 0}, on_conflict=policy)
        plan = merge.plan(db_map={4: 0, 9: 0}, on_conflict=policy)
    assert kept(conflicts) == [("a.rdb", winner)]
    assert [(run.db, run.written, run.conflict_dropped) for run in plan.sources[0].runs] == [
        (db, int(db == winner), int(db != winner)) for db in (0, 4, 9)
    ]
    assert plan.keys == 1


def test_copies_that_the_rules_leave_out_do_not_conflict(tmp_path: Path) -> None:
    string_, set_ = entry(b"k", expire_at_ms=1_000), record(2, b"k", strings([b"a"]))
    with opened(tmp_path, one(string_), one(set_)) as merge:
        for rules in (
            {"snapshot_at_ms": 1_001},  # dead
            {"types": ["string"], "snapshot_at_ms": 0},
            {"types": ["set"], "snapshot_at_ms": 0},
            {"exclude_keys": [KeyPattern(kind="glob", text=b"k")], "snapshot_at_ms": 0},
            {"dbs": [1], "snapshot_at_ms": 0},
        ):
            assert merge.plan(**rules).conflicts == 0
        for rules in ({"snapshot_at_ms": 1_000}, {"snapshot_at_ms": 1_001, "drop_expired": False}):
            with pytest.raises(ConflictError):
                merge.plan(**rules)


def test_an_empty_collection_does_not_conflict(tmp_path: Path) -> None:
    with opened(tmp_path, one(record(2, b"k", length(0))), one(entry(b"k"))) as merge:
        assert merge.plan().keys == 1


def test_a_hash_of_which_no_field_lives_does_not_conflict(tmp_path: Path) -> None:
    dead = record(22, b"k", length(1) + length(500) + string(b"f") + string(b"v"))
    with opened(tmp_path, one(dead), one(entry(b"k"))) as merge:
        assert merge.plan(snapshot_at_ms=501).keys == 1
        with pytest.raises(ConflictError):
            merge.plan(snapshot_at_ms=500)


def test_lives_are_compared_after_the_shift(tmp_path: Path) -> None:
    """With a freeze each source has an offset of its own: the later snapshot is shifted less."""
    from rdbbytes import aux

    early = rdb(12, aux(b"ctime", b"1000"), select(0), entry(b"k", expire_at_ms=1_000_000 + 60_000))
    late = rdb(12, aux(b"ctime", b"9000"), select(0), entry(b"k", expire_at_ms=9_000_000 + 50_000))
    with opened(tmp_path, early, late) as merge:
        assert kept(merge.conflicts(on_conflict=Policy.LONGEST_TTL)) == [("b.rdb", 0)]
        frozen = merge.conflicts(on_conflict=Policy.LONGEST_TTL, ttl_freeze_until_ms=20_000_000)
    assert kept(frozen) == [("a.rdb", 0)]


def test_equal_values_are_told_by_type_and_bytes(tmp_path: Path) -> None:
    files = [
        one(record(4, b"same", pairs({b"f": b"1"})), record(4, b"other", pairs({b"f": b"1"})), entry(b"ttl")),
        one(
            record(4, b"same", pairs({b"f": b"1"})),
            record(4, b"other", pairs({b"f": b"2"})),
            entry(b"ttl", expire_at_ms=AT),
        ),
    ]
    with opened(tmp_path, *files) as merge:
        equal = {(c.key, c.source): c.equal_value for c in merge.conflicts(on_conflict=Policy.FIRST)}
    assert equal == {
        ('"same"', "a.rdb"): True, ('"same"', "b.rdb"): True, ('"other"', "a.rdb"): True, ('"other"', "b.rdb"): False,
        ('"ttl"', "a.rdb"): True, ('"ttl"', "b.rdb"): True,
    }  # fmt: skip


def test_many_conflicts_are_found_without_one_too_many(tmp_path: Path) -> None:
    names = [b"k%d" % n for n in range(3_000)]
    files = [
        one(*map(entry, names[:2_000])),
        one(*map(entry, names[1_000:])),
        one(*(expiry(AT) + entry(n) for n in names[::500])),
    ]
    with opened(tmp_path, *files) as merge:
        conflicts = merge.conflicts(on_conflict=Policy.FIRST)
        plan = merge.plan(on_conflict=Policy.FIRST)
    assert {c.key_base64 for c in conflicts} == set(names[1_000:2_000]) | set(names[::500])
    assert plan.keys == 3_000
    assert plan.conflicts == len({c.key_base64 for c in conflicts})


PREFIXES: list[tuple[list[bytes], list[bytes], int]] = [
    # prefixes of a, b and c; the key of each; how many keys are in conflict
    ([b"", b"p:", b"p:q:"], [b"p:q:k", b"q:k", b"k"], 1),
    ([b"", b"p:", b"q:"], [b"p:k", b"k", b"k"], 1),
    ([b"x", b"p:", b"q:"], [b"k", b"k", b"k"], 0),
    ([b"p:", b"p:", b""], [b"k", b"k", b"k"], 1),
    ([b"p", b"", b"p:"], [b":5", b"p:5", b"5"], 1),
    ([b"a", b"ab", b"b"], [b"bb", b"b", b"bb"], 1),
    ([b"", b"", b"p:"], [b"k", b"j", b"k"], 0),
]


@pytest.mark.parametrize(("prefixes", "keys", "conflicts"), PREFIXES)
def test_keys_meet_as_they_stand_behind_the_prefixes_of_their_sources(
    tmp_path: Path, prefixes: list[bytes], keys: list[bytes], conflicts: int
) -> None:
    files = [one(entry(key), entry(b"only in %d" % number)) for number, key in enumerate(keys)]
    sources = {f"{name}.rdb": SourceRules(key_prefix=prefix) for name, prefix in zip("abc", prefixes, strict=True)}
    with opened(tmp_path, *files) as merge:
        noted = merge.conflicts(on_conflict=Policy.FIRST, sources=sources)
        plan = merge.plan(on_conflict=Policy.FIRST, sources=sources)
    whole = [prefix + key for prefix, key in zip(prefixes, keys, strict=True)]
    rivals = [name for name, key in zip("abc", whole, strict=True) if whole.count(key) > 1]
    assert [conflict.source for conflict in noted] == [f"{name}.rdb" for name in rivals]
    assert [conflict.key_base64 for conflict in noted] == [keys["abc".index(name)] for name in rivals]
    assert [conflict.kept for conflict in noted] == [place == 0 for place in range(len(rivals))]
    assert (plan.conflicts, plan.keys) == (conflicts, 3 + len(set(whole)))


def test_a_conflict_behind_different_prefixes_is_told_with_the_whole_key(tmp_path: Path) -> None:
    files = [one(entry(b"k")), one(entry(b"p:k"))]
    with opened(tmp_path, *files) as merge, pytest.raises(ConflictError) as failure:
        merge.plan(sources={"a.rdb": SourceRules(key_prefix=b"p:")})
    assert '"p:k" of db 0: in a.rdb (db 0) and b.rdb (db 0)' in str(failure.value)
