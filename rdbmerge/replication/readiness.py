"""Whether a server is ready to be pulled from: its condition judged, one line a question. Pure.

The facts behind it are those of replication.md: what refuses a replica, what a fork takes, what cuts a transfer.
"""

from __future__ import annotations

from collections.abc import Iterator

from rdbmerge.preflight import PreflightCheck, failed, ok, warning
from rdbmerge.reach.condition import Condition
from rdbmerge.replication.source import Source
from rdbmerge.units import format_bytes, format_duration_ms

_LARGE_SKEW_MS = 2_000
_RDB_ONLY_SINCE = (6, 2)  # from here on nothing piles up for us at the source
_SHORT_TIMEOUT_S = 30
_SCAN = "or take it key by key with via scan"


def wanted_commands(source: Source, via: str) -> tuple[str, ...]:
    """What the source has to know to be pulled from in that way."""
    if via == "scan":
        return ("SCAN", "DUMP", "PTTL")
    return (source.psync_command, source.sync_command)


def readiness(source: Source, condition: Condition, via: str = "replication") -> list[PreflightCheck]:
    """All lines about one source; the names of checks begin with its name."""
    checks = [*_server(condition), *_role(condition), *_cluster(source, condition), *_clock(condition)]
    checks += list(_commands(source, condition, via))
    if via == "replication":
        checks += [*_fork(condition), *_saving(condition), *_buffers(condition)]
    return [check.model_copy(update={"name": f"{source.name}: {check.name}"}) for check in checks]


def _server(condition: Condition) -> Iterator[PreflightCheck]:
    facts = condition.facts
    if facts.version is None:
        yield warning(
            "server", f"it answers, but INFO tells nothing ({facts.problem or 'no version in it'})",
            "allow the user +info: counts, changes and replicas cannot be judged without",
        )  # fmt: skip
        return
    dbs = facts.keyspace or {}
    keys = ", ".join(f"db {db}: {row.keys:,} keys" for db, row in dbs.items()) or "no keys"
    size = "" if facts.used_memory_bytes is None else f", {format_bytes(facts.used_memory_bytes)} in memory"
    yield ok("server", f"{facts.flavour} {facts.version}, {keys}{size}")
    if facts.loading:
        yield failed("loading", "it is loading its data and gives no snapshot", "wait until it has loaded")
    if condition.modules:
        yield warning(
            "modules", f"it has loaded {', '.join(condition.modules)}: their values can only be copied",
            "the target needs the same modules",
        )  # fmt: skip


def _role(condition: Condition) -> Iterator[PreflightCheck]:
    facts = condition.facts
    if facts.role == "master":
        yield ok("role", f"a primary with {facts.connected_replicas or 0} replicas")
    elif facts.role == "slave" and facts.master_link_up is False:
        yield failed(
            "role", "a replica whose link to its primary is down: it refuses replicas, and its data is old",
            "mend the link, or pull from the primary",
        )  # fmt: skip
    elif facts.role == "slave":
        yield warning("role", "a replica: it may lag behind its primary", "stop writes first, or pull from the primary")


def _cluster(source: Source, condition: Condition) -> Iterator[PreflightCheck]:
    enabled = condition.number("cluster_enabled") == 1
    if enabled and source.found is None:
        yield warning(
            "cluster", "a node of a cluster: it holds the keys of its own slots only",
            "name the whole cluster as redis-cluster://host:port",
        )  # fmt: skip


def _clock(condition: Condition) -> Iterator[PreflightCheck]:
    skew_ms = condition.clock_skew_ms
    if skew_ms is None:
        yield warning("clock", "its clock cannot be read (TIME)", "allow the user +time, or check the clocks yourself")
    elif abs(skew_ms) > _LARGE_SKEW_MS:
        ahead = "ahead of" if skew_ms > 0 else "behind"
        yield warning(
            "clock", f"this machine is {format_duration_ms(abs(skew_ms))} {ahead} it",
            "snapshot times go by its clock; mend the clocks if keys are to expire at the minute",
        )  # fmt: skip
    else:
        yield ok("clock", "agrees with this machine's within 2 s")


