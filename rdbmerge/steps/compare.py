"""The use case: does this live server or cluster hold what these files give under these rules? Answers with a report.

Differences are no failure of the step; a server that cannot be asked, or files that cannot be read, are.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rdbmerge.format.dump import undump_libraries
from rdbmerge.plan.model import Rules
from rdbmerge.reach.info import ServerFacts, parse_info
from rdbmerge.reach.server import Server
from rdbmerge.reach.tunnels import Tunnels
from rdbmerge.snapshot.index import Progress
from rdbmerge.snapshot.indexer import read_index
from rdbmerge.snapshot.segment import open_segments
from rdbmerge.steps.asking import Asker
from rdbmerge.steps.comparing.checkpoint import CheckpointFile, fingerprint
from rdbmerge.steps.comparing.nodes import Manners, Nodes
from rdbmerge.steps.comparing.run import Comparing
from rdbmerge.steps.verify import make_origins, read_against
from rdbmerge.verify.companions import library_check, library_name
from rdbmerge.verify.destination import Destination, destination_of
from rdbmerge.verify.live_expected import Expected
from rdbmerge.verify.live_report import LiveNode, LiveReport
from rdbmerge.verify.live_strangers import LiveKeys, explained
from rdbmerge.verify.live_summary import Findings, summarize_live
from rdbmerge.verify.live_tally import MOST_SHOWN
from rdbmerge.verify.origin import Origin
from rdbmerge.verify.report import Check

DEFAULT_TOLERANCE_MS = 1_000


def compare(
    target: Server,
    *,
    against: Sequence[Path],
    rules: Rules | None,
    tunnels: Tunnels,
    now_ms: Callable[[], int],
    manners: Manners | None = None,
    sample: int | None = None,
    tolerance_ms: int = DEFAULT_TOLERANCE_MS,
    connections: int = 2,
    checkpoint: Path | None = None,
    jobs: int = 2,
    progress: Progress | None = None,
) -> LiveReport:
    """Compare a live server or cluster with what the files `against` give, entry by entry and both ways.

    Args:
        target: a server, any node of a cluster, or a service that sentinels know.
        against: RDB files and folders, in order of precedence; or one plan (`.json`), whose rules then hold.
        rules: what was declared about the files; None with a plan, or for nothing.
        tunnels: the ways to the servers.
        now_ms: this machine's clock.
        manners: patience, pace, stop.
        sample: about how many keys to compare each way, picked by chance; None: all.
        tolerance_ms: how much an expiry may differ.
        connections: to each server; each has up to 4 MB of values on the way.
        checkpoint: a file that an interrupted comparison is taken up from; gone when it is done.
        jobs: threads for work on the files.
        progress: is told of bytes of the files whose entries were compared, from several threads, one at a time.

    Raises:
        UsageError: files, a plan, a checkpoint that cannot be used. FormatError: a file that cannot be read.
        TargetError: not reached, refused, lost for longer than `manners.retry_for_s`. StoppedError.
    """
    manners, started_s = manners or Manners(), time.monotonic()
    plans, paths, rules = read_against(against, rules)
    nodes = Nodes(target, tunnels, manners)
    with open_segments(paths) as segments, tempfile.TemporaryDirectory(prefix="rdbmerge-") as spill:
        indexes = [read_index(segment) for segment in segments]
        destination = destination_of(
            rules, ((segment.dialect, index.facts) for segment, index in zip(segments, indexes, strict=True))
        )
        origins = make_origins(segments, indexes, plans, rules, destination)
        mark = fingerprint(indexes, rules, target.address, sample=sample, tolerance_ms=tolerance_ms)
        state = CheckpointFile.opened(checkpoint, mark, now_ms())
        expected = Expected(origins, rules, jobs=jobs, sample=sample, seed=state.state.seed, spill_dir=Path(spill))
        shared = Comparing(expected, nodes, destination, tolerance_ms, connections, progress)
        facts = [_facts_of(nodes, number, now_ms) for number in nodes.primaries()]
        dbs = sorted({db for one in facts for db in one.dbs} | {line.target_db for line in expected.lines})
        try:
            shared.entries(state)
            keys = LiveKeys(expected.hashes(), Path(spill))
            try:
                announced = shared.strangers(keys, dbs, sample)
                tally = state.state.tally.model_copy(deep=True)
                settled = shared.again(tally)
                if keys.all_are_named():
                    settled += shared.vanished(keys)
                findings = Findings(
                    target=target.address,
                    nodes=[one.node for one in facts],
                    started_at_ms=state.state.started_at_ms,
                    duration_s=time.monotonic() - started_s,
                    sample=sample,
                    tolerance_ms=tolerance_ms,
                    plan_path=str(against[0]) if plans else None,
                    tally=tally,
                    scanned={db: keys.counts(db) for db in keys.dbs()},
                    announced=announced,
                    strangers=explained(list(keys.named)[:MOST_SHOWN], expected.lines),
                    settled=settled,
                    library_check=_libraries(facts, origins, rules, destination),
                    warnings=[],
                )
            finally:
                keys.close()
        finally:
            expected.close()
        for segment in segments:
            segment.check_unchanged()
        state.remove()
        return summarize_live(findings, expected, origins)


@dataclass(frozen=True, slots=True)
class _NodeFacts:
    """What one server said about itself before the work."""

    node: LiveNode
    dbs: list[int]
    libraries: list[bytes] | None  # None: it does not tell


def _facts_of(nodes: Nodes, number: int, now_ms: Callable[[], int]) -> _NodeFacts:
    """What it does not tell is left open. Raises TargetError where it is not reached, or does not tell the time."""
    server = nodes.servers[number]
    asker = Asker(server, nodes.manners.patience, nodes.manners.stop)
    try:
        before_ms, there_ms, after_ms = now_ms(), asker.time_ms(), now_ms()
        said = asker.ask("INFO")
        facts = parse_info(said.decode("utf-8", "replace")) if isinstance(said, bytes) else ServerFacts()
        dump = asker.ask("FUNCTION", "DUMP")
        dbs = [0] if nodes.owners is not None and facts.keyspace is None else asker.dbs(facts.keyspace)
    finally:
        asker.close()
    node = LiveNode(
        address=server.address,
        version=f"{facts.flavour} {facts.version}" if facts.version else None,
        clock_skew_ms=(before_ms + after_ms) // 2 - there_ms,
        slots=nodes.slots_of(number),
    )
    return _NodeFacts(node, dbs, undump_libraries(dump) if isinstance(dump, bytes) else None)


def _libraries(facts: Sequence[_NodeFacts], origins: Sequence[Origin], rules: Rules, destination: Destination) -> Check:
    """Every server must hold them all."""
    checks = []
    for one in facts:
        there = {library_name(code): code for code in one.libraries or ()}
        check = library_check(
            there, origins, rules, destination.profile, holder="each server",
            doubt="that its functions do what they did on their source",
        )  # fmt: skip
        if one.libraries is None and check.ok is False:
            words = f"could not be asked: {one.node.address} does not allow FUNCTION DUMP, or has no functions"
            check = check.model_copy(update={"ok": None, "detail": words})
        elif len(facts) > 1:
            check = check.model_copy(update={"detail": f"{one.node.address}: {check.detail}"})
        checks.append(check)
    worst = next((check for ok in (False, None) for check in checks if check.ok is ok), checks[0])
    return worst.model_copy(update={"detail": "; ".join(check.detail for check in checks)})
