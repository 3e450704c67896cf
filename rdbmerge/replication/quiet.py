"""Was the source written to after its snapshot? The evidence weighed, by the rules of replication.md 5.3. Pure.

Reads no socket: `client` hands over the facts before and after, and what it heard of the stream.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from rdbmerge.reach.info import ServerFacts
from rdbmerge.replication.handshake import FullResync

Written = Literal["quiet", "written", "unknown"]

PING_BYTES = 14  # "*1\r\n$4\r\nPING\r\n", the only thing a primary says by itself
_HARMLESS = frozenset({b"PING", b"SELECT", b"REPLCONF"})
_MOST_BUFFERED_BYTES = 64 * 1024
_ARRAY = re.compile(rb"\*([0-9]{1,7})\r\n")
_BULK = re.compile(rb"\$([0-9]{1,10})\r\n")


@dataclass(frozen=True, slots=True)
class Verdict:
    """`written`: "quiet", "written" or "unknown"; `evidence`: one line on why."""

    written: Written
    evidence: str


class StreamListener:
    """Reads the replication stream that follows a snapshot, just far enough to see the first write.

    Feed what arrives. `write` names the first command that is not PING, SELECT or REPLCONF; `garbled` says that the
    bytes were not understood.
    """

    def __init__(self) -> None:
        self.write: str | None = None
        self.garbled = False
        self.harmless_count = 0
        self._buffer = b""

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes; all after the first write are ignored."""
        if self.write is not None or self.garbled:
            return
        self._buffer += chunk
        while self._buffer and self._take_command():
            pass
        self.garbled = self.garbled or len(self._buffer) > _MOST_BUFFERED_BYTES

    def _take_command(self) -> bool:
        """Take one command off the buffer; False when it is not whole, or nothing more matters."""
        stripped = self._buffer.lstrip(b"\n")
        if not stripped.startswith(b"*"):
            # 2.4 and 2.6 say PING and SELECT inline.
            line, end, rest = stripped.partition(b"\r\n")
            if end or not stripped:
                self._buffer = rest
            return bool(end) and self._name(line.split(b" ")[0])
        split = _split_array(stripped)
        if split is None:
            self.garbled = True
            return False
        names, after = split
        if after is None:
            # Not whole, but its name may be known: a write of a gigabyte need not be read to the end.
            return bool(names) and names[0].upper() not in _HARMLESS and self._name(names[0])
        self._buffer = after
        return self._name(names[0])

    def _name(self, name: bytes) -> bool:
        if name.upper() in _HARMLESS:
            self.harmless_count += 1
            return True
        if re.fullmatch(rb"[\w.|-]{1,64}", name):
            self.write = name.decode("ascii", "replace").upper()
        else:
            self.garbled = True
        return False


def _split_array(data: bytes) -> tuple[list[bytes], bytes | None] | None:
    """The arguments that are there, and what follows the command (None: it is not whole); None for nonsense."""
    head = _ARRAY.match(data)
    if not head or int(head[1]) < 1:
        return None if b"\r\n" in data[:16] or len(data) > 16 else ([], None)
    parts: list[bytes] = []
    at = head.end()
    for _ in range(int(head[1])):
        bulk = _BULK.match(data, at)
        if not bulk:
            return None if b"\r\n" in data[at : at + 16] or len(data) - at > 16 else (parts, None)
        end = bulk.end() + int(bulk[1])
        if len(data) < end + 2:
            return parts, None
        parts.append(data[bulk.end() : end])
        at = end + 2
    return parts, data[at:]


