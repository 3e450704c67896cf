"""A source of a few entries, and what a server is said to have answered for its keys; no server is needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rdbbytes import aux, crc64, rdb, select

from rdbmerge.format.columns import Columns
from rdbmerge.format.replies import Dumps, Inbox, join_keys
from rdbmerge.plan.model import Rules
from rdbmerge.snapshot.indexer import read_index
from rdbmerge.snapshot.manifest import snapshot_time
from rdbmerge.snapshot.segment import open_segments
from rdbmerge.verify.destination import Destination, destination_of
from rdbmerge.verify.expectation import Line
from rdbmerge.verify.live_expected import Expected
from rdbmerge.verify.live_pairs import LivePairs
from rdbmerge.verify.live_tally import LiveTally
from rdbmerge.verify.origin import Origin, Times, offset_of

NOW_MS = 1_800_000_000_000
CTIME = aux(b"ctime", b"1700000000")

Answer = tuple[int, bytes] | tuple[int, bytes, int] | bytes | None
"""Type, payload and expiry; None: no such key; bytes: what stands for both replies."""


def bulk(data: bytes) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(data), data)


def dumped(number: int, payload: bytes, stamp: int = 12) -> bytes:
    body = bytes((number,)) + payload + stamp.to_bytes(2, "little")
    return bulk(body + crc64(body).to_bytes(8, "little"))


def time_reply(at_ms: int) -> bytes:
    seconds, micros = b"%d" % (at_ms // 1_000), b"%d" % (at_ms % 1_000 * 1_000)
    return b"*2\r\n" + bulk(seconds) + bulk(micros)


def answered(
    keys: Sequence[bytes], answers: Sequence[Answer], *, stamp: int = 12, absolute: bool = True, took_ms: int = 0
) -> Dumps:
    """What Dumps make of these answers, at NOW_MS; expiries are lives left where they are not `absolute`."""
    said = time_reply(NOW_MS)
    for answer in answers:
        if answer is None:
            said += b"$-1\r\n:-2\r\n"
        elif isinstance(answer, bytes):
            said += answer
        else:
            number, payload, *at_ms = answer
            said += dumped(number, payload, stamp) + b":%d\r\n" % (at_ms[0] if at_ms else -1)
    inbox, dumps = Inbox(), Dumps(join_keys(keys), absolute=absolute)
    inbox.put(said + time_reply(NOW_MS + took_ms))
    assert dumps.take(inbox)
    return dumps


@contextmanager
def sides(
    folder: Path, *files: bytes, sample: int | None = None, **rules: Any
) -> Iterator[tuple[Expected, Destination]]:
    """What is expected of some files: a.rdb, b.rdb, ..."""
    paths = [folder / f"{chr(97 + number)}.rdb" for number in range(len(files))]
    for path, data in zip(paths, files, strict=True):
        path.write_bytes(data)
    declared = Rules(**rules)
    with open_segments(paths) as segments:
        indexes = [read_index(segment) for segment in segments]
        destination = destination_of(
            declared, [(one.dialect, index.facts) for one, index in zip(segments, indexes, strict=True)]
        )
        origins = []
        for number, (segment, index) in enumerate(zip(segments, indexes, strict=True)):
            at_ms, at_from = snapshot_time(segment, index.facts, None)
            times = Times(at_ms, at_from, offset_of(declared, at_ms))
            origins.append(Origin(number, segment, index, declared, times, destination))
        expected = Expected(origins, declared, jobs=2, sample=sample, seed=1, spill_dir=folder)
        yield expected, destination
        expected.close()


def batch_of(line: Line) -> Columns:
    """All entries of a line, which are few."""
    chunk = next(chunk for chunk in line.origin.index.facts.chunks if chunk.db == line.db)
    return next(iter(line.origin.segment.walk_part(chunk.start, chunk.stop, chunk.db)))


def compared(
    folder: Path, records: Sequence[bytes], answers: Sequence[Answer], *, version: int = 12, tolerance_ms: int = 0,
    stamp: int = 12, absolute: bool = True, took_ms: int = 0, head: bytes = b"", **rules: Any,
) -> LiveTally:  # fmt: skip
    """What is found when a server gives these answers for the records of db 0, in their order."""
    tally = LiveTally()
    with sides(folder, rdb(version, CTIME, head, select(0), *records), **rules) as (expected, destination):
        line = expected.lines[0]
        batch = batch_of(line)
        keys = [line.origin.prefix + batch.key(line.origin.segment.view, row) for row in range(batch.rows)]
        dumps = answered(keys, answers, stamp=stamp, absolute=absolute, took_ms=took_ms)
        pairs = LivePairs(line, 0, destination, tolerance_ms=tolerance_ms)
        pairs.compare(batch, np.arange(batch.rows), dumps, tally)
    return tally


def said(tally: LiveTally) -> list[tuple[str, bytes, str, str]]:
    return [(one.kind, one.key_base64, one.expected, one.found) for one in tally.differences]
