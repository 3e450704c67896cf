"""What is looked at before the first command: whether this target can, may and should take what is planned.

Questions to the servers and their answers as lines for people; writes nothing anywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rdbmerge.errors import TargetError, UsageError
from rdbmerge.format.commands import RestoreForm
from rdbmerge.format.rebuild import Vocabulary
from rdbmerge.plan.profile import PROFILES
from rdbmerge.preflight import PreflightCheck, failed, ok, warning
from rdbmerge.targets.server_cluster import Servers
from rdbmerge.targets.server_facts import ServerFacts
from rdbmerge.units import format_bytes, format_duration_ms

if TYPE_CHECKING:
    from rdbmerge.plan.model import Plan
    from rdbmerge.steps.restoring.work import OnBusy

_SKEW_WORTH_TELLING_MS = 1_000
_FUNCTIONS, _FIELD_EXPIRIES = "functions", "field expiries"


@dataclass(frozen=True, slots=True)
class Target:
    """What the servers have in common, and each one's facts by its number."""

    servers: Servers
    facts: dict[int, ServerFacts]
    modules: frozenset[str] | None  # loaded ones, where a value of any other would end the server

    @property
    def least(self) -> ServerFacts:
        """Of the oldest server: what all of them can."""
        return min(self.facts.values(), key=lambda facts: (facts.spoken_version, facts.version))

    @property
    def most_bulk_bytes(self) -> int:
        """The largest argument that each of them takes."""
        return min(facts.most_bulk_bytes for facts in self.facts.values())

    def form(self, *, replace: bool) -> RestoreForm:
        """How RESTORE is to be written."""
        least = self.least
        return RestoreForm(
            absolute=least.has_absolute_ttl,
            replace=replace,
            deletes=not least.has_replace,
            hints=least.has_absolute_ttl,
            stamp=least.stamp,
        )

    def words(self) -> Vocabulary:
        """Which commands there are."""
        spoken, version, valkey = self.least.spoken_version, self.least.version, self.least.flavour == "valkey"
        return Vocabulary(
            several_fields=spoken >= (4,),
            field_expiries=version >= ((9,) if valkey else (7, 4)),
            stream_counters=spoken >= (7,),
            consumers=spoken >= (6, 2),
            most_bytes=self.most_bulk_bytes,
        )


def meet(servers: Servers) -> Target:
    """Ask the servers for what they are. Raises TargetError."""
    seed = servers.seed.facts()
    if seed.cluster:
        servers.look_up()
    facts = {number: servers.all[number].facts() for number in servers.primaries()} if seed.cluster else {0: seed}
    modules = None
    if any((4,) <= one.spoken_version < (6, 2) for one in facts.values()):
        modules = frozenset.intersection(*(_modules(servers, number) for number in facts))
    return Target(servers, facts, modules)


def _modules(servers: Servers, number: int) -> frozenset[str]:
    with suppress(TargetError):
        listed = servers.all[number].ask("MODULE", "LIST")
        return frozenset(bytes(row[1]).decode("utf-8", "replace") for row in listed)
    return frozenset()


def profile_name(target: Target) -> str:
    """The name of the profile (`rdbmerge targets`) for servers of this version. Raises UsageError if it is not told."""
    facts = target.least
    if not facts.version:
        raise UsageError(
            f"{target.servers.seed.place} does not tell its version",
            remedy="allow the user +info, or name what it is with --target; `rdbmerge targets` lists all",
        )
    names = {
        tuple(int(part) for part in name.split("-")[1].split(".")): name
        for name in PROFILES
        if name.startswith(f"{facts.flavour}-")
    }
    known = [version for version in sorted(names) if version <= facts.version[:2]]
    if not known:
        raise UsageError(
            f"{facts.name} is too old: it has no RESTORE, or one that is not known here",
            remedy="restore into Redis 2.6 or later",
        )
    return names[known[-1]]


def look(
    target: Target,
    plan: Plan,
    *,
    on_busy: OnBusy | None,
    resuming: bool,
    now_ms: Callable[[], int],
) -> list[PreflightCheck]:
    """The answers, in the order in which they matter. Raises TargetError."""
    checks = [_who(target), *_roles(target), *_dbs(target, plan)]
    checks += [*_room(target, plan), *_keys(target, plan, on_busy, resuming), *_clocks(target, plan, now_ms)]
    return [*checks, *_companions(plan)]


