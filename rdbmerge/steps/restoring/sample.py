"""Whether a target still holds what an earlier run restored into it: a sample of the keys that were done.

A target that was emptied between two runs must not be taken for one that has everything.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rdbmerge.format import codes
from rdbmerge.format.columns import Columns
from rdbmerge.format.core import slot_of
from rdbmerge.plan.model import Plan
from rdbmerge.plan.selection import KEPT
from rdbmerge.plan.treatment import rules_of, treat
from rdbmerge.snapshot.segment import Segment
from rdbmerge.steps.restoring.checkpoint import PartDone
from rdbmerge.steps.restoring.watch import Watch
from rdbmerge.targets.server import refusal_words
from rdbmerge.targets.server_cluster import Servers

_PARTS, _KEYS = 20, 25  # that are looked at, and keys of each
_ENOUGH = 0.5  # clients may have deleted some; nothing but a loss takes more than half


def still_there(
    servers: Servers, watch: Watch, plan: Plan, segments: Sequence[Segment], done: Sequence[PartDone]
) -> bool:
    """Whether at least half of some keys are there that were done and have not expired since. Raises TargetError."""
    asked, found = 0, 0
    step = max(1, len(done) // _PARTS)
    for part in done[::step]:
        for db, number, keys in _some_keys(servers, watch, plan, segments, part):
            replies = servers.all[number].ask_all([("EXISTS", key) for key in keys], db=db)
            known = [reply for reply in replies if refusal_words(reply) is None]
            asked += len(known)
            found += sum(map(int, known))
    return not asked or found >= asked * _ENOUGH


def _some_keys(
    servers: Servers, watch: Watch, plan: Plan, segments: Sequence[Segment], part: PartDone
) -> list[tuple[int, int, list[bytes]]]:
    """Keys of a part by target db and server."""
    source, segment = plan.sources[part.source], segments[part.source]
    run = next(run for run in source.runs if any(chunk.start == part.start for chunk in run.chunks))
    if part.position <= part.start:
        return []
    treatment = treat(
        rules_of(plan.rules, source.name), segment, snapshot_at_ms=source.snapshot_at_ms,
        ttl_offset_ms=source.ttl_offset_ms, losers=source.losers,
    )  # fmt: skip
    batch = next(iter(segment.walk_part(part.start, part.position, run.db, columns=Columns(4096))))
    with segment.naming_errors():
        reasons = treatment.selection.reasons(segment.view, batch)
    moved = batch.expire_at_ms[: batch.rows] + source.ttl_offset_ms
    lasting = (batch.expire_at_ms[: batch.rows] == codes.NO_EXPIRY) | (moved > watch.clock(0)())
    rows = np.flatnonzero((reasons == KEPT) & lasting)
    by_server: dict[int, list[bytes]] = {}
    for row in rows[:: max(1, len(rows) // _KEYS)].tolist():
        key = treatment.change.key_prefix + batch.key(segment.view, row)
        number = 0 if servers.owners is None else int(servers.owners[slot_of(key)])
        by_server.setdefault(number, []).append(key)
    return [(run.target_db, number, keys) for number, keys in by_server.items()]
