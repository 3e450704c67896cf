"""Where a cache stands: what the descriptions of the three kinds say, in one shape. Pure.

A group that says `available` while a member says `restore-failed` has failed; statuses are compared without case
(aws-seeding.md 6).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rdbmerge.targets.kinds import KINDS, Kind

_AVAILABLE = "available"
_CREATING = "creating"

Phase = Literal["creating", "available", "failed"]


@dataclass(frozen=True, slots=True)
class Standing:
    """One look at it."""

    name: str
    status: str
    phase: Phase
    members: dict[str, str] = field(default_factory=dict)  # node -> its status
    endpoint: str = ""  # host:port
    description: str = ""

    def __str__(self) -> str:
        others = [f"{name} {status}" for name, status in sorted(self.members.items()) if status != self.status]
        return f"{self.status}" + (f" ({', '.join(others[:6])}{', ...' if len(others) > 6 else ''})" if others else "")


@dataclass(frozen=True, slots=True, order=True)
class SeedEvent:
    """What the service wrote about it."""

    at_ms: int
    source: str
    message: str


def standing_of(kind: Kind, told: Mapping[str, Any], members: Mapping[str, str]) -> Standing:
    """What a description says, with the statuses of its members."""
    facts = KINDS[kind]
    status = str(told.get("Status", "")).lower()
    within = {name: state.lower() for name, state in members.items()}
    if kind is Kind.MEMORYDB:
        within |= _memorydb_members(told)
    return Standing(
        name=str(told.get("Name" if kind is Kind.MEMORYDB else facts.name, "")),
        status=status,
        phase=_phase(status, within, facts.failed),
        members=within,
        endpoint=_endpoint(kind, told),
        description=str(told.get("Description") or ""),
    )


def _phase(status: str, members: Mapping[str, str], failed: frozenset[str]) -> Phase:
    if status in failed or any(state in failed for state in members.values()):
        return "failed"
    if status in ("", _CREATING) or _CREATING in members.values():
        return "creating"
    return "available"  # or at something that follows: modifying, snapshotting


def _memorydb_members(told: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for shard in told.get("Shards") or ():
        found[f"shard {shard.get('Name', '?')}"] = str(shard.get("Status", "")).lower()
        for node in shard.get("Nodes") or ():
            found[str(node.get("Name", "?"))] = str(node.get("Status", "")).lower()
    return found


def _endpoint(kind: Kind, told: Mapping[str, Any]) -> str:
    if kind is Kind.REPLICATION_GROUP:
        groups: Sequence[Mapping[str, Any]] = told.get("NodeGroups") or ()
        where = told.get("ConfigurationEndpoint") or (groups[0].get("PrimaryEndpoint") if groups else None)
    else:
        where = told.get("Endpoint" if kind is Kind.SERVERLESS else "ClusterEndpoint")
    return f"{where['Address']}:{where['Port']}" if where and where.get("Address") else ""
