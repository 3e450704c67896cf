"""Waits for a cache to be made and filled: looks, sleeps, looks again, until it is there, has failed, or time is up.

The waiters of AWS's own library see neither `create-failed` nor a member's `restore-failed`. Clock, sleep and dice are
given. Knows nothing of how one looks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from rdbmerge.errors import TargetError
from rdbmerge.targets.standing import Standing

_LONGEST_PAUSE_S = 120.0
_UNSEEN_LOOKS = 3  # right after a creation a service may not know it yet


@dataclass(frozen=True, slots=True)
class WaitLimits:
    """How patient we are; seconds."""

    timeout_s: float = 7_200.0
    poll_s: float = 20.0
    jitter_s: float = 5.0  # so that many who wait do not ask at once


@dataclass(frozen=True, slots=True)
class Waiting:
    """How it stands meanwhile, for whoever shows it."""

    elapsed_s: float
    standing: Standing | None
    trouble: str = ""  # why the last look told nothing


@dataclass(frozen=True, slots=True)
class Waited:
    """How the waiting ended."""

    outcome: Literal["available", "failed", "gone", "timeout", "stopped"]
    standing: Standing | None
    elapsed_s: float
    trouble: str = ""


def wait_until_available(
    look: Callable[[], Standing | None],
    *,
    clock: Callable[[], float],
    sleep: Callable[[float], bool],
    dice: Callable[[], float],
    limits: WaitLimits,
    tell: Callable[[Waiting], None],
) -> Waited:
    """Look until it is settled.

    Args:
        look: the standing; None: there is none of that name. A TargetError that is `retryable` (asked too often, not
            reached) is survived with ever longer pauses; any other ends the waiting.
        clock: seconds that only grow.
        sleep: waits so many seconds; True: stop now.
        dice: 0 to 1.
        tell: is told after each look.
    """
    began, pause_s, unseen, standing = clock(), limits.poll_s, 0, None
    while True:
        trouble = ""
        try:
            seen = look()
        except TargetError as error:
            if not error.retryable:
                raise
            trouble, pause_s = str(error), min(_LONGEST_PAUSE_S, 2 * pause_s)
        else:
            pause_s = limits.poll_s
            unseen = unseen + 1 if seen is None else 0
            standing = seen or standing
        elapsed_s = clock() - began
        tell(Waiting(elapsed_s, standing, trouble))
        if not trouble and standing is not None and unseen == 0 and standing.phase != "creating":
            return Waited(standing.phase, standing, elapsed_s)
        if unseen >= _UNSEEN_LOOKS:
            return Waited("gone", standing, elapsed_s)
        left_s = limits.timeout_s - elapsed_s
        if left_s <= 0:
            return Waited("timeout", standing, elapsed_s, trouble)
        if sleep(min(left_s, pause_s + limits.jitter_s * dice())):
            return Waited("stopped", standing, clock() - began, trouble)
