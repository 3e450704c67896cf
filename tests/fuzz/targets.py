"""What is fuzzed, one function a reader: bytes in, nothing out; raises `Finding` when a promise is broken.

The promises: no exception but ours, both core modes answer the same, no operation takes longer than a second for 64 KB,
memory stays below 64 MB and 8 times the input, and what is measured is what is written.
"""

from __future__ import annotations

import json
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fakes.primary import TIME_REPLY
from modes.twins import Questions, rooms, story
from rdbbytes import crc64

import rdbmerge
from rdbmerge.errors import FormatError, HandshakeError, RdbMergeError, TransferCutError, UsageError
from rdbmerge.format.dialects import MAGIC_BYTES
from rdbmerge.plan.model import Rules, Unsupported
from rdbmerge.plan.profile import find_profile
from rdbmerge.replication.handshake import Handshake, SnapshotBegins
from rdbmerge.replication.source import Source
from rdbmerge.replication.transfer import Finished, SnapshotBytes
from rdbmerge.snapshot.index import cached_index, index_path
from rdbmerge.snapshot.manifest import manifest_path, read_manifest
from rdbmerge.snapshot.segment import Segment
from rdbmerge.steps.merge import planned_merge, write_merge
from rdbmerge.steps.verify import read_plans, verify

Target = Callable[[bytes], None]

_SECONDS_A_64_KB = 1.0
_MEMORY_BYTES, _MEMORY_A_BYTE = 64 << 20, 8
_MOST_BYTES = 64 << 10
_ASKED = Questions(
    changes=[{"ttl_offset_ms": 77, "key_prefix": b"p:", "fields_dead_before_ms": 2_000_000_000_001}],
    targets=[find_profile("redis-2.8"), find_profile("valkey-9.1")],
    meanings=[{"stream_level": 3}],
)
MAGICS = (b"REDIS0015", b"VALKEY080", b"REDIS0006")


class Finding(AssertionError):  # noqa: N818 - reads as what happened
    """A promise that an input broke."""


def limited(task: Callable[[], Any], size: int, *, slower: float = 1.0) -> Any:
    """What a task gives, if it keeps to the limits of time and memory for an input of `size` bytes."""
    before_kb, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    given = task()
    spent_s = time.process_time() - began
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) << 10
    if spent_s > slower * _SECONDS_A_64_KB * max(1.0, size / _MOST_BYTES):
        raise Finding(f"{spent_s:.1f} s for {size:,} bytes")
    if grown > _MEMORY_BYTES + _MEMORY_A_BYTE * size:
        raise Finding(f"{grown:,} bytes of memory for {size:,} bytes")
    return given


def rdb(data: bytes) -> None:
    """A file: scanned, decoded, hashed, re-encoded for old targets, by both cores alike."""
    compiled, interpreted = rooms()
    data = data[:_MOST_BYTES]
    one = limited(lambda: story(compiled, data, asked=_ASKED), len(data))
    # The story asks some thirty things of each value; the interpreter takes its time for each.
    other = limited(lambda: story(interpreted, data, asked=_ASKED), len(data), slower=20.0)
    if one != other:
        difference = next(
            (pair for pair in zip(one, other, strict=False) if pair[0] != pair[1]), (len(one), len(other))
        )
        raise Finding(f"compiled and interpreted differ: {str(difference)[:2_000]}")


def value(data: bytes) -> None:
    """One value: the first byte chooses the line, the second the type, the rest is the payload."""
    if len(data) >= 2:
        magic = MAGICS[data[0] % len(MAGICS)]
        rdb(magic + bytes((data[1] % 34, 1)) + b"k" + data[2:] + b"\xff" + bytes(8))


def whole(data: bytes) -> None:
    """A file with a right checksum through the library's face and a whole merge: our errors only."""
    body = data[:_MOST_BYTES]
    if len(body) > MAGIC_BYTES:
        body = body + crc64(body).to_bytes(8, "little")
    with tempfile.TemporaryDirectory(dir=_memory_folder()) as name:
        source, output = Path(name) / "a.rdb", Path(name) / "out.rdb"
        source.write_bytes(body)
        rules = Rules(target="redis-6.2", on_unsupported=Unsupported.STRIP, ttl_offset_ms=5, snapshot_at_ms=10**12)
        try:
            with planned_merge([source], rules, now_ms=10**12, jobs=1) as merge:
                write_merge(merge, output, jobs=1)
        except RdbMergeError as error:
            if error.exit_code in (1, 21) or output.exists():
                raise Finding(f"{type(error).__name__}: {error}") from error
            return
        try:
            report = verify(output, against=[source], rules=rules, jobs=1, now_ms=1)
        except FormatError as error:
            if _decodes(source):  # a value that was copied unopened may be damaged in the source
                raise Finding(f"a merge that went well cannot be verified: {error}") from error
            return
        if report.verdict != "passed":
            raise Finding(f"a merge that went well is found wrong: {[check.name for check in report.failed_checks]}")


def _decodes(source: Path) -> bool:
    try:
        with rdbmerge.open(source) as entries:
            for entry in entries:
                entry.value()
    except FormatError:
        return False
    return True


def handshake(data: bytes) -> None:
    """What a primary says: any cut of it gives the same events, and no failure but those that are promised."""
    if not data:
        return
    cut, said = data[0], data[1:_MOST_BYTES]
    whole_story = limited(lambda: _conversation([said]), len(said))
    pieces = [said[start : start + 1 + cut % 64] for start in range(0, len(said), 1 + cut % 64)]
    if whole_story != limited(lambda: _conversation(pieces), len(said)):
        raise Finding("the events depend on how the stream is cut")


