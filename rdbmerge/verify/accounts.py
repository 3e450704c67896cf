"""The balance: what the sources give under the rules against what the merged file holds, and against the Plan.

Works on counts and digests; where they do not agree, `pairing` finds out which keys. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from rdbmerge.errors import UsageError
from rdbmerge.format.digest import Digest
from rdbmerge.format.values import Logical
from rdbmerge.plan.model import Plan, Policy, Rules, SourcePlan, Unsupported
from rdbmerge.plan.profile import TargetProfile
from rdbmerge.snapshot.index import IndexFacts
from rdbmerge.units import escape_key
from rdbmerge.verify.expectation import Line
from rdbmerge.verify.origin import Origin
from rdbmerge.verify.pairing import Paired
from rdbmerge.verify.report import Check, TargetDbLine
from rdbmerge.verify.rivals import Rivalry
from rdbmerge.verify.structure import Found


def target_lines(expected: Mapping[int, Digest], found: Found, *, digests: bool) -> list[TargetDbLine]:
    """One line a db that is expected or found, ascending."""
    lines = []
    for db in sorted(expected.keys() | found.dbs.keys()):
        want = expected.get(db, Digest())
        there = found.dbs.get(db)
        lines.append(
            TargetDbLine(
                db=db,
                expected_keys=want.entries,
                found_keys=there.keys if there else 0,
                expected_expires=want.expires,
                found_expires=there.expires if there else 0,
                expected_digest=want.hex if digests else None,
                found_digest=(there.digest if there else Digest()).hex if digests else None,
            )
        )
    return lines


def unequal_dbs(lines: Sequence[TargetDbLine]) -> list[int]:
    """The dbs whose counts or digests do not agree."""
    return [
        line.db
        for line in lines
        if (line.expected_keys, line.expected_expires, line.expected_digest)
        != (line.found_keys, line.found_expires, line.found_digest)
    ]


def balance_checks(lines: Sequence[Line], targets: Sequence[TargetDbLine]) -> list[Check]:
    """The ledger closes, and the counts of each db agree."""
    open_lines = [
        f"{line.origin.name} db {line.db}: {line.read:,} read, {line.expected:,} expected, {line.expired:,} expired,"
        f" {line.filtered:,} filtered, {line.conflict_dropped:,} dropped by conflict, {line.rejected:,} rejected,"
        f" {line.elsewhere:,} elsewhere"
        for line in lines
        if line.read
        != line.expected + line.expired + line.filtered + line.conflict_dropped + line.rejected + line.elsewhere
    ]
    wrong = [
        f"db {line.db}: {line.expected_keys:,} keys and {line.expected_expires:,} expiries expected,"
        f" {line.found_keys:,} and {line.found_expires:,} found"
        for line in targets
        if (line.expected_keys, line.expected_expires) != (line.found_keys, line.found_expires)
    ]
    read, kept = sum(line.read for line in lines), sum(line.expected for line in lines)
    return [
        Check(
            name="ledger",
            ok=not open_lines,
            proves="every entry of every source is accounted for: expected here or in another shard, expired, filtered,"
            " dropped by conflict or rejected",
            does_not_prove="that the rules are the ones you meant",
            detail="; ".join(open_lines) or f"{read:,} read, {kept:,} expected in the merged file",
        ),
        Check(
            name="keys per db",
            ok=not wrong,
            proves="each db of the merged file has as many keys, and keys with an expiry, as the sources give it",
            does_not_prove="that they are the same keys (see contents)",
            detail="; ".join(wrong) or ", ".join(f"db {line.db}: {line.found_keys:,}" for line in targets),
        ),
    ]


def contents_check(targets: Sequence[TargetDbLine], by_meaning: Collection[Logical]) -> Check:
    """The digests of each db agree; values of the types in `by_meaning` count as what they mean."""
    decoded = ", ".join(sorted(kind.name.lower() for kind in by_meaning))
    wrong = [line for line in targets if line.expected_digest != line.found_digest]
    return Check(
        name="contents",
        ok=not wrong,
        proves=(
            "each db holds exactly the expected keys, with their types, value bytes, expiries (of keys and hash fields)"
            " and idle times or frequencies, up to a chance of about 2^-64 an entry"
            + (f"; values of type {decoded} are decoded on both sides and mean the same" if decoded else "")
        ),
        does_not_prove=f"that{' other' if decoded else ''} values decode: their bytes are compared, not opened",
        detail="; ".join(f"db {line.db}: {line.expected_digest} expected, {line.found_digest} found" for line in wrong)
        or ", ".join(f"db {line.db}: {line.found_digest}" for line in targets),
    )


def entry_check(paired: Paired) -> Check:
    """Every entry was paired and agrees."""
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(paired.kinds.items()))
    return Check(
        name="entry by entry",
        ok=not paired.total,
        proves="every entry was found again and compared with its source without relying on hashes: byte by byte where"
        " the value is a copy, else decoded on both sides, value by value; every value of the merged file decodes",
        does_not_prove="that a server reads the values as their source did; nor that values over 64 MB that are copies"
        " hold nothing twice",
        detail=f"{paired.pairs:,} pairs; differences: {kinds or 'none'}",
    )


def conflicts_check(rivalries: Mapping[int, Rivalry], policy: Policy) -> Check:
    """Under the policy to fail there must not be any."""
    count = sum(rivalry.conflicts for rivalry in rivalries.values())
    ok = count == 0 or policy is not Policy.FAIL
    examples = [
        f"{escape_key(key, limit=60)} of db {db}"
        for db, rivalry in sorted(rivalries.items())
        for key in rivalry.examples
    ]
    return Check(
        name="conflicts",
        ok=ok,
        proves=f"keys that several sources hold were settled as asked ({policy}), by a grouping of our own",
        does_not_prove="that the winner is the value you want",
        detail=f"{count:,} keys in more than one source" + ("" if ok else f": {', '.join(examples[:5])}"),
    )


def unsupported_check(lines: Sequence[Line], rules: Rules, profile: TargetProfile) -> Check:
    """Under the policy to fail the sources hold nothing that the target cannot."""
    rejected, stripped = sum(line.rejected for line in lines), sum(line.stripped for line in lines)
    policy = rules.on_unsupported
    return Check(
        name="unsupported",
        ok=not rejected or policy is not Unsupported.FAIL,
        proves=f"what {profile.name} cannot hold was dealt with as asked ({policy}), by a judgement of our own",
        does_not_prove=f"that {profile.name} is what will load the file",
        detail=f"{rejected:,} keys cannot be held" + (f", {stripped:,} were stripped" if stripped else ""),
    )


def refuse_changed(planned: SourcePlan, facts: IndexFacts) -> None:
    """Raise UsageError if a source is not the file that the plan was made for."""
    there = (facts.size_bytes, facts.mtime_ns, f"{facts.crc64:016x}")
    if there != (planned.size_bytes, planned.mtime_ns, planned.crc64):
        what = [
            f"{name} was {then}, is {now}"
            for name, then, now in zip(
                ("size", "mtime_ns", "crc64"), (planned.size_bytes, planned.mtime_ns, planned.crc64), there, strict=True
            )
            if then != now
        ]
        raise UsageError(
            f"{planned.path} is not the file the plan was made for: {', '.join(what)}",
            remedy="verify against the files that were merged, or plan and merge again",
        )


def plan_checks(
    plan: Plan, origins: Sequence[Origin], lines: Sequence[Line], found: Found, size_bytes: int
) -> list[Check]:
    """The plan's own numbers against those counted here."""
    problems = list(_plan_runs(plan, lines))
    for planned, origin in zip(plan.sources, origins, strict=True):
        if planned.ttl_offset_ms != origin.times.ttl_offset_ms:
            rules_ms = origin.times.ttl_offset_ms
            problems.append(f"{planned.name}: an offset of {planned.ttl_offset_ms} ms, the rules give {rules_ms} ms")
    dbs = {db.db: (db.keys, db.expires) for db in plan.dbs}
    there = {number: (db.keys, db.expires) for number, db in found.dbs.items() if db.keys}
    if dbs != there:
        problems.append(f"the plan has dbs (keys, expiries) {dbs}, the merged file {there}")
    if plan.magic != str(found.dialect):
        problems.append(f"{plan.magic} planned, the merged file is {found.dialect}")
    if plan.output_bytes != size_bytes:
        problems.append(f"{plan.output_bytes:,} bytes planned, the merged file has {size_bytes:,}")
    return [
        Check(
            name="plan",
            ok=not problems,
            proves="the plan's ledger, offsets, dbs, version and size are what was counted here",
            does_not_prove="that the plan is the one you meant",
            detail="; ".join(problems) or f"{len(plan.sources)} sources, {plan.keys:,} keys",
        )
    ]


def _plan_runs(plan: Plan, lines: Sequence[Line]) -> list[str]:
    counted = {
        (line.origin.name, line.db): (
            line.target_db, line.read, line.expected, line.expected_expires, line.expired, line.filtered,
            line.conflict_dropped, line.rejected, line.elsewhere, line.stripped,
        )
        for line in lines
    }  # fmt: skip
    planned = {
        (source.name, run.db): (
            run.target_db, run.read, run.written, run.written_expires, run.expired, run.filtered, run.conflict_dropped,
            run.rejected, run.elsewhere, run.stripped,
        )
        for source in plan.sources
        for run in source.runs
    }  # fmt: skip
    words = (
        "(target db, read, written, with expiry, expired, filtered, conflict-dropped, rejected, elsewhere, stripped)"
    )
    return [
        f"{name} db {db}: {planned.get((name, db))} planned, {counted.get((name, db))} counted {words}"
        for name, db in sorted(counted.keys() | planned.keys())
        if counted.get((name, db)) != planned.get((name, db))
    ]