def _commands(source: Source, condition: Condition, via: str) -> Iterator[PreflightCheck]:
    missing = [name for name in wanted_commands(source, via) if name.upper() in condition.missing_commands]
    if via == "scan":
        if missing:
            yield failed("commands", f"it does not know {', '.join(missing)}", "it is too old, or they are renamed")
    elif len(missing) == 2:
        yield failed(
            "commands", f"it knows neither {missing[0]} nor {missing[1]}: renamed, or forbidden as in managed caches",
            f"give psync_command and sync_command as they are called there, {_SCAN}",
        )  # fmt: skip
    elif missing:
        yield warning("commands", f"it does not know {missing[0]}", f"give the name it has there, {_SCAN}")


def _fork(condition: Condition) -> Iterator[PreflightCheck]:
    """A snapshot is made by a fork: under writes its memory is copied, at worst all of it."""
    used, total = condition.facts.used_memory_bytes, condition.number("total_system_memory")
    if used is None or total is None or total <= 0:
        yield warning("memory for the fork", "not known: INFO tells no memory", "see that half of it is free there")
        return
    of = f"{format_bytes(used)} used of {format_bytes(total)}"
    if used * 2 > total:
        yield warning(
            "memory for the fork", f"{of}: the fork may need as much again while there are writes",
            "stop or slow down writes during the pull, or pull from a replica with more memory",
        )  # fmt: skip
    else:
        yield ok("memory for the fork", of)


def _saving(condition: Condition) -> Iterator[PreflightCheck]:
    fields = condition.fields
    if fields.get("rdb_last_bgsave_status", "ok") != "ok":
        yield warning(
            "snapshots", "its last background save failed; the one for us may fail too",
            "see its log: a full disk, or no memory for the fork (vm.overcommit_memory = 1)",
        )  # fmt: skip
    busy = [
        what
        for name, what in (
            ("rdb_bgsave_in_progress", "a snapshot"),
            ("aof_rewrite_in_progress", "its AOF"),
        )
        if condition.number(name) == 1
    ]
    if busy:
        yield warning("snapshots", f"it is writing {' and '.join(busy)} just now; a pull has to wait for that")


def _buffers(condition: Condition) -> Iterator[PreflightCheck]:
    if not condition.settings:
        why = f" ({condition.refused})" if condition.refused else ""
        yield warning("limits for replicas", f"not known: CONFIG cannot be asked{why}")
        return
    timeout_s = condition.settings.get("repl-timeout", "")
    if timeout_s.isdecimal() and int(timeout_s) < _SHORT_TIMEOUT_S:
        yield warning(
            "repl-timeout", f"{timeout_s} s: a transfer that stalls so long is cut", "set it to 60 there for the pull"
        )
    hard_bytes = _hard_limit_bytes(condition.settings.get("client-output-buffer-limit", ""))
    used = condition.facts.used_memory_bytes or 0
    if hard_bytes and not _collects_nothing(condition) and used > 4 * hard_bytes:
        yield warning(
            "output buffer of replicas",
            f"{format_bytes(hard_bytes)}: writes during the pull pile up there, and beyond it the source cuts us off",
            'set client-output-buffer-limit "slave 0 0 0" there for the pull, or stop writes',
        )
    else:
        yield ok("limits for replicas", f"repl-timeout {timeout_s or '?'} s, output buffer {_limit_text(hard_bytes)}")


def _limit_text(hard_bytes: int | None) -> str:
    return "not known" if hard_bytes is None else "without limit" if hard_bytes == 0 else format_bytes(hard_bytes)


def _hard_limit_bytes(setting: str) -> int | None:
    """`normal 0 0 0 slave 268435456 67108864 60 pubsub ...`: the first number of replicas; None if it is not there."""
    words = setting.split()
    for name in ("slave", "replica"):
        if name in words[:-1]:
            number = words[words.index(name) + 1]
            return int(number) if number.isdecimal() else None
    return None


def _collects_nothing(condition: Condition) -> bool:
    """Whether the source knows replicas that want the snapshot alone, and keeps nothing for them."""
    if condition.facts.flavour == "valkey":
        return True
    parts = (condition.facts.version or "0").split(".")
    return tuple(int(part) if part.isdecimal() else 0 for part in parts[:2]) >= _RDB_ONLY_SINCE
