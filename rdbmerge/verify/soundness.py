"""What a merged file must be by itself, as checks: what was found in it against what every server can load.

Pure: judges what `structure` read. Knows nothing of sources.
"""

from __future__ import annotations

from collections.abc import Iterator

from rdbmerge.format import codes
from rdbmerge.format.dialects import Dialect
from rdbmerge.plan.profile import TargetProfile
from rdbmerge.verify.report import Check
from rdbmerge.verify.structure import Found, show_keys
from rdbmerge.verify.windows import ENTRIES

# What a merged file may say about itself; anything else was copied from a source and means something to servers.
_ALLOWED_AUX = (b"redis-ver", b"valkey-ver", b"redis-bits", b"ctime")
_LONG_LENGTH_BYTES = 1 << 32
_FOREIGN = 22  # from here on type numbers differ between the lines
_HINTS_SINCE, _MODULE_DATA_SINCE, _FUNCTIONS_SINCE, _META_SINCE, _LONG_SINCE = 9, 9, 10, 13, 8


def soundness(found: Found, size_bytes: int, profile: TargetProfile | None, *, sharded: bool) -> list[Check]:
    """All checks of the file alone, and against what its target loads."""
    checks = [
        _records(found),
        _checksum(found),
        _exact_end(found, size_bytes),
        _unique_keys(found),
        _unique_libraries(found),
        _resized(found),
        _aux(found),
        _cluster_records(found),
        _entries(found),
        _version(found),
    ]
    if profile is not None:
        checks.append(_loadable(found, profile))
    if sharded or (profile is not None and not profile.many_dbs):
        checks.append(_one_db(found))
    return checks


def _loadable(found: Found, profile: TargetProfile) -> Check:
    return _check(
        "target",
        list(_too_new_for(found, profile)),
        f"{profile.name} accepts the version in the header, and knows every type and record",
        "that the server has the memory, the `databases` and the modules",
        f"{found.dialect} for {profile.name}",
    )


def _too_new_for(found: Found, profile: TargetProfile) -> Iterator[str]:
    highest = profile.valkey_version if found.dialect.line == "valkey" else profile.redis_version
    if found.dialect.version > highest:
        yield f"{profile.name} refuses {found.dialect}"
    for number in sorted({number for db in found.dbs.values() for number in db.types}):
        if number not in profile.types or (number >= _FOREIGN and found.dialect.line != profile.line):
            yield f"{profile.name} does not know type {number} ({found.dialect.types[number].name})"
    if found.flags & (codes.HAS_IDLE | codes.HAS_FREQ) and not profile.hints:
        yield f"{profile.name} does not know idle times or frequencies"
    if found.flags & codes.HAS_META and not profile.key_metadata:
        yield f"{profile.name} does not know key metadata"
    if found.libraries and not profile.functions:
        yield f"{profile.name} has no functions"
    if found.module_data and not profile.module_data:
        yield f"{profile.name} loads no modules"


def _one_db(found: Found) -> Check:
    others = sorted(number for number, db in found.dbs.items() if number and db.keys)
    return _check(
        "one db",
        [f"db {', '.join(map(str, others))} holds keys"] if others else [],
        "all keys are in db 0, the only one that a cluster has",
        "that the keys are those of its slots (see contents)",
    )


def _check(name: str, problems: list[str], proves: str, does_not_prove: str, detail: str = "") -> Check:
    text = "; ".join(problems[:10]) + (f"; and {len(problems) - 10:,} more" if len(problems) > 10 else "")
    return Check(
        name=name, ok=not problems, proves=proves, does_not_prove=does_not_prove, detail=text if problems else detail
    )


def _records(found: Found) -> Check:
    problems = list(_out_of_order(found)) + list(_dbs_again(found))
    return _check(
        "records",
        problems,
        "every byte belongs to a record; records stand in the order servers write, each db once, ascending",
        "that what is inside values makes sense: compact encodings are not opened",
        f"{len(found.steps):,} records and runs of entries, dbs {sorted(found.dbs)}",
    )


def _out_of_order(found: Found) -> Iterator[str]:
    before = {data.start: data.before_keys for data in found.module_data}
    rank = 0
    for step in found.steps:
        match step.opcode:
            case codes.OP_AUX:
                here = 0
            case codes.OP_MODULE_AUX:
                here = 1 if before[step.offset] else 4
            case codes.OP_FUNCTION2:
                here = 2
            case codes.OP_EOF:
                here = 5
            case _:
                here = 3
        if here < rank:
            yield f"at byte {step.offset:,}: a record of opcode {step.opcode} after one that belongs behind it"
        rank = max(rank, here)


def _dbs_again(found: Found) -> Iterator[str]:
    last, entries_of = -1, None
    for step in found.steps:
        if step.opcode == codes.OP_SELECTDB:
            if step.db <= last:
                yield f"at byte {step.offset:,}: db {step.db} after db {last}"
            last = step.db
        elif step.opcode == ENTRIES and entries_of != step.db:
            if step.db != last and last >= 0:
                yield f"at byte {step.offset:,}: entries of db {step.db} outside it"
            entries_of = step.db


