"""Which fixture can be made for which target, and how that is proved: the matrix behind docs/compatibility.md.

A pair of a fixture and a target is *proved by a server* when the fixture, re-encoded for the target, was loaded by a
real server of that target and read back by commands as its truth says; *by decoding* when verify compared every value
of the output with the fixture (level full), and the output decodes to the truth, for want of such a server. What the
target cannot hold is refused by default; the proof is then that of `--on-unsupported strip`. The truths are changed
here by what servers can do, not by profiles.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from decoded import decoded
from realservers import SERVERS, ServerBinary, running
from truth import Truth, TruthEntry, diff, expected_merge, read_live, read_truth

from rdbmerge.errors import UnfitError
from rdbmerge.plan.model import Policy, Rules, Unsupported
from rdbmerge.plan.profile import PROFILES, TargetProfile
from rdbmerge.steps.merge import planned_merge, write_merge
from rdbmerge.steps.verify import verify
from rdbmerge.verify.report import VerifyReport

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "fixtures" / "rdb"
DOCUMENT = ROOT / "docs" / "compatibility.md"
NOW_MS = 1_795_400_000_000
# So long that nothing in the fixtures is dead, however old they get.
OFFSET_MS = 10 * 365 * 86_400_000
VERSIONS = sorted(path.name for path in FIXTURES.iterdir())
DBS_A_FILE = 16

# Letters for what a target cannot hold, by words of `Rejection.why`.
REASONS = {
    "t": ("expiries of hash fields", "hashes whose fields expire"),
    "f": ("no functions", "function libraries"),
    "s": ("no streams", "streams"),
    "p": ("producers", "what streams remember of producers (IDMP)"),
    "n": ("without an owner", "pending entries that nobody owns (XNACK)"),
    "a": ("no arrays", "arrays"),
}


@dataclass(frozen=True)
class Column:
    """Targets that load the very same things, and the servers at hand that stand for them."""

    names: tuple[str, ...]

    @property
    def profile(self) -> TargetProfile:
        return PROFILES[self.names[0]]

    @property
    def servers(self) -> list[ServerBinary]:
        return [server for server in SERVERS if server.name in self.names]

    @property
    def stand_in(self) -> ServerBinary:
        """What a server of the first target would be, to tell what it can hold."""
        match = re.search(r"(redis|valkey)-(\d+)\.(\d+)$", self.names[0])
        flavour, major, minor = match.groups() if match else ("redis", "7", "0")
        return ServerBinary(self.names[0], flavour, (int(major), int(minor)), None, "only in thought")

    @property
    def heading(self) -> str:
        return self.names[0] if len(self.names) == 1 else f"{self.names[0]} ({len(self.names)})"


@cache
def columns() -> tuple[Column, ...]:
    """All targets, those together that no fixture can tell apart."""
    groups: dict[Any, list[str]] = {}
    for name, one in PROFILES.items():
        types = one.types - {7}  # no fixture holds values of modules
        headers = min(one.redis_version, 14), one.valkey_version
        groups.setdefault((types, headers, one.line, one.functions, one.many_dbs), []).append(name)
    return tuple(Column(tuple(names)) for names in groups.values())


def files(version: str) -> list[Path]:
    return sorted((FIXTURES / version).glob("*.rdb"))


def truth_of(path: Path) -> Truth:
    return read_truth(path.with_name(f"{path.stem}.truth.jsonl.gz"))


def rules_for(column: Column, **more: Any) -> Rules:
    one_db = {} if column.profile.many_dbs else {"dbs": [0]}
    return Rules(target=column.names[0], ttl_offset_ms=OFFSET_MS, drop_expired=False, **one_db, **more)


# --- what is refused by default -------------------------------------------------------------------------------------


def refused(path: Path, column: Column, folder: Path) -> str:
    """The letters of what the target cannot hold of a fixture; "" when it holds everything."""
    source, listed = folder / path.name, folder / "rejected.jsonl"
    shutil.copy(path, source)
    listed.unlink(missing_ok=True)
    try:
        with planned_merge([source], rules_for(column), now_ms=NOW_MS, jobs=1, rejected_to=listed):
            return ""
    except UnfitError:
        whys = [json.loads(line)["why"] for line in listed.read_text().splitlines()]
    assert all(any(words in why for words, _ in REASONS.values()) for why in whys), whys
    return "".join(letter for letter, (words, _) in REASONS.items() if any(words in why for why in whys))


# --- proof by decoding ----------------------------------------------------------------------------------------------


def decoding_differs(path: Path, column: Column, folder: Path) -> list[str]:
    """What verify, and the truth, have to say against the fixture made for the target, stripped where need be."""
    source, output = folder / path.name, folder / "out.rdb"
    shutil.copy(path, source)
    rules = rules_for(column, on_unsupported=Unsupported.STRIP)
    with planned_merge([source], rules, now_ms=NOW_MS, jobs=1) as merge:
        write_merge(merge, output, jobs=1, force=True)
    report = verify(output, against=[source], rules=rules, level="full", jobs=1, now_ms=NOW_MS)
    assert isinstance(report, VerifyReport)
    differences = [f"{one.kind} {one.key}: {one.found}, not {one.expected}" for one in report.differences]
    differences += [f"{check.name}: {check.detail}" for check in report.failed_checks]
    whole = expected_merge([truth_of(path)], ttl_offset_ms=OFFSET_MS)
    expected = as_held_by(column.stand_in, whole)
    if not column.profile.functions:
        expected.functions.clear()
    if not column.profile.many_dbs:
        expected.entries = {place: entry for place, entry in expected.entries.items() if place[0] == 0}
    return differences + diff(expected, decoded(output))


# --- proof by a server ----------------------------------------------------------------------------------------------


def merged_fixtures(version: str, column: Column, folder: Path) -> Path:
    """All fixtures of a version in one file for the target, each in dbs of its own (`DBS_A_FILE`)."""
    parts = []
    for number, path in enumerate(files(version)):
        part = folder / f"{number}-{path.name}"
        moves = {db: number * DBS_A_FILE + db for db in range(DBS_A_FILE)}
        rules = Rules(db_map=moves, drop_expired=False)
        with planned_merge([path_copy(path, folder)], rules, now_ms=NOW_MS, jobs=1) as merge:
            write_merge(merge, part, jobs=1)
        parts.append(part)
    rules = rules_for(column, on_unsupported=Unsupported.STRIP, on_conflict=Policy.FIRST)
    with planned_merge(parts, rules, now_ms=NOW_MS, jobs=1) as merge:
        write_merge(merge, folder / "all.rdb", jobs=1)
    return folder / "all.rdb"


def path_copy(path: Path, folder: Path) -> Path:
    copy = folder / path.name
    shutil.copy(path, copy)
    return copy


def server_differs(version: str, column: Column, server: ServerBinary, folder: Path) -> list[str]:
    """How what a server holds after loading all fixtures of a version differs from their truths."""
    output = merged_fixtures(version, column, folder)
    truths = [truth_of(path) for path in files(version)]
    moves = [{db: number * DBS_A_FILE + db for db in range(DBS_A_FILE)} for number in range(len(truths))]
    whole = expected_merge(truths, ttl_offset_ms=OFFSET_MS, db_map=moves, on_conflict="first")
    with running(server, rdb=output, config={"databases": str(DBS_A_FILE * len(truths))}) as running_server:
        live = read_live(running_server)
    return diff(as_held_by(server, whole), live, tolerance_ms=2)


def as_held_by(server: ServerBinary, truth: Truth) -> Truth:
    """The truth as far as a server of this version can hold it."""
    since = server.version if server.flavour == "redis" else None
    functions = truth.functions if server.version >= (7, 0) else {}
    entries = {place: held for place, entry in truth.entries.items() if (held := _held(entry, server, since))}
    return Truth(entries, functions)


def _held(entry: TruthEntry, server: ServerBinary, redis: tuple[int, ...] | None) -> TruthEntry | None:
    if entry.type == "array" and (redis is None or redis < (8, 8)):
        return None
    if entry.type == "stream":
        if redis is not None and redis < (5, 0):
            return None
        return entry if redis is not None and redis >= (8, 8) else replace(entry, value=_owned(entry.value))
    field_times = redis >= (7, 4) if redis is not None else server.version >= (9, 0)
    if entry.type == "hash" and not field_times:
        return replace(entry, value={name: (text, None) for name, (text, _) in entry.value.items()})
    return entry


def _owned(stream: dict[str, Any]) -> dict[str, Any]:
    """Pending entries that nobody owns are given to a consumer of their own."""
    owner = b"rdbmerge:nacked"
    groups = {}
    for name, group in stream["groups"].items():
        orphans = [one for one, (consumer, *_) in group["pel"].items() if consumer == b""]
        pel = {one: (consumer or owner, *rest) for one, (consumer, *rest) in group["pel"].items()}
        consumers = dict(group["consumers"])
        if orphans:
            consumers[owner] = {"pending": len(orphans), "seen_time": 0, "active_time": -1}
        groups[name] = {**group, "pel": pel, "consumers": consumers}
    return {name: value for name, value in {**stream, "groups": groups}.items() if name != "idmp"}


# --- the document ---------------------------------------------------------------------------------------------------

SERVER, DECODED = "●", "○"
HEAD = """\
# Which source goes to which target

