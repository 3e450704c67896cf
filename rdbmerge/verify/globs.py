"""Key patterns as Redis means them, read from its matcher (`stringmatchlen`) and not from the planner's. Pure.

A glob becomes a list of steps first: "any run" or the set of bytes that one byte may be. Only then a regular expression
is made of them, because that is what runs fast.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from rdbmerge.errors import UsageError
from rdbmerge.plan.model import KeyPattern

Test = Callable[[bytes], object]
Step = frozenset[int] | None  # None: any run of bytes

_ANY = frozenset(range(256))


def glob_steps(glob: bytes) -> list[Step]:
    """What a glob asks for, byte by byte."""
    steps: list[Step] = []
    pos = 0
    while pos < len(glob):
        char = glob[pos]
        if char == ord("*"):
            if not steps or steps[-1] is not None:
                steps.append(None)
        elif char == ord("?"):
            steps.append(_ANY)
        elif char == ord("["):
            members, pos = _class(glob, pos + 1)
            steps.append(members)
            continue
        else:
            if char == ord("\\") and pos + 1 < len(glob):
                pos += 1
            steps.append(frozenset((glob[pos],)))
        pos += 1
    return steps


def _class(glob: bytes, pos: int) -> tuple[frozenset[int], int]:
    """The bytes of a `[...]` whose inside starts at `pos`, and where the glob goes on.

    As in Redis: an escape stands for itself and opens no range, a range may end in any byte (`]` too), and an end of
    the glob closes the class.
    """
    negated = glob[pos : pos + 1] == b"^"
    pos += negated
    members: set[int] = set()
    while pos < len(glob) and glob[pos] != ord("]"):
        if glob[pos] == ord("\\") and pos + 1 < len(glob):
            members.add(glob[pos + 1])
            pos += 2
        elif pos + 2 < len(glob) and glob[pos + 1] == ord("-"):
            low, high = sorted((glob[pos], glob[pos + 2]))
            members.update(range(low, high + 1))
            pos += 3
        else:
            members.add(glob[pos])
            pos += 1
    return (_ANY - members if negated else frozenset(members)), pos + 1


def _regex(step: Step) -> bytes:
    if step is None:
        return b".*"
    if not step:
        return b"(?!)"
    return b"[" + b"".join(b"\\x%02x" % byte for byte in sorted(step)) + b"]"


def key_test(pattern: KeyPattern) -> Test:
    """A test of a decoded key. Raises UsageError for a regular expression that does not compile."""
    if pattern.kind == "glob":
        return re.compile(b"".join(_regex(step) for step in glob_steps(pattern.text)), re.DOTALL).fullmatch
    try:
        return re.compile(pattern.text, re.DOTALL).search
    except re.error as error:
        raise UsageError(
            f"{pattern.text.decode('utf-8', 'backslashreplace')!r} is not a regular expression: {error}",
            remedy="see the syntax of Python's `re`",
        ) from None
