"""What a target cannot hold of an entry, and in which words that is told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from blobbytes import listpack, stream
from forms import BY_NAME, FORMS
from rdbbytes import entry, expiry, freq, idle, length, rdb, record, select, string
from rows import only_batch
from unfit import IDS, META, THINGS, Thing, nacked, of_form, remembering

from rdbmerge.errors import FormatError
from rdbmerge.format import codes
from rdbmerge.format.emit import Change
from rdbmerge.plan.fitting import FITS, LOSSY, UNFIT, Fitting, loader_of
from rdbmerge.plan.profile import PROFILES, find_profile

AT = 2_000_000_000_000


def judged(target: str, *entries: bytes, version: int = 15, **change: Any) -> tuple[list[int], list[str]]:
    """The verdict on each entry, and the words for those that do not fit."""
    magic = b"VALKEY080" if version == 80 else None
    view, batch, dialect = only_batch(rdb(version, select(0), *entries, magic=magic))
    profile = find_profile(target)
    fitting = Fitting(profile, Change(dialect=dialect, loader=loader_of(profile), **change))
    verdicts = fitting.verdicts(view, batch, np.ones(batch.rows, bool))
    return verdicts.tolist(), list(fitting.whys(view, batch, np.flatnonzero(verdicts != FITS)))


@pytest.mark.parametrize("thing", THINGS, ids=IDS)
def test_each_reason_is_told_in_a_sentence(thing: Thing) -> None:
    verdicts, words = judged(thing.target, thing.entry, version=thing.version)
    assert verdicts == [UNFIT if thing.whole else LOSSY]
    assert words == [f"{thing.target} {thing.why}"]


@pytest.mark.parametrize("target", PROFILES)
def test_whatever_the_target_each_form_gets_a_verdict_and_a_reason(target: str) -> None:
    redis = [of_form(form.name) for form in FORMS if form.dialect.line == "redis" and "template" not in form.name]
    verdicts, words = judged(target, *redis)
    assert len(words) == len([verdict for verdict in verdicts if verdict != FITS])
    assert all(word.startswith(f"{target} has no ") for word in words)
    assert judged(target, *map(of_form, ("string", "list", "set", "zset", "hash")))[0] == [FITS] * 5


@pytest.mark.parametrize(
    ("entry", "target"),
    [
        (of_form("hash_listpack_ex"), "redis-7.4"),
        (of_form("hash_listpack_ex"), "valkey-9.1"),
        (of_form("array"), "redis-8.8"),
        (of_form("module_2"), "redis-4.0"),
        (of_form("stream-3"), "redis-5.0"),
        (record(27, b"k", remembering(5)), "redis-8.6"),
        (record(27, b"k", nacked()), "redis-8.8"),
        (record(0, b"k", string(b"v"), attributes=META), "redis-8.6"),
        (record(0, b"k", string(b"v"), attributes=expiry(AT) + idle(5)), "redis-2.6"),
        (record(0, b"k", string(b"v"), attributes=freq(5)), "redis-4.0"),
    ],
)
def test_what_the_target_knows_or_servers_do_without_fits(entry: bytes, target: str) -> None:
    assert judged(target, entry) == ([FITS], [])


def test_an_empty_memory_of_producers_is_no_loss() -> None:
    """Every stream of Redis 8.6 has one, with the sizes that its configuration says."""
    assert judged("redis-7.2", record(26, b"k", stream(4)))[0] == [FITS]
    assert judged("redis-7.2", record(26, b"k", stream(4, idmp=(60, 100))))[0] == [LOSSY]
    assert judged("redis-7.2", record(26, b"k", stream(4, iids=(0, 1))))[0] == [LOSSY]


def test_a_hash_none_of_whose_fields_expires_is_whole_without_times() -> None:
    never = record(25, b"k", bytes(8) + string(listpack(b"f", b"v", 0)))
    assert judged("redis-6.2", never)[0] == [FITS]


def test_only_fields_that_are_alive_lose_their_times() -> None:
    def hash_of(*times: int) -> bytes:
        fields = b"".join(length(at) + string(b"f%d" % n) + string(b"v") for n, at in enumerate(times))
        return record(22, b"k", length(len(times)) + fields)

    entries = hash_of(500, 0), hash_of(500, AT), hash_of(AT, AT + 1, 0)
    assert judged("redis-6.2", *entries)[0] == [LOSSY] * 3
    verdicts, words = judged("redis-6.2", *entries, fields_dead_before_ms=1_000)
    assert verdicts == [FITS, LOSSY, LOSSY]
    assert [word.partition("(")[2] for word in words] == ["1 here)", "2 here)"]


def test_entries_of_4_gb_are_too_long_for_lengths_of_32_bits() -> None:
    view, batch, dialect = only_batch(rdb(9, select(0), record(0, b"k", string(b"v"))))
    batch.end[0] += 1 << 32  # as if; nothing reads it
    for target, verdict in (("redis-3.2", UNFIT), ("redis-4.0", FITS)):
        profile = PROFILES[target]
        fitting = Fitting(profile, Change(dialect=dialect, loader=loader_of(profile)))
        assert fitting.verdicts(view, batch, np.ones(1, bool)).tolist() == [verdict]
    fitting = Fitting(PROFILES["redis-3.2"], Change(dialect=dialect, loader=loader_of(PROFILES["redis-3.2"])))
    assert list(fitting.whys(view, batch, np.array([0]))) == ["redis-3.2 reads no lengths of 4 GB and more"]
    assert not fitting.fits_all([0], 0, 1 << 32)


def test_rows_that_nobody_asks_about_are_not_looked_at() -> None:
    """They may be damaged: what the rules leave out needs no judgement."""
    damaged = record(25, b"k", bytes(8) + string(listpack(b"f", b"v", 0)[:-1] + b"?"))
    view, batch, dialect = only_batch(rdb(12, select(0), damaged, record(24, b"k2", BY_NAME["hash_metadata"].payload)))
    fitting = Fitting(PROFILES["redis-6.2"], Change(dialect=dialect, loader=loader_of(PROFILES["redis-6.2"])))
    assert fitting.verdicts(view, batch, np.array([False, True])).tolist() == [FITS, LOSSY]
    with pytest.raises(FormatError, match="a listpack"):
        fitting.verdicts(view, batch, np.array([True, True]))


@pytest.mark.parametrize(
    ("target", "types", "flags", "fits"),
    [
        ("redis-6.2", [0, 1, 13], 0, True),
        ("redis-6.2", [0, 21], 0, True),  # its counters are lost, and servers do without
        ("redis-6.2", [0, 25], 0, False),
        ("redis-6.2", [28], 0, False),
        ("redis-4.0", [15], 0, False),
        ("redis-8.6", [27], 0, False),
        ("redis-8.4", [0], codes.HAS_META, False),
        ("redis-8.6", [0], codes.HAS_META, True),
        ("redis-4.0", [0], codes.HAS_FREQ | codes.HAS_IDLE, True),
    ],
)
def test_runs_of_entries_are_passed_without_a_look_only_if_all_fit(
    target: str, types: list[int], flags: int, fits: bool
) -> None:
    _, _, dialect = only_batch(rdb(15, select(0), record(0, b"k", string(b"v"))))
    fitting = Fitting(PROFILES[target], Change(dialect=dialect, loader=loader_of(PROFILES[target])))
    assert fitting.fits_all(types, flags, 100) == fits


def test_the_reasons_of_a_batch_are_told_in_one_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a batch of hashes with expiries is read once for each of them, which takes hours."""
    entries = [of_form("hash_listpack_ex", b"k%d" % n) for n in range(50)]
    read, times = list[int](), Fitting._times

    def counting(self: Fitting, *arguments: Any) -> Any:
        read.append(1)
        return times(self, *arguments)

    monkeypatch.setattr(Fitting, "_times", counting)
    verdicts, words = judged("redis-6.2", *entries, entry(b"plain"))
    assert (verdicts, len(words), len(read)) == ([LOSSY] * 50 + [FITS], 50, 2)


def test_the_loader_is_the_profile_as_far_as_bytes_depend_on_it() -> None:
    loader = loader_of(PROFILES["redis-3.2"])
    assert (loader.line, loader.types) == ("redis", PROFILES["redis-3.2"].types)
    assert (loader.hints, loader.key_metadata, loader.long_lengths) == (False, False, False)
    newest = loader_of(PROFILES["redis-8.8"])
    assert (newest.hints, newest.key_metadata, newest.long_lengths) == (True, True, True)
