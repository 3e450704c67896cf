"""Whether what is to receive the data is ready for it: a live server by its condition, a kind of target by its profile.

Pure; one line a question. What the data really holds is seen by the merge: here only what servers tell is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rdbmerge.plan.profile import PROFILES, TargetProfile
from rdbmerge.preflight import PreflightCheck, failed, ok, warning
from rdbmerge.reach.condition import Condition
from rdbmerge.reach.server import Server
from rdbmerge.units import format_bytes

RESTORE_COMMANDS = ("RESTORE",)


def server_readiness(server: Server, condition: Condition, *, needed_bytes: int, dbs: set[int]) -> list[PreflightCheck]:
    """All lines about a live server that data is to be restored into.

    Args:
        needed_bytes: what the sources use in memory, together; 0: not known.
        dbs: that will be written.
    """
    checks = [*_state(condition), *_memory(condition, needed_bytes), *_dbs(condition, dbs)]
    return [check.model_copy(update={"name": f"{server.name}: {check.name}"}) for check in checks]


def _state(condition: Condition) -> Iterator[PreflightCheck]:
    facts = condition.facts
    if facts.version is None:
        yield warning("server", f"it answers, but INFO tells nothing ({facts.problem or 'no version in it'})")
    else:
        yield ok("server", f"{facts.flavour} {facts.version}")
    if facts.loading:
        yield failed("loading", "it is loading its data", "wait until it has loaded")
    if facts.role == "slave":
        yield failed("role", "a replica: it takes no writes of clients", "name its primary")
    if "RESTORE" in condition.missing_commands:
        yield failed("commands", "it does not know RESTORE: renamed, or forbidden", "allow it there")
    if facts.key_count:
        yield warning(
            "keys", f"it holds {facts.key_count:,} keys already", "say with on_busy what becomes of keys that it has"
        )


def _memory(condition: Condition, needed_bytes: int) -> Iterator[PreflightCheck]:
    limit = condition.number("maxmemory") or 0
    used = condition.facts.used_memory_bytes or 0
    policy = condition.fields.get("maxmemory_policy", "")
    if not limit:
        total = condition.number("total_system_memory") or 0
        if total and used + needed_bytes > total:
            yield failed("memory", _needs(needed_bytes, used, total, "of the machine"), "take a larger machine")
        else:
            yield ok("memory", f"no maxmemory, {format_bytes(used)} used")
        return
    if used + needed_bytes > limit:
        yield failed("memory", _needs(needed_bytes, used, limit, "maxmemory"), "give it more, or filter the sources")
    else:
        yield ok("memory", f"{format_bytes(used)} used of {format_bytes(limit)} maxmemory")
    if policy and policy != "noeviction":
        yield warning(
            "eviction", f"maxmemory-policy {policy}: keys are dropped without a word when memory is short",
            "set noeviction for the restore",
        )  # fmt: skip


def _needs(needed_bytes: int, used: int, limit: int, what: str) -> str:
    sources = format_bytes(needed_bytes)
    return (
        f"the sources use {sources}, and {format_bytes(max(0, limit - used))} of {format_bytes(limit)} ({what}) is free"
    )


def _dbs(condition: Condition, dbs: set[int]) -> Iterator[PreflightCheck]:
    several = condition.settings.get("cluster-databases", "1") != "1"  # Valkey 9
    if condition.number("cluster_enabled") == 1 and dbs - {0} and not several:
        yield failed(
            "dbs", f"a cluster has db 0 only, and db {', '.join(map(str, sorted(dbs - {0})))} would be written",
            "bring all into it with db_map",
        )  # fmt: skip
    count = condition.settings.get("databases", "")
    if count.isdecimal() and dbs and max(dbs) >= int(count):
        yield failed(
            "dbs", f"it has {count} dbs, and db {max(dbs)} would be written", f"set databases {max(dbs) + 1} there"
        )


def profile_readiness(
    profile: TargetProfile, sources: Mapping[str, Condition], *, dbs: set[int]
) -> list[PreflightCheck]:
    """All lines about a kind of target, for sources in these conditions; `dbs`: that the merged file will have."""
    name = profile.name
    newest = "VALKEY" if profile.valkey_version else "REDIS"
    checks = [ok(f"target {name}", f"loads RDB up to {newest} {profile.valkey_version or profile.redis_version}")]
    if not profile.measured:
        checks.append(warning(f"target {name}", "what it loads follows from what is published, and was not measured"))
    if not profile.many_dbs and dbs - {0}:
        others = ", ".join(map(str, sorted(dbs - {0})))
        finding = f"it has db 0 only, and db {others} would be used"
        checks.append(failed(f"target {name}: dbs", finding, "bring all into db 0 with db_map"))
    for source, condition in sources.items():
        checks += _of_source(profile, source, condition)
    return checks


def _of_source(profile: TargetProfile, source: str, condition: Condition) -> Iterator[PreflightCheck]:
    name = f"target {profile.name}: {source}"
    own = _profile_of(condition)
    if own is not None and (own.redis_version, own.valkey_version) > (profile.redis_version, profile.valkey_version):
        yield ok(name, f"{own.name} writes what {profile.name} may not load as it stands: values are re-encoded for it")
    if condition.modules and not profile.modules:
        yield warning(
            name, f"it has modules ({', '.join(condition.modules)}), which {profile.name} has not: their keys"
            " cannot be held", "leave them out with on_unsupported = skip, or choose another target",
        )  # fmt: skip
    libraries = condition.number("number_of_libraries") or 0
    if libraries and not profile.functions:
        yield warning(
            name, f"it has {libraries:,} function libraries, and {profile.name} has no functions",
            "they are left out with on_unsupported = skip",
        )  # fmt: skip


def _profile_of(condition: Condition) -> TargetProfile | None:
    facts = condition.facts
    release = ".".join((facts.version or "").split(".")[:2])
    return PROFILES.get(f"{facts.flavour}-{release}")
