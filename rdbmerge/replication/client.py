"""Pulls one snapshot: drives handshake and framing over a connection, hashes, and gathers the facts of the pull.

Knows nothing of the snapshot's bytes, nor of where they are kept: `sink` takes them.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from rdbmerge.errors import SourceError, TransferCutError
from rdbmerge.reach.connection import Wire, check_stop, open_socket, tunnel_failure
from rdbmerge.reach.info import ServerFacts, read_facts
from rdbmerge.replication.handshake import FullResync, Handshake, Send, SnapshotBegins
from rdbmerge.replication.limits import PullLimits, PullProgress, Reporter
from rdbmerge.replication.pulled import PulledSnapshot, Sink
from rdbmerge.replication.quiet import StreamListener, Verdict, judge_written
from rdbmerge.replication.source import Source
from rdbmerge.replication.transfer import Finished
from rdbmerge.units import format_duration_ms

_CHUNK_BYTES = 256 * 1024
_FACTS_TIMEOUT_S = 5.0  # facts are a courtesy: they must not keep a pull waiting
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 10.0


def pull_snapshot(
    source: Source,
    sink: Sink,
    *,
    limits: PullLimits,
    now_ms: Callable[[], int],
    progress: Callable[[PullProgress], None] | None = None,
    stop: threading.Event | None = None,
) -> PulledSnapshot:
    """Pull one snapshot of `source` into `sink`.

    A source that loads or has lost its primary is asked again for `limits.retry_for_s`; that is always before the
    first byte, so `sink` needs no going back. Once bytes have come there is no retry: the caller discards them.

    Args:
        source: where from.
        sink: gets the snapshot's bytes in order; what it raises passes through.
        limits: patience, size and speed.
        now_ms: the local clock, Unix milliseconds.
        progress: called at changes of phase and at most ten times a second, in this thread.
        stop: when set, the connection is closed within a second or so.

    Raises:
        SourceError, HandshakeError: not reached, or refused; nothing was written.
        TransferCutError: ended or stalled; what `sink` got is of no use.
        UsageError: a TLS file cannot be used.
        StoppedError: `stop` was set.
    """
    started_s = time.monotonic()
    reporter = Reporter(source.name, progress)
    pause_s, attempts = _FIRST_PAUSE_S, 0
    while True:
        attempts += 1
        try:
            pulled = _Attempt(source, sink, limits, now_ms, reporter, stop).run(started_s)
            return replace(pulled, attempts=attempts)
        except SourceError as error:
            waited_s = time.monotonic() - started_s
            if not error.retryable:
                raise
            if waited_s + pause_s > limits.retry_for_s:
                raise type(error)(
                    f"{error}; asked {attempts} times in {_seconds(waited_s)}", remedy=error.remedy, retryable=True
                ) from error
        pause(pause_s, stop, source)
        pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)


class _Attempt:
    """One connection's life."""

    def __init__(
        self,
        source: Source,
        sink: Sink,
        limits: PullLimits,
        now_ms: Callable[[], int],
        reporter: Reporter,
        stop: threading.Event | None,
    ) -> None:
        self.source = source
        self.sink = sink
        self.limits = limits
        self.now_ms = now_ms
        self.reporter = reporter
        self.stop = stop
        self.handshake = Handshake(source)
        self.chunk_bytes = limits.limiter.chunk_bytes if limits.limiter else _CHUNK_BYTES
        self.sha256 = hashlib.sha256()
        self.size_bytes = 0
        self.sent_s = 0.0
        self.requested_at_ms = 0
        self.snapshot_at_ms = 0

    def run(self, started_s: float) -> PulledSnapshot:
        self.reporter.report("connect")
        wire = Wire(self.source, timeout_s=self.limits.connect_timeout_s, stop=self.stop)
        stream: StreamListener | None = None
        try:
            before = self._facts()
            begins = self._shake_hands(wire)
            rest = self._receive(wire, begins)
            duration_s = time.monotonic() - started_s
            # With an end mark the source sends nothing more until it gets an ACK (replication.md 5.1).
            if self.handshake.resync is None and begins.framing == "length" and not self.handshake.rdb_only:
                stream = self._listen(wire, rest)
        finally:
            wire.close()
        after = self._facts()
        check_stop(self.stop, self.source)
        resync = self.handshake.resync
        verdict = judge_written(resync, before=before, after=after, stream=stream, pull_s=duration_s)
        self.reporter.report("done", self.size_bytes, self.size_bytes)
        return self._pulled(begins, resync, before, after, duration_s, verdict)

    def _pulled(
        self,
        begins: SnapshotBegins,
        resync: FullResync | None,
        before: ServerFacts,
        after: ServerFacts,
        duration_s: float,
        verdict: Verdict,
    ) -> PulledSnapshot:
        skew_ms = before.clock_skew_ms if before.clock_skew_ms is not None else after.clock_skew_ms
        return PulledSnapshot(
            source_name=self.source.name,
            address=self.source.address,
            command="SYNC" if resync is None else "PSYNC",
            framing=begins.framing,
            replid=None if resync is None else resync.replid,
            offset=None if resync is None else resync.offset,
            rdb_only=self.handshake.rdb_only,
            size_bytes=self.size_bytes,
            sha256=self.sha256.hexdigest(),
            requested_at_ms=self.requested_at_ms - (skew_ms or 0),
            snapshot_at_ms=self.snapshot_at_ms - (skew_ms or 0),
            clock_skew_ms=skew_ms,
            duration_s=duration_s,
            attempts=1,
            before=before,
            after=after,
            written=verdict.written,
            evidence=verdict.evidence,
            notes=tuple(self.handshake.notes),
        )

    def _facts(self) -> ServerFacts:
        timeout_s = min(_FACTS_TIMEOUT_S, self.limits.reply_timeout_s)
        return read_facts(
            self.source,
            open_socket=lambda: open_socket(self.source, timeout_s=timeout_s, stop=self.stop),
            timeout_s=timeout_s,
            now_ms=self.now_ms,
        )

    def _shake_hands(self, wire: Wire) -> SnapshotBegins:
        """Talk until the snapshot begins."""
        self._send(wire, self.handshake.start())
        asked_s: float | None = None
        while True:
            if asked_s is None and self.handshake.waiting:
                asked_s = time.monotonic()
            for event in self.handshake.feed(self._hear(wire, asked_s)):
                if isinstance(event, Send):
                    self._send(wire, event)
                elif isinstance(event, FullResync):
                    self.snapshot_at_ms = self.now_ms()
                elif isinstance(event, SnapshotBegins):
                    return event
            self.reporter.report("wait" if self.handshake.waiting else "connect")

    def _send(self, wire: Wire, event: Send) -> None:
        if self.handshake.waiting:
            self.requested_at_ms = self.snapshot_at_ms = self.now_ms()
        self.sent_s = time.monotonic()
        # A source that is full says so and closes before it is asked: its word is still to be read.
        wire.send(event.data, timeout_s=self.limits.reply_timeout_s)

    def _hear(self, wire: Wire, asked_s: float | None) -> bytes:
        """The next bytes of the handshake, or the right error."""
        # Counted from the command, so that a source that only sends newlines is not waited for without end.
        timeout_s = max(0.0, self.sent_s + self.limits.reply_timeout_s - time.monotonic())
        stalled_s = self.limits.reply_timeout_s
        if asked_s is not None:
            left_s = asked_s + self.limits.header_timeout_s - time.monotonic()
            if left_s <= 0:
                raise self.handshake.stalled(self.limits.header_timeout_s)
            timeout_s = min(self.limits.silence_timeout_s, left_s)
            stalled_s = self.limits.silence_timeout_s if timeout_s < left_s else self.limits.header_timeout_s
        chunk = wire.receive(self.chunk_bytes, timeout_s=timeout_s, on_tick=self._tick)
        if chunk is None:
            raise self.handshake.stalled(stalled_s)
        if not chunk:
            raise tunnel_failure(self.source) or self.handshake.closed() from wire.failure
        return chunk

    def _tick(self) -> None:
        self.reporter.report("wait" if self.handshake.waiting else "connect")

    def _receive(self, wire: Wire, begins: SnapshotBegins) -> bytes:
        """Take the snapshot; what followed it."""
        limits, total = self.limits, begins.length_bytes
        self._check_size(total or 0)
        chunk: bytes | None = begins.rest
        while True:
            if limits.limiter and chunk:
                pause(limits.limiter.take(len(chunk)), self.stop, self.source)
            for event in begins.transfer.feed(chunk or b""):
                if isinstance(event, Finished):
                    self.reporter.report("transfer", self.size_bytes, self.size_bytes)
                    return event.rest
                self.size_bytes += len(event.data)
                self._check_size(self.size_bytes)
                self.sha256.update(event.data)
                self.sink.write(event.data)
            tell = partial(self.reporter.report, "transfer", self.size_bytes, total)
            tell()
            chunk = wire.receive(self.chunk_bytes, timeout_s=limits.reply_timeout_s, on_tick=tell)
            if chunk is None:
                raise self._stalled(total)
            if not chunk:
                cut = begins.transfer.closed()
                said = self.source.tunnel.explain() if self.source.tunnel else None
                why = f"{cut}: {said.finding}" if said else str(cut)
                remedy = said.remedy if said else cut.remedy
                raise TransferCutError(f"{self.source.place}: {why}", remedy=remedy) from wire.failure

    def _check_size(self, size_bytes: int) -> None:
        most = self.limits.max_bytes
        if most is not None and size_bytes > most:
            raise TransferCutError(
                f"{self.source.place}: the snapshot has {size_bytes:,} bytes or more, and only {most:,} may be taken",
                remedy="make room on the disk of the work directory, or choose another one",
            )

    def _stalled(self, total_bytes: int | None) -> TransferCutError:
        whole = f" of {total_bytes:,}" if total_bytes is not None else ""
        return TransferCutError(
            f"{self.source.place}: nothing came for {_seconds(self.limits.reply_timeout_s)} after"
            f" {self.size_bytes:,}{whole} bytes of the snapshot",
            remedy="the network or the source hangs: pull this source again, or allow a longer silence",
        )

    def _listen(self, wire: Wire, rest: bytes) -> StreamListener:
        """Hear what follows the snapshot, for a short grace: on 2.4 and 2.6 nothing else tells of writes."""
        stream = StreamListener()
        stream.feed(rest)
        until_s = time.monotonic() + self.limits.stream_grace_s
        while stream.write is None and not stream.garbled:
            left_s = until_s - time.monotonic()
            chunk = wire.receive(_CHUNK_BYTES, timeout_s=left_s) if left_s > 0 else None
            if not chunk:
                break
            stream.feed(chunk)
        return stream


def _seconds(seconds: float) -> str:
    return format_duration_ms(round(seconds) * 1_000 if seconds >= 1 else round(seconds * 1_000))


def pause(seconds: float, stop: threading.Event | None, source: Source) -> None:
    """Wait; raises StoppedError once `stop` is set."""
    if seconds <= 0:
        return
    if stop is None:
        time.sleep(seconds)
    else:
        stop.wait(seconds)
        check_stop(stop, source)
