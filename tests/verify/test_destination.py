"""What a target can hold, by verification's own reading of its profile; the planner's comes to the same."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blobbytes import consumer, group, listpack, stream
from forms import AT, FORMS, TEMPLATES
from rdbbytes import entry, freq, length, rdb, record, select, string, strings

from rdbmerge.errors import FormatError, UsageError
from rdbmerge.format import codes
from rdbmerge.format.columns import Columns
from rdbmerge.format.decode import Values
from rdbmerge.format.dialects import Dialect
from rdbmerge.format.emit import Change
from rdbmerge.format.values import Logical
from rdbmerge.plan.fitting import LOSSY, UNFIT, Fitting, loader_of
from rdbmerge.plan.model import Rules
from rdbmerge.plan.profile import PROFILES, TargetProfile, find_profile
from rdbmerge.snapshot.index import IndexFacts
from rdbmerge.snapshot.indexer import read_index
from rdbmerge.snapshot.segment import Segment
from rdbmerge.verify.destination import Destination, Judge, destination_of

FIXTURES = Path(__file__).parents[2] / "fixtures" / "rdb"
META = b"\xf3\x01" + b"\0\0\0\1" + b"\x02\x07\x00"
HASH_TEMPLATES = b"".join(b"\xf2" + length(number) + strings(names) for number, names in TEMPLATES.items())
REDIS, VALKEY = Dialect("redis", 15), Dialect("valkey", 80)
ALIKE = {
    (one.line, one.types, one.hints, one.key_metadata, one.long_lengths): one for one in PROFILES.values()
}.values()  # one of each kind


def hash_of(*times: int) -> bytes:
    return string(listpack(*(part for n, at in enumerate(times) for part in (b"f%d" % n, b"v", at))))


def forgetful(level: int, **other: Any) -> bytes:
    """A stream that holds nothing that older forms do not."""
    return stream(level, last_id=(1, 0), **other)


UNOWNED = {5: [group(5, b"g", pending=[((1, 0), AT, 1)], nacked=[(1, 0)])]}
OWNED = {5: [group(5, b"g", pending=[((1, 0), AT, 1)], consumers=[consumer(5, b"c", (1, 0))])]}
# Every form; and each way in which a value may hold more than an older form of it.
EVERY = rdb(
    15, HASH_TEMPLATES, select(0),
    *(record(form.number, b"%d" % n, form.payload) for n, form in enumerate(FORMS) if form.dialect.line == "redis"),
    record(23, b"h1", hash_of(0, 0)), record(23, b"h2", hash_of(5, 0)), record(23, b"h3", hash_of(5, AT)),
    record(27, b"s1", forgetful(5)), record(26, b"s2", forgetful(4)), record(26, b"s3", forgetful(4, idmp=(100, 99))),
    record(26, b"s4", forgetful(4, idmp=(99, 100))), record(26, b"s5", forgetful(4, iids=(0, 1))),
    record(26, b"s6", forgetful(4, iids=(1, 0))), record(26, b"s7", forgetful(4, producers={b"p": {}})),
    record(27, b"s8", forgetful(5, groups=UNOWNED[5])), record(27, b"s9", forgetful(5, groups=OWNED[5])),
    entry(b"plain"), record(0, b"m", string(b"v"), attributes=META), record(0, b"f", string(b"v"), attributes=freq(1)),
    record(23, b"hm", hash_of(AT), attributes=META),
)  # fmt: skip
OF_VALKEY = rdb(
    80, select(0), *(record(form.number, b"k", form.payload) for form in FORMS if form.dialect.line == "valkey"),
    magic=b"VALKEY080",
)  # fmt: skip


@contextlib.contextmanager
def opened(folder: Path, data: bytes) -> Iterator[tuple[Segment, IndexFacts]]:
    path = folder / "source.rdb"
    path.write_bytes(data)
    with Segment(path) as segment:
        yield segment, read_index(segment).facts


def disagreements(segment: Segment, facts: IndexFacts, profile: TargetProfile, dead_before_ms: int | None) -> list[Any]:
    """Rows of which planner and verification say other things."""
    change = Change(
        dialect=segment.dialect, loader=loader_of(profile), templates=segment.templates,
        fields_dead_before_ms=dead_before_ms,
    )  # fmt: skip
    fitting = Fitting(profile, change)
    judge = Judge(Destination(profile, [(segment.dialect, facts)]), segment.dialect, dead_before_ms)
    values = Values(segment.view, segment.dialect, segment.templates)
    found = []
    for batch in segment.walk():
        if isinstance(batch, Columns):
            wanted = np.arange(batch.rows) % 7 != 3
            unfit, lossy = judge.judge(lambda: values, batch, wanted)
            mine = np.where(unfit, UNFIT, np.where(lossy, LOSSY, 0))
            theirs = fitting.verdicts(segment.view, batch, wanted)
            found += [(batch.key(segment.view, row), mine[row], theirs[row]) for row in np.flatnonzero(mine != theirs)]
            assert not (unfit & ~wanted).any()
    return found


@pytest.mark.parametrize("data", [EVERY, OF_VALKEY], ids=["redis", "valkey"])
@pytest.mark.parametrize("dead_before_ms", [None, 6, AT, AT + 1])
def test_planner_and_verification_come_to_the_same_by_themselves(
    tmp_path: Path, data: bytes, dead_before_ms: int | None
) -> None:
    with opened(tmp_path, data) as (segment, facts):
        for profile in PROFILES.values():
            assert disagreements(segment, facts, profile, dead_before_ms) == [], profile.name


@pytest.mark.parametrize("version", ["7.4.1", "8.2.3", "unstable-2026-06", "unstable-rdb13", "valkey-9.1.2"])
@pytest.mark.parametrize("name", ["all_types", "beyond"])
def test_they_agree_on_real_files(version: str, name: str) -> None:
    path = FIXTURES / version / f"{name}.rdb"
    if not path.exists():
        return
    with Segment(path) as segment:
        facts = read_index(segment).facts
        for profile in ALIKE:
            assert disagreements(segment, facts, profile, None) == [], profile.name


def judged(folder: Path, data: bytes, target: str, dead_before_ms: int | None = None) -> tuple[set[bytes], set[bytes]]:
    """Keys that the target cannot hold, and keys that it cannot hold whole."""
    with opened(folder, data) as (segment, facts):
        profile = find_profile(target)
        judge = Judge(Destination(profile, [(segment.dialect, facts)]), segment.dialect, dead_before_ms)
        (batch,) = (item for item in segment.walk() if isinstance(item, Columns))
        values = Values(segment.view, segment.dialect, segment.templates)
        masks = judge.judge(lambda: values, batch, np.ones(batch.rows, bool))
        unfit, lossy = ({batch.key(segment.view, row) for row in np.flatnonzero(mask)} for mask in masks)
        return unfit, lossy


NUMBERS = {form.name: b"%d" % number for number, form in enumerate(FORMS)}
TIMED = {NUMBERS[name] for name in ("hash_metadata", "hash_metadata_pre_ga", "hash_listpack_ex",
                                    "hash_listpack_ex_pre_ga")} | {b"h2", b"h3", b"hm"}  # fmt: skip
REMEMBERING = {NUMBERS["stream-4"], NUMBERS["stream-5"], b"s3", b"s4", b"s5", b"s6", b"s7"}
UNOWNING = {NUMBERS["stream-5"], b"s8"}
STREAMS = {NUMBERS[f"stream-{level}"] for level in range(1, 6)} | {b"s%d" % n for n in range(1, 10)}
ARRAY, MODULE = NUMBERS["array"], NUMBERS["module_2"]


@pytest.mark.parametrize(
    ("target", "unfit", "lossy"),
    [
        ("redis-8.8", set(), set()),
        ("redis-8.6", {ARRAY}, UNOWNING),
        ("redis-8.2", {ARRAY}, UNOWNING | REMEMBERING | {b"m", b"hm"}),
        ("redis-7.2", {ARRAY}, UNOWNING | REMEMBERING | TIMED | {b"m"}),
        ("redis-5.0", {ARRAY}, UNOWNING | REMEMBERING | TIMED | {b"m"}),
        ("redis-4.0", {ARRAY} | STREAMS, TIMED | {b"m"}),
        ("redis-2.8", {ARRAY, MODULE} | STREAMS, TIMED | {b"m"}),
        ("valkey-9.1", {ARRAY}, UNOWNING | REMEMBERING | {b"m", b"hm"}),
        ("valkey-8.1", {ARRAY}, UNOWNING | REMEMBERING | TIMED | {b"m"}),
        ("elasticache-redis-7.1", {ARRAY, MODULE}, UNOWNING | REMEMBERING | TIMED | {b"m"}),
    ],
)
def test_each_target_holds_what_it_holds(tmp_path: Path, target: str, unfit: set[bytes], lossy: set[bytes]) -> None:
    assert judged(tmp_path, EVERY, target) == (unfit, lossy)


def test_fields_that_were_dead_lose_nothing(tmp_path: Path) -> None:
    all_dead = TIMED - {b"h2"}
    assert judged(tmp_path, EVERY, "redis-6.2", dead_before_ms=6)[1] & TIMED == all_dead
    assert judged(tmp_path, EVERY, "redis-6.2", dead_before_ms=AT + 1)[1] & TIMED == {b"hm"}  # for its metadata


def test_without_a_target_everything_is_held(tmp_path: Path) -> None:
    with opened(tmp_path, EVERY) as (segment, facts):
        destination = destination_of(Rules(), [(segment.dialect, facts)])
        judge = Judge(destination, segment.dialect, None)
        (batch,) = (item for item in segment.walk() if isinstance(item, Columns))

        def values() -> Values:
            raise AssertionError("nothing has to be decoded")

        assert not any(mask.any() for mask in judge.judge(values, batch, np.ones(batch.rows, bool)))
        assert destination.by_meaning == {Logical.HASH}  # hash templates become plain hashes
        assert destination.holds_field_times
        assert (destination.stream_level, destination.ignored_flags) == (5, 0)


def test_what_counts_by_meaning_is_what_changes_its_form(tmp_path: Path) -> None:
    every = {Logical.LIST, Logical.SET, Logical.ZSET, Logical.HASH, Logical.STREAM}
    wanted: dict[str, set[Logical]] = {
        "redis-8.8": {Logical.HASH}, "redis-8.6": {Logical.HASH, Logical.STREAM},
        "redis-8.2": {Logical.HASH, Logical.STREAM}, "redis-7.0": {Logical.SET, Logical.HASH, Logical.STREAM},
        "redis-6.2": every, "valkey-9.1": {Logical.HASH, Logical.STREAM}, "redis-3.2": every | {Logical.STRING},
    }  # fmt: skip
    with opened(tmp_path, EVERY) as (segment, facts):
        for target, expected in wanted.items():
            found = destination_of(Rules(target=target), [(segment.dialect, facts)]).by_meaning
            assert found == expected, target


def test_a_type_number_is_of_its_line() -> None:
    redis, valkey = (Destination(find_profile(name), []) for name in ("redis-8.2", "valkey-9.1"))
    assert redis.loads(REDIS, 22)
    assert not redis.loads(VALKEY, 22)
    assert valkey.loads(VALKEY, 22)
    assert not valkey.loads(REDIS, 22)
    assert valkey.loads(REDIS, 21)
    assert not Destination(None, []).loads(REDIS, 30)


@pytest.mark.parametrize(
    ("target", "level", "times", "ignored", "latest"),
    [
        ("redis-8.8", 5, True, 0, codes.LATEST_FIELD_EXPIRY_MS),
        ("redis-8.6", 4, True, 0, codes.LATEST_FIELD_EXPIRY_MS),
        ("redis-7.4", 3, True, codes.HAS_META, codes.LATEST_FIELD_EXPIRY_MS),
        ("redis-7.0", 2, False, codes.HAS_META, codes.LATEST_FIELD_EXPIRY_MS),
        ("redis-5.0", 1, False, codes.HAS_META, codes.LATEST_FIELD_EXPIRY_MS),
        ("redis-4.0", 0, False, codes.HAS_META | codes.HAS_IDLE | codes.HAS_FREQ, codes.LATEST_FIELD_EXPIRY_MS),
        ("valkey-8.1", 3, False, codes.HAS_META, codes.LATEST_EXPIRY_MS),
        ("valkey-9.1", 3, True, codes.HAS_META, codes.LATEST_EXPIRY_MS),
    ],
)
def test_a_target_is_read_out_of_its_profile(target: str, level: int, times: bool, ignored: int, latest: int) -> None:
    one = Destination(find_profile(target), [])
    reading = one.reading(REDIS, ttl_offset_ms=7, dead_before_ms=9, key_prefix=b"p")
    assert (one.stream_level, one.holds_field_times, one.ignored_flags) == (level, times, ignored)
    assert (reading.stream_level, reading.without_field_times, reading.ignored_flags) == (level, not times, ignored)
    assert (reading.latest_field_ms, reading.ttl_offset_ms, reading.fields_dead_before_ms) == (latest, 7, 9)
    assert (reading.key_prefix, reading.as_it_stands) == (b"p", False)


def test_lengths_that_a_target_cannot_read_are_more_than_it_can_hold(tmp_path: Path) -> None:
    with opened(tmp_path, rdb(9, select(0), entry(b"k"), entry(b"l"))) as (segment, facts):
        (batch,) = (item for item in segment.walk() if isinstance(item, Columns))
        wanted = np.ones(2, bool)
        for target, held in (("redis-3.2", False), ("redis-4.0", True)):
            judge = Judge(Destination(find_profile(target), [(segment.dialect, facts)]), segment.dialect, None)
            end = batch.end.copy()
            batch.end[1] = batch.entry_start[1] + (1 << 32)
            masks = judge.judge(lambda: Values(segment.view, segment.dialect), batch, wanted)
            batch.end[:] = end
            assert [mask.tolist() for mask in masks] == [[False, not held], [False, False]]


def test_damage_in_what_has_to_be_decoded_is_told(tmp_path: Path) -> None:
    broken = rdb(12, select(0), record(25, b"h", bytes(8) + string(listpack(b"f", b"v"))))
    with pytest.raises(FormatError, match="not field, value, time"):
        judged(tmp_path, broken, "redis-6.2")
    assert judged(tmp_path, broken, "redis-7.4") == (set(), set())


def test_a_target_that_is_not_known_is_refused() -> None:
    with pytest.raises(UsageError, match="no target that is known"):
        destination_of(Rules(target="redis-99"), [])


def test_a_profile_without_modules_holds_no_values_of_modules(tmp_path: Path) -> None:
    with opened(tmp_path, EVERY) as (segment, facts):
        profile = replace(find_profile("redis-8.8"), modules=False)
        assert disagreements(segment, facts, profile, None) == []