def judge_written(
    resync: FullResync | None, *, before: ServerFacts, after: ServerFacts, stream: StreamListener | None, pull_s: float
) -> Verdict:
    """Weigh what is known.

    Args:
        resync: what +FULLRESYNC said; None after SYNC.
        before: facts from before the pull.
        after: facts from right after it.
        stream: what came after the snapshot; None if it was not listened to.
        pull_s: how long the pull took, for no PING comes more often than once a second.
    """
    if resync is None:
        return _judge_stream(stream, before, after)
    if after.master_repl_offset is None or after.replid is None:
        why = f": {after.problem}" if after.problem else ""
        return Verdict("unknown", f"INFO after the pull tells no replication offset{why}")
    if after.replid != resync.replid:
        return Verdict("unknown", "the replication id changed during the pull: a failover or a restart")
    moved = after.master_repl_offset - resync.offset
    if moved < 0:
        return Verdict("unknown", f"the replication offset went back by {-moved:,} bytes")
    if moved == 0:
        return Verdict("quiet", f"the replication offset is still {resync.offset:,}, the snapshot's")
    text = f"the replication offset moved by {moved:,} bytes after the snapshot"
    if moved % PING_BYTES or moved // PING_BYTES > pull_s + 2:
        return Verdict("written", f"{text} (writes; keys that expire count as DEL)")
    pings = f"{text}, which is {moved // PING_BYTES} PING"
    changed = _changes(before, after)
    if changed:
        return Verdict("written", f"{pings}, but {changed:,} changes were counted")
    if changed is None:
        return Verdict("unknown", f"{pings} or writes: the count of changes does not tell")
    return Verdict("quiet", f"{pings}, and no change was counted")


def _changes(before: ServerFacts, after: ServerFacts) -> int | None:
    """Changes that the server counted, at most since `before`; None if it cannot be told."""
    if after.changes_since_save == 0:
        return 0
    if after.changes_since_save is None or before.changes_since_save is None:
        return None
    if before.last_save_at_s == after.last_save_at_s:
        return max(0, after.changes_since_save - before.changes_since_save)
    # A save ended meanwhile, ours or another's: what is counted now came after that save began.
    return after.changes_since_save


def _judge_stream(stream: StreamListener | None, before: ServerFacts, after: ServerFacts) -> Verdict:
    if stream is not None and stream.write:
        return Verdict("written", f"the stream after the snapshot holds {stream.write}")
    if stream is not None and not stream.garbled:
        heard = f"only {stream.harmless_count} PING or SELECT" if stream.harmless_count else "nothing"
        return Verdict("quiet", f"{heard} came in the stream after the snapshot")
    same_history = before.replid is not None and before.replid == after.replid
    if same_history and before.backlog_active and before.master_repl_offset == after.master_repl_offset:
        return Verdict("quiet", f"the replication offset stood at {after.master_repl_offset:,} before and after")
    return Verdict("unknown", "SYNC tells no replication offset, and the source sent no stream to listen to")


def judge_scanned(before: ServerFacts, after: ServerFacts) -> Verdict:
    """Weigh what INFO said before and after a source was read key by key: was it written to meanwhile?"""
    if before.replid is None or before.replid != after.replid:
        why = before.problem or after.problem
        return Verdict("unknown", f"INFO does not tell{f': {why}' if why else ''}")
    if before.backlog_active and before.master_repl_offset is not None and after.master_repl_offset is not None:
        moved = after.master_repl_offset - before.master_repl_offset
        if moved == 0:
            return Verdict("quiet", f"the replication offset stood at {after.master_repl_offset:,} before and after")
        if moved < 0:
            return Verdict("unknown", f"the replication offset went back by {-moved:,} bytes")
        if moved % PING_BYTES:
            return Verdict("written", f"the replication offset moved by {moved:,} bytes meanwhile")
    if None in (before.changes_since_save, after.changes_since_save) or before.last_save_at_s != after.last_save_at_s:
        return Verdict("unknown", "INFO counts no changes, or the source saved meanwhile and counted anew")
    changed = (after.changes_since_save or 0) - (before.changes_since_save or 0)
    if changed:
        return Verdict("written", f"{changed:,} changes were counted meanwhile")
    return Verdict("quiet", "no change was counted meanwhile, and no save")
