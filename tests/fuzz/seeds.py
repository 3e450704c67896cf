"""What fuzzing begins with: small files and values out of the fixtures, what primaries said, real papers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from fakes.primary import TIME_REPLY
from fakes.recorded import conversation_names, load
from fuzz.targets import MAGICS, example_papers, sealed_dump
from rdbbytes import crc64

from rdbmerge.format import codes
from rdbmerge.format.columns import Columns
from rdbmerge.format.scan import Walk
from rdbmerge.plan.model import Rules
from rdbmerge.snapshot.index import index_path
from rdbmerge.snapshot.manifest import manifest_path
from rdbmerge.steps.merge import planned_merge, write_merge

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
_SMALL_BYTES = 400
_EACH = 3  # values of a type from one fixture


def small_files() -> Iterator[bytes]:
    """Fixtures that are small as they are: broken ones, and those without many keys."""
    for path in sorted([*FIXTURES.glob("broken/*.rdb"), *FIXTURES.glob("rdb/*/*.rdb")]):
        if path.stat().st_size < 3_000:
            yield path.read_bytes()


def values() -> Iterator[tuple[bytes, bytes, bytes]]:
    """Magic, entry and payload (type before it) of small values: a few of each type of each fixture."""
    for path in sorted(FIXTURES.glob("rdb/*/*.rdb")):
        data = path.read_bytes()
        taken: dict[int, int] = {}
        walk = Walk(memoryview(data))
        for batch in walk:
            if not isinstance(batch, Columns):
                continue
            for row in range(batch.rows):
                start, end, number = int(batch.entry_start[row]), int(batch.end[row]), int(batch.type[row])
                if end - start <= _SMALL_BYTES and taken.get(number, 0) < _EACH:
                    taken[number] = taken.get(number, 0) + 1
                    payload = data[int(batch.value_start[row]) : end]
                    yield str(walk.dialect).encode(), data[start:end], bytes((number,)) + payload


def seeds(target: str) -> list[bytes]:
    """Inputs for one target, without doubles."""
    if target == "value":
        found = [
            bytes((MAGICS.index(b"VALKEY080") if magic.startswith(b"V") else 0,)) + payload
            for magic, _, payload in values()
        ]
    elif target in ("rdb", "whole"):
        found = [*small_files(), *_joined()]
        found = [data[:-8] if target == "whole" else data for data in found]
    elif target == "handshake":
        found = list(_conversations())
    elif target == "replies":
        found = list(_answers())
    else:
        found = [*example_papers(), *_real_papers()]
    return list(dict.fromkeys(found))


def _joined() -> Iterator[bytes]:
    """Files of a few entries each."""
    by_magic: dict[bytes, list[bytes]] = {}
    for magic, entry, _ in values():
        by_magic.setdefault(magic, []).append(entry)
    for magic, entries in by_magic.items():
        for start in range(0, len(entries), 4):
            body = magic + bytes((codes.OP_SELECTDB, 0)) + b"".join(entries[start : start + 4]) + b"\xff"
            yield body + crc64(body).to_bytes(8, "little")


def _conversations() -> Iterator[bytes]:
    """What recorded primaries said, after answers to what we ask first; each in another cut."""
    for number, name in enumerate(conversation_names()):
        said = load(name)
        yield bytes((number % 256,)) + b"+OK\r\n+PONG\r\n" + b"+OK\r\n" * 4 + said.after_sync[:4_000]
        yield bytes((number % 256,)) + b"+OK\r\n" + said.heard[:4_000]


def _answers() -> Iterator[bytes]:
    """Pages of SCAN, answers to DUMP of three keys, and values that are sealed by the target."""
    for number, page in enumerate((b"*2\r\n$1\r\n0\r\n*0\r\n", b"*2\r\n$2\r\n17\r\n*2\r\n$1\r\na\r\n$3\r\nb\r\n\r\n")):
        yield bytes((number, 0)) + page * 3 + b"-LOADING wait\r\n"
    for number, (_, _, payload) in enumerate(values()):
        yield bytes((number % 256, 2)) + payload
        if number % 8 == 0:
            said = [sealed_dump(payload), b"$-1\r\n:-2\r\n", b"-MOVED 1 h:1\r\n-MOVED 1 h:1\r\n"]
            yield bytes((number % 256, 1)) + TIME_REPLY + b"".join(said) + TIME_REPLY


def _real_papers() -> list[bytes]:
    with TemporaryDirectory() as name:
        source, output = Path(name) / "a.rdb", Path(name) / "out.rdb"
        source.write_bytes((FIXTURES / "rdb" / "7.2.6" / "cluster.rdb").read_bytes())
        with planned_merge([source], Rules(), now_ms=10**12, jobs=1) as merge:
            write_merge(merge, output, jobs=1)
            plan = merge.plan.model_dump_json().encode()
        return [plan, manifest_path(output).read_bytes(), index_path(source).read_bytes()]


def mutated(data: bytes, generator: random.Random) -> bytes:
    """The input with a few of its bytes flipped, cut out, doubled or replaced by what lengths like."""
    out = bytearray(data)
    for _ in range(generator.randint(1, 4)):
        place = generator.randrange(len(out) + 1)
        kind = generator.randrange(5)
        if kind == 0 and place < len(out):
            out[place] ^= 1 << generator.randrange(8)
        elif kind == 1 and place < len(out):
            out[place] = generator.choice([0, 1, 2, 0x3F, 0x40, 0x7F, 0x80, 0x81, 0xC0, 0xC3, 0xFD, 0xFE, 0xFF])
        elif kind == 2:
            del out[place : place + generator.randint(1, 8)]
        elif kind == 3:
            out[place:place] = out[place : place + generator.randint(1, 16)]
        else:
            out[place:place] = generator.choice(
                [b"\x81" + b"\xff" * 8, b"\x80\xff\xff\xff\xff", b"\xc3\x05\x14", b"\0" * 8]
            )
    return bytes(out)