def _checksum(found: Found) -> Check:
    stored, problems = found.end.checksum, []
    if stored is None:
        problems = [f"{found.dialect} files have no checksum: nothing protects this one"]
    elif stored == 0 != found.crc64:
        problems = ["the checksum is 0, which tells servers not to check: nothing protects this file"]
    return _check(
        "checksum",
        problems,
        "the file on disk is, byte for byte, what was summed when it was written",
        "that the right bytes were summed",
        f"CRC-64 {found.crc64:016x}",
    )


def _exact_end(found: Found, size_bytes: int) -> Check:
    rest = size_bytes - found.end.end
    return _check(
        "exact end",
        [f"{rest:,} bytes follow the end of the RDB, at byte {found.end.end:,}"] if rest else [],
        "nothing follows the checksum",
        "anything about what stands before it",
    )


def _unique_keys(found: Found) -> Check:
    keys = found.repeated_keys
    count = f"{len(keys)} or more" if len(keys) >= 100 else str(len(keys))
    return _check(
        "unique keys",
        [f"{count} keys stand twice in one db, no server loads such a file: {show_keys(keys)}"] if keys else [],
        "no db holds a key twice (equal hashes were compared byte by byte)",
        "that each key is in the right db",
        f"{sum(db.keys for db in found.dbs.values()):,} keys",
    )


def _unique_libraries(found: Found) -> Check:
    names = [library.name for library in found.libraries]
    twice = sorted({name for name in names if names.count(name) > 1})
    return _check(
        "unique libraries",
        [f"function library {name.decode('utf-8', 'backslashreplace')!r} stands twice" for name in twice],
        "no function library stands twice",
        "that two libraries do not register functions of one name",
        f"{len(names)} libraries",
    )


def _resized(found: Found) -> Check:
    problems = []
    for number, db in sorted(found.dbs.items()):
        if db.resized != [(db.keys, db.expires)] and (found.dialect.has_aux or db.resized):
            said = ", ".join(f"{keys:,} keys and {expires:,} expiries" for keys, expires in db.resized) or "nothing"
            problems.append(f"db {number}: RESIZEDB says {said}, there are {db.keys:,} and {db.expires:,}")
    return _check(
        "announced counts",
        problems,
        "RESIZEDB tells each db's exact numbers of keys and expiries, so servers allocate what they need and no more",
        "that these numbers are the right ones (see keys per db)",
    )


def _aux(found: Found) -> Check:
    problems = [
        f"AUX field {_text(aux.name)!r} = {_text(aux.value)!r} at byte {aux.offset:,}"
        for aux in found.aux
        if aux.name.lower() not in _ALLOWED_AUX
    ]
    return _check(
        "no foreign AUX",
        problems,
        "no replication id, offset, script or slot information of a source survived, which a server could act on",
        "that redis-ver and ctime are true",
        ", ".join(f"{_text(aux.name)}={_text(aux.value)}" for aux in found.aux),
    )


def _cluster_records(found: Found) -> Check:
    names = {codes.OP_SLOT_INFO: "SLOT_INFO", codes.OP_SLOT_IMPORT: "SLOT_IMPORT"}
    problems = [f"{names[step.opcode]} at byte {step.offset:,}" for step in found.steps if step.opcode in names]
    return _check(
        "no cluster records",
        problems,
        "no record of a cluster node is left, which other servers refuse",
        "that the keys suit a cluster's slots",
    )


def _entries(found: Found) -> Check:
    problems = []
    if found.bad_expiries:
        problems.append(f"{found.bad_expiries:,} entries with an expiry of 0 or below, or attributes out of order")
    if found.empty:
        problems.append(f"{found.empty:,} empty collections, which no server keeps")
    return _check(
        "regular entries",
        problems,
        "no expiry is 0 or negative, attributes stand as servers write them, no collection is empty at sight",
        "anything about expiries of hash fields, or collections that are empty inside LZF or module data",
    )


def _version(found: Found) -> Check:
    return _check(
        "version",
        list(_too_new(found, found.dialect)),
        f"every type and record is known to the servers that write {found.dialect}",
        "that a given target accepts this version",
        str(found.dialect),
    )


def _too_new(found: Found, dialect: Dialect) -> Iterator[str]:
    if dialect.line == "valkey":
        return
    for number in sorted({number for db in found.dbs.values() for number in db.types}):
        row = dialect.types[number]
        if row.since_rdb > dialect.version:
            yield f"type {number} ({row.name}) needs version {row.since_rdb}"
    needs = (
        (found.flags & (codes.HAS_IDLE | codes.HAS_FREQ), _HINTS_SINCE, "idle times or frequencies"),
        (found.flags & codes.HAS_META, _META_SINCE, "key metadata"),
        (found.libraries, _FUNCTIONS_SINCE, "function libraries"),
        (found.module_data, _MODULE_DATA_SINCE, "module data"),
        (found.largest_entry_bytes >= _LONG_LENGTH_BYTES, _LONG_SINCE, "an entry of 4 GB or more"),
    )
    for there, since, what in needs:
        if there and dialect.version < since:
            yield f"{what}: version {since}"


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")
