"""What a file holds, and the memory it takes: held against what real servers use once they have loaded it."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import redis
from rdbbytes import entry, rdb, record, select, string
from rdbbytes import slot as slot_by_hand
from realservers import ServerBinary, each_server, need, running

from rdbmerge.snapshot.allocation import Layout
from rdbmerge.snapshot.census import contents_of, string_lengths
from rdbmerge.snapshot.contents import Contents

FIXTURES = Path(__file__).parents[2] / "fixtures" / "rdb"
NEAR = 0.25
Fill = Callable[[redis.client.Pipeline], object]
BIG = {f"field{n}": f"value{n * 7}" for n in range(4_000)}

SETS: dict[str, Fill] = {
    "short strings": lambda p: [p.set(f"key:{n}", f"value:{n}", ex=9_000 if n % 2 else None) for n in range(40_000)],
    "numbers": lambda p: [p.set(f"n:{n}", n * 7_919) for n in range(40_000)],
    "compressed": lambda p: [p.set(f"j:{n}", b'{"name":"abc","list":[1,2,3]}' * 300) for n in range(1_000)],
    "small hashes": lambda p: [p.hset(f"h:{n}", mapping={f"f{k}": f"v{n * k}" for k in range(9)}) for n in range(9000)],
    "large hashes": lambda p: [p.hset(f"h:{n}", mapping=BIG) for n in range(10)],
    "small sets": lambda p: [p.sadd(f"s:{n}", *[f"m{n * k}" for k in range(1, 20)]) for n in range(1, 4_000)],
    "large sets": lambda p: [p.sadd(f"s:{n}", *[f"member:{n * k}" for k in range(4_000)]) for n in range(1, 12)],
    "whole numbers": lambda p: [p.sadd(f"i:{n}", *range(n, n + 200)) for n in range(2_500)],
    "sorted sets": lambda p: [p.zadd(f"z:{n}", {f"member:{k}": k / 3 for k in range(1_000)}) for n in range(30)],
    "lists": lambda p: [p.rpush(f"l:{n}", *[f"element {k} of {n}" for k in range(300)]) for n in range(500)],
    "streams": lambda p: [p.xadd(f"x:{n % 40}", {"field": f"v{n}", "n": n}, id=f"{n + 1}-1") for n in range(60_000)],
}  # fmt: skip


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder, files = tmp_path_factory.mktemp("sets"), {}
    random.seed(7)
    with running(need("redis-6.2")) as server, server.client() as client:
        for name, fill in SETS.items():
            client.flushall()
            pipeline = client.pipeline(transaction=False)
            fill(pipeline)
            pipeline.execute()
            files[name] = Path(shutil.copy(server.save(), folder / f"{name}.rdb"))
    return files


def used(binary: ServerBinary, rdb_file: Path | None) -> int:
    with running(binary, rdb=rdb_file, as_replica=rdb_file is not None) as server, server.client() as client:
        while client.info("persistence")["loading"]:
            time.sleep(0.02)
        return int(client.info("memory")["used_memory"])


@pytest.mark.once
@each_server(lambda one: one.name in ("redis-6.2", "redis-7.0", "valkey-8.1", "valkey-9.1"))
def test_the_estimate_is_near_what_a_server_uses(binary: ServerBinary, sets: dict[str, Path]) -> None:
    layout: Layout = "valkey" if binary.flavour == "valkey" else "redis"
    empty, wrong = used(binary, None), {}
    for name, path in sets.items():
        estimate, real = contents_of(path, jobs=2).memory_bytes[layout], used(binary, path) - empty
        if abs(estimate / real - 1) > NEAR:
            wrong[name] = f"{estimate / real - 1:+.0%} of {real:,}"
    assert not wrong


@pytest.mark.parametrize(
    ("name", "folder"), [("redis-7.0", "7.0.15"), ("redis-7.0", "2.8.24"), ("valkey-8.1", "7.2.6")]
)
def test_the_estimate_of_golden_files_is_near(name: str, folder: str) -> None:
    binary, path = need(name), FIXTURES / folder / "all_types.rdb"
    layout: Layout = "valkey" if binary.flavour == "valkey" else "redis"
    real = used(binary, path) - used(binary, None)
    assert contents_of(path).memory_bytes[layout] == pytest.approx(real, rel=NEAR, abs=256 << 10)


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*/all_types.rdb")), ids=lambda path: path.parent.name)
def test_every_golden_file_is_counted(path: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(path, tmp_path / "it.rdb"))
    contents = contents_of(copy)
    assert contents.magic.encode() == path.read_bytes()[:9]
    assert contents.all_keys == sum(contents.types.values()) > 50
    assert contents.memory_bytes["redis"] > contents.size_bytes
    assert Contents.from_metadata(contents.to_metadata()) == contents


def test_threads_count_the_same_as_one(sets: dict[str, Path]) -> None:
    one, two = contents_of(sets["short strings"]), contents_of(sets["short strings"], jobs=2)
    assert one == two
    told: list[int] = []
    contents_of(sets["lists"], progress=told.append)
    assert sum(told) == pytest.approx(2 * sets["lists"].stat().st_size, rel=0.01)


def held(tmp_path: Path, *parts: bytes) -> Contents:
    path = tmp_path / "it.rdb"
    path.write_bytes(rdb(11, *parts))
    return contents_of(path)


def test_the_longest_the_largest_and_the_heaviest_are_found(tmp_path: Path) -> None:
    long_key = b"k" * 5_000
    contents = held(
        tmp_path, select(0), entry(b"a"), entry(long_key, b"v" * 300_000), select(2),
        record(0, b"7", b"\xc0\x05", key_bytes=b"\xc0\x07"), entry(b"e", expire_at_ms=1 << 41),
    )  # fmt: skip
    assert contents.keys == {0: 2, 2: 2}
    assert contents.expires == 1
    assert contents.longest_key_bytes == 5_000
    assert contents.longest_string_bytes == 300_000
    assert contents.largest_entry_bytes > 305_000
    assert contents.heaviest_slot_bytes == pytest.approx(327_680 + 6_144, rel=0.05)
    part = slot_by_hand(long_key) // 256 * 256
    assert contents.share_of(part, part + 255) > 0.99


def test_the_modules_of_values_are_named(golden: Path, tmp_path: Path) -> None:
    module_value = b"\x81" + bytes.fromhex("8e" * 7 + "00") + b"\x02\x05\x00"
    contents = held(tmp_path, select(0), record(7, b"m", module_value))
    assert contents.types == {7: 1}
    assert len(contents.modules) == 1
    assert len(contents.modules[0]) == 9


def lengths_of(*forms: bytes) -> Iterator[tuple[int, bool]]:
    blob = b"".join(forms) + b"\xff" * 9
    ends = np.cumsum([len(form) for form in forms])
    starts = ends - [len(form) for form in forms]
    lengths, numbers = string_lengths(np.frombuffer(blob, np.uint8), starts, ends)
    return zip(lengths.tolist(), numbers.tolist(), strict=True)


def test_lengths_of_strings_in_every_form() -> None:
    packed = [b"\xc3" + b"\x05" + size + b"12345" for size in (b"\x20", b"\x44\x00", b"\x80\x00\x01\x00\x00")]
    wide = b"\xc3\x80\x00\x00\x00\x05\x81\x00\x00\x00\x02\x00\x00\x00\x00" + b"12345"
    plain = [string(b"x" * size) for size in (0, 63, 64, 20_000)]
    numbers = [b"\xc0\x01", b"\xc1\x01\x02", b"\xc2\x01\x02\x03\x04"]
    found = list(lengths_of(*plain, *numbers, *packed, wide))
    assert found == [
        (0, False), (63, False), (64, False), (20_000, False), *[(0, True)] * 3,
        (32, False), (1_024, False), (65_536, False), (1 << 33, False),
    ]  # fmt: skip
