"""The answers to a run of commands, out of the bytes of a connection: a state machine without I/O.

Understands statuses, errors and numbers (RESP2), which is all that the commands of a restore are answered with. Knows
nothing of what was asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from rdbmerge.errors import TargetError

_OK = b"+OK\r\n"
_LINE = re.compile(rb"(?:\+OK\r\n)+|[^\n]*\n")
_LONGEST_LINE_BYTES = 64 << 10
_SHOWN_BYTES = 60


class Answers:
    """Feed it what arrives, in any pieces: it gives how many answers in a row were fine, or the text of an error."""

    def __init__(self) -> None:
        self._tail = b""

    def feed(self, data: bytes) -> Iterator[int | str]:
        """The answers that `data` completes. Raises TargetError for bytes that are none."""
        if not self._tail and len(data) % len(_OK) == 0 and data == _OK * (len(data) // len(_OK)):
            if data:
                yield len(data) // len(_OK)  # nearly always
            return
        data, self._tail = self._tail + data, b""
        done = 0
        for match in _LINE.finditer(data):
            line, done = match[0], match.end()
            if line.startswith(_OK):
                yield len(line) // len(_OK)
            else:
                yield _read(line)
        self._tail = data[done:]
        if len(self._tail) > _LONGEST_LINE_BYTES:
            raise _nonsense(self._tail)


def _read(line: bytes) -> int | str:
    kind, text = line[:1], line[1:].rstrip(b"\r\n")
    if kind == b"-":
        return text.decode("utf-8", "backslashreplace") or "an error without words"
    if kind in (b"+", b":") and line.endswith(b"\r\n"):
        return 1
    raise _nonsense(line)


def _nonsense(data: bytes) -> TargetError:
    shown = repr(data[:_SHOWN_BYTES])[1:]
    return TargetError(
        f"the target answered {shown}, which is no answer to RESTORE",
        remedy="check that the address is that of a Redis or Valkey server, without anything between that rewrites",
    )
