"""What is dropped without asking is told, by what is written, once for a whole merge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from merging import opened
from rdbbytes import entry, expiry, freq, idle, length, rdb, record, select, string
from unfit import LIBRARY, MODULE_DATA, of_form

from rdbmerge.plan.model import KeyPattern, Unsupported
from rdbmerge.plan.sharding import even_slots

AT = 2_000_000_000_000
SKIP = {"on_unsupported": Unsupported.SKIP}


def warnings(folder: Path, *parts: bytes, version: int = 12, **rules: Any) -> list[str]:
    with opened(folder, rdb(version, *parts)) as merge:
        return merge.plan(**{**SKIP, **rules}).warnings


def glob(text: bytes) -> list[KeyPattern]:
    return [KeyPattern(kind="glob", text=text)]


HINTED = [
    record(0, b"a", string(b"v"), attributes=expiry(AT) + idle(5)),
    record(0, b"b", string(b"v"), attributes=freq(5)),
    record(0, b"c", string(b"v"), attributes=expiry(5) + freq(5)),
    entry(b"d"),
]


def test_hints_that_are_dropped_are_counted(tmp_path: Path) -> None:
    told = warnings(tmp_path, select(0), *HINTED, target="redis-4.0")
    assert told == ["2 keys without idle time or use counter, which redis-4.0 cannot read"]
    told = warnings(tmp_path, select(0), *HINTED, target="redis-4.0", include_keys=glob(b"b"))
    assert told == ["1 key without idle time or use counter, which redis-4.0 cannot read"]


@pytest.mark.parametrize("rules", [{}, {"target": "redis-5.0"}, {"target": "redis-4.0", "include_keys": glob(b"d")}])
def test_hints_that_are_kept_or_not_written_are_no_matter(tmp_path: Path, rules: dict[str, Any]) -> None:
    assert warnings(tmp_path, select(0), *HINTED, **rules) == []


STREAMS = [of_form("stream-2"), of_form("stream-3"), of_form("stream-1"), entry(b"k")]
WITHOUT_COUNTERS = (
    " without counters (entries added and read, highest deleted ID), which redis-6.2 does not keep:"
    " the lag of groups is unknown there"
)


def test_streams_that_lose_their_counters_are_counted(tmp_path: Path) -> None:
    assert warnings(tmp_path, select(0), *STREAMS, target="redis-6.2") == [f"2 streams{WITHOUT_COUNTERS}"]
    told = warnings(tmp_path, select(0), *STREAMS, target="redis-6.2", exclude_keys=glob(b"*-3"))
    assert told == [f"1 stream{WITHOUT_COUNTERS}"]


@pytest.mark.parametrize("target", ["redis-7.0", "valkey-8.1", "redis-4.0"])
def test_streams_that_keep_them_or_are_not_written_are_no_matter(tmp_path: Path, target: str) -> None:
    assert warnings(tmp_path, select(0), *STREAMS, target=target) == []


def test_libraries_and_module_data_that_are_left_out_are_named(tmp_path: Path) -> None:
    told = warnings(tmp_path, MODULE_DATA, LIBRARY, select(0), entry(b"k"), target="redis-3.2")
    assert told == [
        "function libraries are left out, for redis-3.2 has no functions: lib",
        "data of modules is left out, for redis-3.2 loads none: vectorset",
    ]
    assert warnings(tmp_path, MODULE_DATA, LIBRARY, select(0), entry(b"k"), target="redis-7.0") == []
    told = warnings(tmp_path, MODULE_DATA, select(0), entry(b"k"), target="redis-4.0")
    assert told == ["data of modules is left out, for redis-4.0 loads none: vectorset"]


def test_a_header_that_a_service_is_only_thought_to_read_is_told(tmp_path: Path) -> None:
    one = [select(0), of_form("hash_listpack_ex")]
    told = ["that elasticache-valkey-9.0 reads VALKEY080 is inferred and not documented"]
    assert warnings(tmp_path, *one, target="elasticache-valkey-9.0") == told
    assert warnings(tmp_path, *one, target="valkey-9.0") == []
    assert warnings(tmp_path, select(0), entry(b"k"), target="elasticache-valkey-9.0") == []


def test_all_shards_together_have_the_warnings_of_one_file(tmp_path: Path) -> None:
    records = [record(1, b"empty%d" % n, length(0)) for n in range(9)]
    records += [record(21, b"s%d" % n, of_form("stream-3", b"")[2:]) for n in range(9)]
    with opened(tmp_path, rdb(12, select(0), *records)) as merge:
        one = merge.plan(target="redis-6.2")
        plans = merge.plans(even_slots(4), target="redis-6.2")
    assert one.warnings == [
        "a.rdb: 9 empty collections left out (booked as filtered); no server keeps them",
        f"9 streams{WITHOUT_COUNTERS}",
    ]
    assert [plan.warnings for plan in plans] == [one.warnings] * 4


def test_dead_fields_that_are_kept_will_never_expire(tmp_path: Path) -> None:
    timed = [select(0), of_form("hash_listpack_ex")]
    rules = {"target": "redis-6.2", "on_unsupported": Unsupported.STRIP, "drop_expired": False}
    told = "hash fields that were dead at their snapshot are kept as asked, and redis-6.2 cannot expire them"
    assert warnings(tmp_path, *timed, **rules) == [told]
    assert warnings(tmp_path, *timed, **{**rules, "drop_expired": True}) == []
    assert warnings(tmp_path, *timed, **{**rules, "target": "redis-8.2"}) == []
    assert warnings(tmp_path, *timed, **{**rules, "on_unsupported": Unsupported.SKIP}) == []
