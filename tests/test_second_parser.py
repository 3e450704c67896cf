"""rdbtools, a parser that shares nothing with ours, reads the same values out of every fixture that it knows."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from decoded import decoded
from rdbtools import RdbCallback, RdbParser
from truth import Truth, TruthEntry, read_truth, score, short

from rdbmerge.plan.model import Rules, Unsupported
from rdbmerge.steps.merge import planned_merge, write_merge

pytestmark = pytest.mark.once

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures" / "rdb"
NEWEST = b"REDIS0009"  # of what it knows
ZIPMAP = 9
KNOWN = [path for path in sorted(FIXTURES.glob("*/*.rdb")) if path.read_bytes()[:9] <= NEWEST]
OTHERS = [path for path in sorted(FIXTURES.glob("*/all_types.rdb")) if path not in KNOWN]
LATEST_MS = 221_925_052_800_000  # rdbtools cuts later expiries to this one


def name_of(path: Path) -> str:
    return f"{path.parent.name}-{path.stem}"


class Collector(RdbCallback):  # type: ignore[misc]
    """What rdbtools finds, as a truth."""

    def __init__(self) -> None:
        super().__init__(None)
        self.truth = Truth()
        self.db = 0
        self.streams: Counter[int] = Counter()

    def start_database(self, db_number: int) -> None:
        self.db = db_number

    def add(self, kind: str, key: Any, value: Any, expiry: datetime | None) -> None:
        at_ms = None if expiry is None else round(expiry.replace(tzinfo=UTC).timestamp() * 1_000)
        self.truth.entries[self.db, short(as_bytes(key))] = TruthEntry(kind, value, at_ms)

    def set(self, key: Any, value: Any, expiry: Any, info: Any) -> None:
        self.add("string", key, short(as_bytes(value)), expiry)

    def start_hash(self, key: Any, length: int, expiry: Any, info: Any) -> None:
        self.add("hash", key, {}, expiry)
        self.value = self.truth.entries[self.db, short(as_bytes(key))].value

    def hset(self, key: Any, field: Any, value: Any) -> None:
        self.value[short(as_bytes(field))] = (short(as_bytes(value)), None)

    def start_set(self, key: Any, cardinality: int, expiry: Any, info: Any) -> None:
        self.members: list[bytes] = []
        self.pending = (key, expiry)

    def sadd(self, key: Any, member: Any) -> None:
        self.members.append(short(as_bytes(member)))

    def end_set(self, key: Any) -> None:
        self.add("set", self.pending[0], frozenset(self.members), self.pending[1])

    def start_list(self, key: Any, expiry: Any, info: Any) -> None:
        self.add("list", key, [], expiry)
        self.value = self.truth.entries[self.db, short(as_bytes(key))].value

    def rpush(self, key: Any, value: Any) -> None:
        self.value.append(short(as_bytes(value)))

    def start_sorted_set(self, key: Any, length: int, expiry: Any, info: Any) -> None:
        self.add("zset", key, {}, expiry)
        self.value = self.truth.entries[self.db, short(as_bytes(key))].value

    def zadd(self, key: Any, number: Any, member: Any) -> None:
        self.value[short(as_bytes(member))] = score(
            as_bytes(number).decode() if not isinstance(number, float) else number
        )

    def start_stream(self, key: Any, listpacks_count: int, expiry: Any, info: Any) -> None:
        self.streams[self.db] += 1


def truth_of(path: Path) -> Truth:
    return read_truth(path.with_name(f"{path.stem}.truth.jsonl.gz"))


def as_bytes(thing: Any) -> bytes:
    return thing if isinstance(thing, bytes) else str(thing).encode()


def by_rdbtools(path: Path) -> Collector:
    collector = Collector()
    RdbParser(collector).parse(str(path))
    return collector


def numbers_as_numbers(value: dict[bytes, tuple[bytes, None]]) -> dict[bytes, tuple[bytes, None]]:
    """What rdbtools makes of a zipmap: values such as 007 lose their zeros, +5 its sign, 1 and a blank the blank."""

    def read(text: bytes) -> bytes:
        try:
            return b"%d" % int(text)
        except ValueError:
            return text

    return {name: (read(text), None) for name, (text, _) in value.items()}


def same(ours: Truth, theirs: Collector, truth: Truth) -> None:
    """Streams are only counted by rdbtools; everything else is compared, value by value."""
    streams = Counter(db for (db, _), entry in ours.entries.items() if entry.type == "stream")
    assert streams == theirs.streams
    plain = {place: entry for place, entry in ours.entries.items() if entry.type != "stream"}
    assert plain.keys() == theirs.truth.entries.keys()
    for place, entry in plain.items():
        other = theirs.truth.entries[place]
        value = numbers_as_numbers(entry.value) if truth.entries[place].rdb_type == ZIPMAP else entry.value
        assert (entry.type, value) == (other.type, other.value), place
        assert entry.expire_at_ms == other.expire_at_ms or (entry.expire_at_ms or 0) > LATEST_MS, place


@pytest.mark.parametrize("path", KNOWN, ids=name_of)
def test_it_reads_the_same_values_as_we_do(path: Path) -> None:
    same(decoded(path), by_rdbtools(path), truth_of(path))


@pytest.mark.parametrize("path", [*KNOWN, *OTHERS], ids=name_of)
@pytest.mark.parametrize("target", ["redis-6.2", "redis-2.8"])
def test_it_reads_what_was_re_encoded_as_we_do(path: Path, target: str, tmp_path: Path) -> None:
    output = tmp_path / "out.rdb"
    source = tmp_path / path.name
    source.write_bytes(path.read_bytes())
    rules = Rules(target=target, on_unsupported=Unsupported.STRIP, drop_expired=False)
    with planned_merge([source], rules, now_ms=1_795_400_000_000, jobs=1) as merge:
        write_merge(merge, output, jobs=1)
    same(decoded(output), by_rdbtools(output), truth_of(path))
