"""One source becomes a segment without replication: SCAN, DUMP and expiries, where SYNC is forbidden.

That is no snapshot of one moment: what is written meanwhile is seen or not. The facts of the pull say so, and say when
the source itself tells that nothing was written.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from rdbmerge.errors import SourceError, TransferCutError
from rdbmerge.format import codes, write
from rdbmerge.format.columns import Columns
from rdbmerge.format.dump import undump_libraries
from rdbmerge.format.replies import Dumps, Page
from rdbmerge.reach.connection import open_socket
from rdbmerge.reach.info import ServerFacts, read_facts
from rdbmerge.replication.client import pause
from rdbmerge.replication.limits import PullLimits, PullProgress, Reporter
from rdbmerge.replication.pulled import PulledSnapshot
from rdbmerge.replication.quiet import judge_scanned
from rdbmerge.replication.source import Source
from rdbmerge.snapshot.scanned import SegmentWriter
from rdbmerge.steps.asking import Asker, Patience
from rdbmerge.units import escape_key

_FACTS_TIMEOUT_S = 5.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 10.0
_FIRST_KEYS, _MOST_KEYS = 64, 1_000  # of one page
_PAGE_BYTES = 4 << 20  # what the answers to one page should come to: the server holds them until they are taken


def scan_snapshot(
    source: Source,
    fd: int,
    path: Path,
    *,
    limits: PullLimits,
    now_ms: Callable[[], int],
    progress: Callable[[PullProgress], None] | None = None,
    stop: threading.Event | None = None,
) -> PulledSnapshot:
    """Write all entries of `source` into the file at `path` through `fd`, which is empty.

    A source that loads or does not answer is asked again for `limits.retry_for_s`, as long as nothing has come.

    Raises:
        SourceError: not reached, refused, cut; what was written is of no use.
        UnsupportedError: dumps of a version that is not known.
        StoppedError: `stop` was set. OSError: the disk.
    """
    started_s, pause_s, attempts = time.monotonic(), _FIRST_PAUSE_S, 0
    reporter = Reporter(source.name, progress)
    while True:
        attempts += 1
        attempt = _Attempt(source, fd, path, limits, now_ms, reporter, stop)
        try:
            return replace(attempt.run(started_s), attempts=attempts)
        except SourceError as error:
            too_late = time.monotonic() - started_s + pause_s > limits.retry_for_s
            if not error.retryable or too_late or attempt.writer.has_begun:
                raise
        finally:
            attempt.writer.close()
        pause(pause_s, stop, source)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


class _Attempt:
    """One connection's life."""

    def __init__(
        self,
        source: Source,
        fd: int,
        path: Path,
        limits: PullLimits,
        now_ms: Callable[[], int],
        reporter: Reporter,
        stop: threading.Event | None,
    ) -> None:
        self.source = source
        self.limits = limits
        self.now_ms = now_ms
        self.reporter = reporter
        self.stop = stop
        self.absolute = False
        self.libraries = b""
        self.writer = SegmentWriter(fd, path, ctime_s=now_ms() // 1_000)
        self.columns = Columns(_MOST_KEYS)
        self.keys_at_once = _FIRST_KEYS
        self.gone = 0
        self.notes: list[str] = []

    def run(self, started_s: float) -> PulledSnapshot:
        self.reporter.report("connect")
        before = self._facts()
        patience = Patience(self.limits.connect_timeout_s, self.limits.reply_timeout_s)
        asker = Asker(self.source, patience, self.stop)
        try:
            began_ms = asker.time_ms()
            asker.leave_idle_times_alone()
            self.absolute = asker.knows_expiretime()
            self.libraries = self._libraries(asker)
            for db in asker.dbs(before.keyspace):
                asker.select(db)
                self._db(asker, db)
        finally:
            asker.close()
        written = self.writer.finish()
        after = self._facts()
        self._note(written.repeated, before, after)
        verdict = judge_scanned(before, after)
        self.reporter.report("done", written.size_bytes, written.size_bytes)
        skew_ms = before.clock_skew_ms if before.clock_skew_ms is not None else after.clock_skew_ms
        return PulledSnapshot(
            source_name=self.source.name,
            address=self.source.address,
            command="SCAN",
            framing="scan",
            replid=None,
            offset=None,
            rdb_only=True,
            size_bytes=written.size_bytes,
            sha256=written.sha256,
            requested_at_ms=began_ms,
            snapshot_at_ms=began_ms,
            clock_skew_ms=skew_ms,
            duration_s=time.monotonic() - started_s,
            attempts=1,
            before=before,
            after=after,
            written=verdict.written,
            evidence=verdict.evidence,
            notes=tuple(self.notes),
        )

    def _facts(self) -> ServerFacts:
        timeout_s = min(_FACTS_TIMEOUT_S, self.limits.reply_timeout_s)
        return read_facts(
            self.source,
            open_socket=lambda: open_socket(self.source, timeout_s=timeout_s, stop=self.stop),
            timeout_s=timeout_s,
            now_ms=self.now_ms,
        )

    def _note(self, repeated: int, before: ServerFacts, after: ServerFacts) -> None:
        if self.gone:
            self.notes.append(f"{self.gone:,} keys were there for SCAN and gone for DUMP: expired, deleted or renamed")
        if repeated:
            self.notes.append(f"{repeated:,} keys came from SCAN more than once; the last value of each was kept")
        if not self.absolute:
            self.notes.append("expiries are TIME + PTTL: early by at most the milliseconds that a page takes")
        if before.keyspace is not None and after.keyspace is not None:
            new = sorted(after.keyspace.keys() - before.keyspace.keys())
            if new:
                self.notes.append(f"dbs {', '.join(map(str, new))} were empty at the beginning, and not looked into")

    def _libraries(self, asker: Asker) -> bytes:
        """The records of function libraries."""
        dump = asker.ask("FUNCTION", "DUMP")
        if not isinstance(dump, bytes):
            if self.absolute:  # a server that has functions
                self.notes.append("function libraries were not taken: the source does not allow FUNCTION DUMP")
            return b""
        return b"".join(write.function(code) for code in undump_libraries(dump))

    def _db(self, asker: Asker, db: int) -> None:
        """All of the selected db: the next page is asked for before the keys of this one: the source never waits."""
        asker.send_scan(0, self.keys_at_once)
        waiting: deque[Dumps] = deque()
        more = True
        while more or waiting:
            if more:
                page = asker.receive_page()
                more = page.cursor != 0
                if more:
                    asker.send_scan(page.cursor, self.keys_at_once)
                waiting.append(self._ask_for(asker, page))
            if len(waiting) > 1 or not more:
                self._take(asker, db, waiting.popleft())

    def _ask_for(self, asker: Asker, page: Page) -> Dumps:
        dumps = Dumps(page.keys, absolute=self.absolute)
        asker.send_dumps(dumps)
        return dumps

    def _take(self, asker: Asker, db: int, dumps: Dumps) -> None:
        before_bytes = asker.received_bytes
        asker.receive_dumps(dumps)
        self._write(db, dumps)
        self.gone += int(np.count_nonzero(dumps.status == codes.GONE))
        self.reporter.report("transfer", self.writer.size_bytes)
        most = self.limits.max_bytes
        if most is not None and self.writer.size_bytes > most:
            raise TransferCutError(
                f"{self.source.place}: {self.writer.size_bytes:,} bytes have come, and only {most:,} may be taken",
                remedy="make room on the disk of the work directory, or choose another one",
            )
        if self.limits.limiter:
            pause(self.limits.limiter.take(asker.received_bytes - before_bytes), self.stop, self.source)
        taken = max(1, int(np.count_nonzero(dumps.status == codes.TAKEN)))
        fitting = _PAGE_BYTES // max(1, dumps.end // taken)
        self.keys_at_once = max(1, min(_MOST_KEYS, 2 * self.keys_at_once, fitting))

    def _write(self, db: int, dumps: Dumps) -> None:
        dialect = dumps.dialect()
        if dialect is not None and not self.writer.has_begun:
            self.writer.begin(dialect, self.libraries)
        for view, batch, _ in dumps.batches(self.columns):
            self.writer.entries(db, view[batch.start : batch.stop], batch.hash_keys(view))
        for row, words in dumps.errors.items():
            key = escape_key(dumps.keys.key(row), limit=60)
            raise SourceError(
                f"{self.source.place}: DUMP of {key} in db {db}: {words.decode('utf-8', 'backslashreplace')}",
                remedy="look at that key on the source (an ACL user needs its key pattern too), then pull again",
            )
