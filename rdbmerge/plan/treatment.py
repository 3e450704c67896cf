"""What the rules mean for one source: which of them hold for it, what is selected of it, and how that is changed on
its way. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rdbmerge.errors import UsageError
from rdbmerge.format.emit import Change
from rdbmerge.plan.fitting import Fitting, loader_of
from rdbmerge.plan.model import Rules
from rdbmerge.plan.profile import TargetProfile, find_profile
from rdbmerge.plan.selection import Selection
from rdbmerge.snapshot.segment import Segment


@dataclass(frozen=True, slots=True)
class Treatment:
    """The two together."""

    selection: Selection
    change: Change


def profile_of(rules: Rules) -> TargetProfile | None:
    """The target that the rules name. Raises UsageError for a name that is not known."""
    return None if rules.target is None else find_profile(rules.target)


def rules_of(rules: Rules, name: str) -> Rules:
    """The rules that hold for the source of that name: its own where it has some, else those of the merge."""
    own = rules.sources.get(name)
    given = {} if own is None else {key: value for key, value in own if value is not None}
    return rules.model_copy(update={"sources": {}, **given})


def refuse_unknown_sources(rules: Rules, names: Sequence[str]) -> None:
    """Raise UsageError for rules of a source that is not merged: nothing declared may go without effect."""
    unknown = sorted(rules.sources.keys() - set(names))
    if unknown:
        raise UsageError(
            f"there are rules for {', '.join(unknown)}, which is no source of this merge",
            remedy=f"the sources are {', '.join(names)}",
        )


def treat(
    rules: Rules, segment: Segment, *, snapshot_at_ms: int, ttl_offset_ms: int, losers: Sequence[int] = ()
) -> Treatment:
    """What becomes of the entries of `segment`.

    Args:
        rules: those that hold for it (`rules_of`).
        snapshot_at_ms: what was dead then is left out, if the rules say so.
        ttl_offset_ms: offset and freeze together.
        losers: offsets of entries that lost a conflict, ascending.
    """
    profile = profile_of(rules)
    change = Change(
        dialect=segment.dialect,
        ttl_offset_ms=ttl_offset_ms,
        key_prefix=rules.key_prefix,
        fields_dead_before_ms=snapshot_at_ms if rules.drop_expired else None,
        loader=None if profile is None else loader_of(profile),
        templates=segment.templates,
    )
    fitting = None if profile is None else Fitting(profile, change)
    return Treatment(Selection(rules, segment.dialect, snapshot_at_ms, losers, fitting), change)
