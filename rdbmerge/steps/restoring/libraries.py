"""Function libraries of a plan into every primary: functions belong to servers, not to slots. Before any key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rdbmerge.errors import TargetError
from rdbmerge.format.dump import dump_libraries
from rdbmerge.format.strings import read_string
from rdbmerge.snapshot.segment import Segment
from rdbmerge.targets.server import LiveServer, refusal_words
from rdbmerge.targets.server_cluster import Servers
from rdbmerge.targets.server_refusals import remedy_of

if TYPE_CHECKING:
    from rdbmerge.plan.model import Plan
    from rdbmerge.steps.restoring.work import OnBusy


def restore_libraries(servers: Servers, plan: Plan, segments: Sequence[Segment], on_busy: OnBusy) -> list[str]:
    """Load them; the names of those that were left out because another one was there. Raises TargetError.

    A library that is there with the same code is left as it is.
    """
    wanted = {}
    for library in plan.libraries:
        code, _ = read_string(segments[library.source].view, library.offset + 1)
        wanted[library.name.encode()] = code
    left_out: set[bytes] = set()
    if wanted:
        for number in servers.primaries():
            left_out |= _load(servers.all[number], wanted, on_busy)
    return sorted(name.decode("utf-8", "backslashreplace") for name in left_out)


def _load(server: LiveServer, wanted: dict[bytes, bytes], on_busy: OnBusy) -> set[bytes]:
    there = _libraries(server.ask("FUNCTION", "LIST", "WITHCODE"))
    others = {name for name, code in wanted.items() if there.get(name, code) != code}
    if others and on_busy == "fail":
        names = ", ".join(sorted(name.decode("utf-8", "backslashreplace") for name in others))
        raise TargetError(
            f"{server.place} holds other function libraries of these names: {names}",
            remedy="leave them as they are with --on-busy skip, or replace them with --on-busy replace",
        )
    missing = {name for name in wanted if name not in there} | (others if on_busy == "replace" else set())
    if missing:
        payload = dump_libraries(wanted[name] for name in sorted(missing))
        (reply,) = server.ask_all([("FUNCTION", "RESTORE", payload, "REPLACE" if on_busy == "replace" else "APPEND")])
        if (words := refusal_words(reply)) is not None:
            raise TargetError(f"{server.place} refused the function libraries: {words}", remedy=remedy_of(words))
    return set() if on_busy == "replace" else others


def _libraries(listed: Any) -> dict[bytes, bytes]:
    """Code by name, out of the reply to FUNCTION LIST WITHCODE."""
    found = {}
    for row in listed:
        facts = dict(zip(row[::2], row[1::2], strict=True))
        found[bytes(facts[b"library_name"])] = bytes(facts[b"library_code"])
    return found
