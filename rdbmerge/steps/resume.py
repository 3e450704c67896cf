"""Judgements of a pull: is the snapshot we hold still the source's data, when was it taken, do its counts agree. Pure.

Every doubt means pulling again: a stale snapshot would lose writes without a word.
"""

from __future__ import annotations

from dataclasses import dataclass

from rdbmerge.reach.info import DbKeys, ServerFacts
from rdbmerge.replication.pulled import PulledSnapshot
from rdbmerge.replication.quiet import PING_BYTES
from rdbmerge.snapshot.manifest import Manifest, Pulled

_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Held:
    """Whether the file at hand may stay (`current`), and why, for people."""

    current: bool
    why: str


def judge_held(manifest: Manifest, facts: ServerFacts, *, elapsed_s: float) -> Held:
    """Does the source still hold what the snapshot of `manifest` holds?

    Args:
        manifest: of the file at hand, which has been found to be the file it describes.
        facts: what the source says now.
        elapsed_s: since the snapshot was taken.
    """
    pulled = manifest.pulled
    if pulled is None:
        return Held(False, "the file at hand was not pulled from a server")
    if facts.replid is None:
        why = f" ({facts.problem})" if facts.problem else ""
        return Held(False, f"the source does not say whether it has changed{why}")
    known = pulled.replication_id or (pulled.after.replication_id if pulled.after else None)
    if facts.replid != known:
        return Held(False, "the replication id changed: the source restarted, failed over, or had no replica for long")
    if pulled.replication_offset is None or facts.master_repl_offset is None:
        return _judge_counter(pulled, facts)
    moved = facts.master_repl_offset - pulled.replication_offset
    # Without a backlog the offset stands still whatever is written (replication.md 5.3).
    if moved == 0 and facts.backlog_active:
        return Held(True, f"the replication offset is still {pulled.replication_offset:,}")
    pings = moved // PING_BYTES
    if moved < 0 or moved % PING_BYTES or pings > elapsed_s + 2:
        return Held(False, f"the replication offset moved by {moved:,} bytes")
    counted = _judge_counter(pulled, facts)
    return Held(counted.current, f"{counted.why}; the replication offset moved by {pings:,} PING")


def _judge_counter(pulled: Pulled, facts: ServerFacts) -> Held:
    """By the count of changes since the last save: the only evidence of Redis 2.4 and 2.6."""
    after = pulled.after
    if after is None or after.changes_since_save is None or facts.changes_since_save is None:
        return Held(False, "the source counts no changes, so it is not known whether it has changed")
    if pulled.written != "quiet":
        return Held(False, "the source was, or may have been, written to during the last pull")
    if (after.last_save_at_s, after.changes_since_save) != (facts.last_save_at_s, facts.changes_since_save):
        return Held(False, "the source has been written to or saved since")
    return Held(True, "no change was counted since, and no save")


def snapshot_moment(pulled: PulledSnapshot, ctime_s: int | None) -> tuple[int, str]:
    """When the snapshot was taken (Unix ms, the source's clock), and what that rests on.

    The AUX field ctime is the source's own word right after the fork, but in whole seconds. +FULLRESYNC comes at the
    fork, or later when the source had one running that we could share; the time of sending SYNC is mostly too early.
    Never later than the fork by more than a second: keys that were alive then must not count as dead.
    """
    estimate_ms = pulled.snapshot_at_ms
    if pulled.command == "SCAN":
        return estimate_ms, "the source's clock when the first key was asked for"
    if ctime_s is None:
        return estimate_ms, "the replication handshake"
    ctime_ms = ctime_s * 1_000
    if pulled.clock_skew_ms is None:
        return ctime_ms, "the file's ctime (the source's clock could not be read)"
    if ctime_ms <= estimate_ms < ctime_ms + 1_000:
        return estimate_ms, "the replication handshake, within the second of the file's ctime"
    if not -_DAY_MS < ctime_ms - estimate_ms < _DAY_MS:
        return estimate_ms, f"the replication handshake; the file's ctime ({ctime_s}) is more than a day away from it"
    if ctime_ms > estimate_ms and pulled.command == "PSYNC":
        return estimate_ms, "the replication handshake; the file's ctime is later: a long fork"
    return ctime_ms, "the file's ctime; the handshake knows it less exactly"


def compare_counts(
    info: dict[int, DbKeys] | None, in_file: dict[int, int], *, written: str, info_problem: str = ""
) -> list[str]:
    """A line for every db whose count in INFO, just before the pull, is not that of the file; with the reason."""
    if info is None:
        return [f"keys could not be compared with INFO{': ' + info_problem if info_problem else ''}"]
    lines = []
    for db in sorted(info.keys() | in_file.keys()):
        said, found = info.get(db, DbKeys(0, 0)), in_file.get(db, 0)
        if said.keys != found:
            reason = _reason(said, found, written)
            lines.append(f"db {db}: INFO said {said.keys:,} keys, the snapshot holds {found:,}: {reason}")
    return lines


def _reason(said: DbKeys, found: int, written: str) -> str:
    missing = said.keys - found
    if 0 < missing <= said.expires:
        also = " (or were deleted: the source was written to)" if written == "written" else ""
        return f"{missing:,} of its {said.expires:,} keys with an expiry expired before the snapshot{also}"
    if written == "quiet":
        return "nothing explains it; look whether clients wrote between INFO and the snapshot"
    return "clients wrote between INFO and the snapshot"