def _conversation(pieces: list[bytes]) -> list[Any]:
    """The events of a conversation; neighbouring bytes of the snapshot are joined."""
    shake = Handshake(Source(host="h", password="secret"))
    shake.start()
    events: list[Any] = []
    transfer: Any = None
    body = bytearray()
    try:
        for piece in pieces:
            chunk = piece
            if transfer is None:
                for event in shake.feed(chunk):
                    events.append(repr(event))
                    if isinstance(event, SnapshotBegins):
                        transfer, chunk = event.transfer, event.rest
                        events[-1] = (event.framing, event.length_bytes)
                if transfer is None:
                    continue
            for event in transfer.feed(chunk):
                if isinstance(event, SnapshotBytes):
                    body += event.data
                elif isinstance(event, Finished):
                    return [*events, bytes(body), "finished"]
        events.append(str((transfer or shake).closed()))
    except (HandshakeError, TransferCutError) as error:
        if "secret" in str(error):
            raise Finding("a password in a message") from error
        # What was fed together with it is not told, and its words show the bytes that had come: both depend on the cut.
        return [type(error).__name__, error.remedy]
    return [*events, bytes(body)]


def replies(data: bytes) -> None:
    """What a server answers to SCAN and DUMP: by both cores alike, and alike wherever the stream is cut.

    The first byte chooses the cut, the second what is asked; of a third of the inputs the rest is the value of a dump
    whose checksum is right.
    """
    if len(data) < 3:
        return
    size, asked, said = 1 + data[0] % 64, data[1] % 3, data[2:_MOST_BYTES]
    if asked == 2:
        good, sealed = sealed_dump(b"\x00\x01v"), sealed_dump(said)
        said = TIME_REPLY + good + sealed + good + TIME_REPLY
    stories = [
        limited(lambda room=room, pieces=pieces: _replies(room, asked, pieces), len(said), slower=slower)  # type: ignore[misc]
        for room, slower in zip(rooms(), (1.0, 20.0), strict=True)
        for pieces in ([said], [said[start : start + size] for start in range(0, len(said), size)])
    ]
    if any(one != stories[0] for one in stories):
        raise Finding(f"the answers depend on the core or on the cut: {str(stories)[:2_000]}")


def sealed_dump(value: bytes) -> bytes:
    """The answers to DUMP and PTTL for a value, type before it, whose checksum is right."""
    body = value + b"\x0c\x00"
    body += crc64(body).to_bytes(8, "little")
    return b"$%d\r\n%s\r\n:-1\r\n" % (len(body), body)


def _replies(room: Any, asked: int, pieces: list[bytes]) -> list[Any]:
    """What is made of the answers so far: pages, or dumps of three keys."""
    module = room["replies"]
    inbox, told = module.Inbox(), []
    dumps = module.Dumps(module.join_keys([b"a", b"", b"key"]), absolute=True)
    try:
        for piece in pieces:
            inbox.put(piece)
            while asked == 0 and (page := module.take_page(inbox)) is not None:
                told.append((page.cursor, [page.keys.key(row) for row in range(len(page.keys))]))
            if asked and dumps.take(inbox):
                return [dumps.status.tolist(), sorted(dumps.errors.items()), *_entries(room, dumps)]
    except (module.RefusedError, module.GarbledError) as error:
        return [*told, type(error).__name__]
    return told


def _entries(room: Any, dumps: Any) -> list[Any]:
    columns = room["columns"].Columns(64)
    try:
        told = [
            (rows.tolist(), [bytes(view[int(start) : int(end)]) for start, end in
                             zip(batch.entry_start[: batch.rows], batch.end[: batch.rows], strict=True)])
            for view, batch, rows in dumps.batches(columns)
        ]  # fmt: skip
    except FormatError as error:
        return [type(error).__name__]
    return [told, sorted(dumps.errors.items())]


def papers(data: bytes) -> None:
    """Manifests, plans and indexes: understood, or refused as our errors; an index that is wrong is no index."""
    with tempfile.TemporaryDirectory(dir=_memory_folder()) as name:
        source = Path(name) / "a.rdb"
        source.write_bytes(b"REDIS0011\xff" + crc64(b"REDIS0011\xff").to_bytes(8, "little"))
        manifest_path(source).write_bytes(data)
        plan = Path(name) / "plan.json"
        plan.write_bytes(data)
        index_path(source).write_bytes(data)
        for read in (lambda: read_manifest(source), lambda: read_plans(plan)):
            try:
                limited(read, len(data))
            except UsageError as error:
                if not error.remedy:
                    raise Finding(f"no remedy: {error}") from error
        with Segment(source) as segment:
            limited(lambda: cached_index(segment), len(data))


def _memory_folder() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


TARGETS: dict[str, Target] = {
    "rdb": rdb,
    "value": value,
    "whole": whole,
    "handshake": handshake,
    "replies": replies,
    "papers": papers,
}


def as_text(data: bytes) -> str:
    """An input for a message."""
    return data.hex() if len(data) <= 2_000 else f"{data[:2_000].hex()}... ({len(data):,} bytes)"


def example_papers() -> list[bytes]:
    """Small JSON to begin with."""
    return [json.dumps(one).encode() for one in ({}, [], {"plan_format": 1, "sources": []}, {"manifest_format": 1})]
