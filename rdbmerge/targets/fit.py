"""Whether the data fits what was asked for: format and types, dbs, functions, modules, and memory by shard. Pure.

The engines' abilities are those of `plan.profile`; the limits of Serverless are from aws-seeding.md 5. Each answer is a
line for people; what cannot be known is a warning with its reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from rdbmerge.errors import UsageError
from rdbmerge.plan.profile import TargetProfile, find_profile
from rdbmerge.preflight import PreflightCheck, failed, ok, warning
from rdbmerge.snapshot.allocation import Layout
from rdbmerge.snapshot.contents import Contents
from rdbmerge.targets.kinds import Kind
from rdbmerge.targets.node_types import RESERVED_SHARE, least_node_type, maxmemory_of
from rdbmerge.targets.request import SeedRequest
from rdbmerge.units import format_bytes

_DEFAULT_DBS = 16
_MODEL_ERROR = 0.25  # of the estimate; what its tests on real servers hold
_SERVERLESS_KEY_BYTES = 4 << 10
_SERVERLESS_ELEMENT_BYTES = 512 << 20
_SERVERLESS_SLOT_BYTES = 32 << 30
_SERVERLESS_CACHE_BYTES = 5_000 << 30
_LINKED_SINCE, _CLUSTER_KEY_BYTES, _OLD_CLUSTER_KEY_BYTES = 7, 16, 48
_ALL_SLOTS = (0, 16_383)


@dataclass(frozen=True, slots=True)
class SeedFile:
    """A file that is to be seeded, by what is known of it without having it."""

    name: str
    contents: Contents


def profile_of(request: SeedRequest) -> TargetProfile | None:
    """What the engine of a request can load; None for a version that is not said or not known."""
    engine, version = str(request.value("engine") or "valkey"), str(request.value("engine_version") or "")
    try:
        if request.kind is Kind.SERVERLESS:
            series = find_profile(
                f"elasticache-{engine}-{version}.x" if version.isdigit() else "elasticache-serverless"
            )
            return replace(series, name=f"{engine} {version} Serverless", functions=False, many_dbs=False)
        service = "memorydb" if request.kind is Kind.MEMORYDB else "elasticache"
        return find_profile(f"{service}-{engine}-{version if '.' in version else f'{version}.x'}")
    except UsageError:
        return None


def fit_checks(
    request: SeedRequest, files: Sequence[SeedFile], parameters: dict[str, str] | None
) -> list[PreflightCheck]:
    """All answers about the data. `parameters` are those of the parameter group; None: not known."""
    checks: list[PreflightCheck] = []
    profile = profile_of(request)
    if profile is None:
        checks.append(
            warning(
                "engine version",
                f"{request.value('engine')} {request.value('engine_version') or '(none given)'} is no version that"
                " rdbmerge knows: whether the file can be loaded is not checked",
                "give --engine-version, such as 8.1 for valkey or 7.1 for redis",
            )
        )
    for file in files:
        if profile is not None:
            checks += _format_checks(file, profile)
        checks += _db_checks(request, file, parameters)
        if request.kind is Kind.SERVERLESS:
            checks += _serverless_checks(file)
    checks += _memory_checks(request, files, parameters)
    return checks


def _format_checks(file: SeedFile, profile: TargetProfile) -> Iterator[PreflightCheck]:
    contents, dialect = file.contents, file.contents.dialect
    again = f"merge again for it: --target {_target_name(profile)}"
    if not profile.reads(dialect):
        yield failed(
            "RDB version", f"{file.name} is {contents.magic}; {profile.name} loads RDB {profile.accepts}", again
        )
        return
    yield ok("RDB version", f"{file.name} is {contents.magic}; {profile.name} loads RDB {profile.accepts}")
    rows = dialect.types
    unknown = [(number, keys) for number, keys in contents.types.items() if number not in profile.types]
    if unknown:
        names = ", ".join(f"{keys:,} of {rows[number].name if number in rows else number}" for number, keys in unknown)
        yield failed("value types", f"{file.name} has keys in forms that {profile.name} does not know: {names}", again)
    elif contents.all_keys and not contents.types:
        yield warning(
            "value types",
            f"in which forms the keys of {file.name} are stored is not known, nor what else it holds",
            f"give it with --rdb, or see that it was merged with --target {_target_name(profile)}",
        )
    else:
        yield ok("value types", f"{len(contents.types)} forms, all known to {profile.name}")
    if contents.libraries and not profile.functions:
        yield failed(
            "functions", f"{file.name} holds {contents.libraries:,} function libraries, which {profile.name} has not",
            f"{again} --on-unsupported skip",
        )  # fmt: skip
    if contents.modules and not profile.modules:
        yield failed(
            "modules",
            f"{file.name} holds data of modules ({', '.join(contents.modules)})",
            f"{again} --on-unsupported skip",
        )


def _target_name(profile: TargetProfile) -> str:
    return "elasticache-serverless" if "Serverless" in profile.name else profile.name


def _db_checks(request: SeedRequest, file: SeedFile, parameters: dict[str, str] | None) -> Iterator[PreflightCheck]:
    dbs = sorted(db for db, keys in file.contents.keys.items() if keys)
    found = f"{file.name} has keys in db {', '.join(map(str, dbs))}" if dbs else f"{file.name} has no keys"
    if request.cluster_mode:
        many = _whole(parameters, "cluster-databases")
        if not dbs or dbs == [0]:
            yield ok("one db", found)
        elif many is not None and many > dbs[-1] and request.kind is Kind.REPLICATION_GROUP:
            yield warning(
                "one db", f"{found}; the parameter group has cluster-databases {many}",
                "that a file of several dbs seeds such a cluster is written nowhere: try it with a small one",
            )  # fmt: skip
        else:
            what = "cluster mode" if request.kind is Kind.REPLICATION_GROUP else request.facts.title
            yield failed("one db", f"{found}; {what} has db 0 only", "merge again with --db-map, such as 1:0,2:0")
        return
    allowed = _whole(parameters, "databases")
    if not dbs or dbs[-1] < (allowed or _DEFAULT_DBS):
        yield ok("databases", f"{found}; there are {allowed or f'{_DEFAULT_DBS} by default'}")
    elif allowed is None and not _is_default_group(request):
        yield warning(
            "databases", f"{found}; how many the parameter group allows is not known",
            f"see to it that its parameter `databases` is {dbs[-1] + 1} or more",
        )  # fmt: skip
    else:
        yield failed(
            "databases", f"{found}; there are only {allowed or _DEFAULT_DBS}",
            f"give --parameter-group one whose `databases` is {dbs[-1] + 1} or more, or merge again with --db-map",
        )  # fmt: skip


def _is_default_group(request: SeedRequest) -> bool:
    return str(request.value("parameter_group") or "default.").startswith("default.")


def _whole(parameters: dict[str, str] | None, name: str) -> int | None:
    text = (parameters or {}).get(name, "")
    return int(text) if text.isdigit() else None


def _serverless_checks(file: SeedFile) -> Iterator[PreflightCheck]:
    contents = file.contents
    if contents.all_keys and not contents.types:
        yield warning("Serverless limits", f"the longest key and the largest value of {file.name} are not known")
        return
    longest = f"the longest key of {file.name} has {contents.longest_key_bytes:,} bytes"
    if contents.longest_key_bytes > _SERVERLESS_KEY_BYTES:
        yield failed(
            "longest key", f"{longest}; Serverless takes {_SERVERLESS_KEY_BYTES:,}", "leave such keys out of the merge"
        )
    else:
        yield ok("longest key", longest)
    largest = max(contents.longest_string_bytes, contents.largest_entry_bytes)
    if contents.longest_string_bytes > _SERVERLESS_ELEMENT_BYTES:
        yield failed(
            "largest element", f"a string of {format_bytes(contents.longest_string_bytes)}; Serverless takes 512 MB"
        )
    elif largest > _SERVERLESS_ELEMENT_BYTES:
        yield warning(
            "largest element",
            f"the largest entry has {format_bytes(largest)} in the file; no element of it may have more than 512 MB",
        )
    else:
        yield ok("largest element", f"no entry has more than {format_bytes(largest)}")
    heaviest = contents.heaviest_slot_bytes
    if heaviest > _SERVERLESS_SLOT_BYTES:
        yield failed("heaviest slot", f"about {format_bytes(heaviest)} in one slot; Serverless takes 32 GB")
    else:
        yield ok("heaviest slot", f"about {format_bytes(heaviest)}")


def layout_of(request: SeedRequest) -> Layout:
    """Whose memory the engine's is like: Valkey's of its own from 8.1 on, and of Serverless from 8 on."""
    version = tuple(int(part) for part in str(request.value("engine_version") or "0").split(".") if part.isdigit())
    own = version >= ((8,) if request.kind is Kind.SERVERLESS else (8, 1))
    return "valkey" if request.value("engine") == "valkey" and own else "redis"


def cluster_key_bytes(request: SeedRequest) -> int:
    """What a key takes more in cluster mode, where engines keep the keys of each slot together; measured on servers."""
    if not request.cluster_mode or layout_of(request) == "valkey":
        return 0
    major = str(request.value("engine_version") or "").partition(".")[0]
    return _CLUSTER_KEY_BYTES if not major.isdigit() or int(major) >= _LINKED_SINCE else _OLD_CLUSTER_KEY_BYTES


def _memory_checks(
    request: SeedRequest, files: Sequence[SeedFile], parameters: dict[str, str] | None
) -> Iterator[PreflightCheck]:
    if not files:
        return
    unknown = [file.name for file in files if file.contents.all_keys and not file.contents.memory_bytes]
    if unknown:
        yield warning("memory", f"how much {unknown[0]} takes once loaded is not known", "give it with --rdb")
        return
    layout, per_key = layout_of(request), cluster_key_bytes(request)
    weights = [file.contents.memory_bytes.get(layout, 0) + per_key * file.contents.all_keys for file in files]
    total = sum(weights)
    error = max(file.contents.memory_error for file in files)
    about = f"about {format_bytes(total)} once loaded (+-{max(error, _MODEL_ERROR):.0%})"
    if request.kind is Kind.SERVERLESS:
        enough = total <= _SERVERLESS_CACHE_BYTES
        yield ok("memory", about) if enough else failed("memory", f"{about}; a cache holds 5,000 GB")
        return
    node_type = str(request.value("node_type"))
    amount = maxmemory_of(node_type)
    if amount is None:
        yield warning(
            "memory", f"{about}; how much {node_type} holds is not known here", "compare it with the AWS table"
        )
        return
    percent = _whole(parameters, "reserved-memory-percent")
    usable = round(amount * (1 - (RESERVED_SHARE if percent is None else percent / 100)))
    shards = request.shards or [_ALL_SLOTS]
    loads = [
        round(sum(weight * file.contents.share_of(first, last) for weight, file in zip(weights, files, strict=True)))
        for first, last in shards
    ]
    fullest = max(loads)
    where = "" if len(shards) == 1 else f"; the fullest of {len(shards)} shards gets {format_bytes(fullest)}"
    yield _fitting(f"{about}{where}", fullest, usable, node_type, len(shards))


def _fitting(finding: str, needed: int, usable: int, node_type: str, shards: int) -> PreflightCheck:
    finding = f"{finding}; {node_type} has {format_bytes(usable)} for data"
    larger = least_node_type(round(needed * (1 + _MODEL_ERROR)), node_type)
    remedy = f"take {larger or 'a larger family of nodes'}" + (", or more shards" if shards > 1 else "")
    if needed > usable * (1 + _MODEL_ERROR):
        return failed("memory", finding, remedy)
    if needed * (1 + _MODEL_ERROR) > usable:
        return warning("memory", f"{finding}: it may not fit", remedy)
    return ok("memory", finding)