def _who(target: Target) -> PreflightCheck:
    least, primaries = target.least, target.servers.primaries()
    if not target.servers.is_cluster:
        return ok("target", f"{least.name} at {target.servers.seed.place}")
    return ok("target", f"a cluster of {len(primaries)} primaries, {least.name}, at {target.servers.seed.place}")


def _roles(target: Target) -> list[PreflightCheck]:
    checks = []
    for number, facts in target.facts.items():
        place = target.servers.all[number].place
        if facts.role == "slave":
            checks.append(failed("role", f"{place} is a replica", "name its primary"))
        if facts.loading:
            checks.append(failed("loading", f"{place} is loading its data", "wait until it has"))
    return checks


def _dbs(target: Target, plan: Plan) -> list[PreflightCheck]:
    for db in plan.dbs:
        if not db.db:
            continue
        try:
            target.servers.all[target.servers.primaries()[0]].ask("PING", db=db.db)
        except TargetError as error:
            moves = ",".join(f"{one.db}:0" for one in plan.dbs if one.db)
            return [failed("dbs", f"db {db.db} is not to be had: {error}", f"bring all into one with --db-map {moves}")]
    return []


def _room(target: Target, plan: Plan) -> list[PreflightCheck]:
    limits = [facts.max_memory_bytes for facts in target.facts.values()]
    if any(limit is None for limit in limits):
        return [warning("memory", "the target does not tell its limit", "see that the data fits")]
    checks = []
    if all(limits):
        free = sum((facts.max_memory_bytes or 0) - (facts.used_memory_bytes or 0) for facts in target.facts.values())
        finding = f"{format_bytes(max(0, free))} free, {format_bytes(plan.output_bytes)} as an RDB"
        if free < plan.output_bytes:
            checks.append(warning("memory", finding, "data in memory takes more than as an RDB: give it more memory"))
        else:
            checks.append(ok("memory", finding))
    evicting = sorted({facts.eviction or "" for facts in target.facts.values()} - {"", "noeviction"})
    if any(limits) and evicting:
        checks.append(
            warning(
                "eviction",
                f"the policy is {', '.join(evicting)}: a target that is full loses keys without a word",
                "use noeviction until all is there; keys that were evicted are counted in the end",
            )
        )
    return checks


def _keys(target: Target, plan: Plan, on_busy: OnBusy | None, resuming: bool) -> list[PreflightCheck]:
    """A target that is not empty is told before anything is sent."""
    dbs = {db.db for db in plan.dbs}
    held: dict[int, int] = {}
    for facts in target.facts.values():
        for db, count in facts.keys.items():
            if db in dbs:
                held[db] = held.get(db, 0) + count
    if not held:
        return [ok("keys", "the target is empty where the keys go")]
    finding = "the target holds " + ", ".join(
        f"{count:,} key{'' if count == 1 else 's'} in db {db}" for db, count in sorted(held.items())
    )
    if resuming:
        return [ok("keys", f"{finding}; an earlier run of this restore has been there")]
    if on_busy is None:
        return [
            failed(
                "keys",
                finding,
                "say what becomes of keys that are there already: --on-busy fail, skip or replace; or empty it first",
            )
        ]
    meant = {"fail": "the first that is also here ends the run", "skip": "they stay", "replace": "they are replaced"}
    return [warning("keys", f"{finding}; {meant[on_busy]} (--on-busy {on_busy})")]


def _clocks(target: Target, plan: Plan, now_ms: Callable[[], int]) -> list[PreflightCheck]:
    skews = []
    for number in target.facts:
        before_ms = now_ms()
        clock_ms = target.servers.all[number].clock_ms()
        skews.append(clock_ms - (before_ms + now_ms()) // 2)
    worst_ms = max(skews, key=abs)
    checks = []
    if abs(worst_ms) > _SKEW_WORTH_TELLING_MS:
        which = "ahead of" if worst_ms > 0 else "behind"
        checks.append(
            warning(
                "clock",
                f"the target's clock is {format_duration_ms(abs(worst_ms))} {which} ours",
                "expiries are instants: the target judges them by its own clock",
            )
        )
    if not target.least.has_absolute_ttl and any(db.expires for db in plan.dbs):
        checks.append(
            warning(
                "expiries",
                f"{target.least.name} takes times to live, not instants: keys may live some milliseconds longer,"
                " counted by its own clock",
            )
        )
    return checks


def _companions(plan: Plan) -> list[PreflightCheck]:
    if not plan.module_data:
        return []
    names = ", ".join(sorted({data.module for data in plan.module_data}))
    return [warning("module data", f"data that {names} keeps beside the keys cannot be sent by commands; it stays out")]