Made by `scripts/compatibility` out of the files in `fixtures/rdb`, which real servers wrote; the tests hold it to be
true. A row is a file, a column a kind of target.

- {server} the file, made for the target, was loaded by a real server of it, and every key, value, expiry and function
  read back by commands is as in the source.
- {decoded} no such server was at hand: `verify --level full` decoded every value of the output and of the source and
  found them the same, and they are what the source's server answered.
- Letters: what the target cannot hold. Such a file is **refused** by default; `--on-unsupported strip` keeps what can
  be kept, and the proof is of that:
{letters}

| column | targets | proved on |
|---|---|---|
"""


def cell(proof: str, letters: str) -> str:
    """`●`, or `● tf` where fields' times and functions had to be stripped."""
    return f"{proof} {letters}".strip()


def document(cells: dict[tuple[str, str, str], str]) -> str:
    """The page, of a cell for each (version, file, first name of the column)."""
    letters = "\n".join(f"  - **{letter}** {words}" for letter, (_, words) in REASONS.items())
    lines = HEAD.format(server=SERVER, decoded=DECODED, letters=letters).splitlines()
    for column in columns():
        servers = ", ".join(f"{one.flavour} {'.'.join(map(str, one.version))}" for one in column.servers)
        db = "" if column.profile.many_dbs else " (db 0 only)"
        lines.append(f"| {column.heading} | {', '.join(column.names)}{db} | {servers or '-'} |")
    lines += ["", "| file | " + " | ".join(column.heading for column in columns()) + " |"]
    lines.append("|---|" + "---|" * len(columns()))
    for version, stem in _rows():
        row = [cells[version, stem, column.names[0]] for column in columns()]
        lines.append(f"| {version}/{stem} | " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def _rows() -> Iterator[tuple[str, str]]:
    for version in sorted(VERSIONS, key=_in_time):
        yield from ((version, path.stem) for path in files(version))


def _in_time(version: str) -> tuple[int, list[int]]:
    numbers = [int(part) for part in version.removeprefix("valkey-").split(".") if part.isdigit()]
    return version.startswith("unstable") + 2 * version.startswith("valkey"), numbers


def read_document() -> dict[tuple[str, str, str], str]:
    """The cells of the page as it is."""
    rows = [line.strip("| \n").split(" | ") for line in DOCUMENT.read_text().splitlines() if line.startswith("| ")]
    head = next(row for row in rows if row[0] == "file")
    firsts = [heading.split(" (")[0] for heading in head[1:]]
    return {
        (*row[0].split("/"), first): text  # type: ignore[misc]
        for row in rows
        if len(row) == len(head) and row[0] != "file"
        for first, text in zip(firsts, row[1:], strict=True)
    }
