"""On which line of a TOML file each of its keys stands: what `tomllib` does not tell, and a message has to.

Works on text that `tomllib` has accepted, so it only has to find its way, not to judge. Knows nothing of what the keys
mean. Pure.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator

Path = tuple[str | int, ...]  # keys, and places in arrays

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY = re.compile(r"""(?:[A-Za-z0-9_.\- \t]|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')+""")
_TEXT = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}' r"|'''.*?'{3,5}" r'|"(?:[^"\\\n]|\\.)*"' r"|'[^'\n]*'",
    re.DOTALL,
)
_BARE = re.compile(r"[^,\]}\n#]+")


def key_lines(text: str) -> dict[Path, int]:
    """The line (from 1) of every key and every item of an array; a table has the line of its first mention.

    `text` is a whole, valid file, with ends of line as `\\n` or `\\r\\n`.
    """
    return _Finder(text).find()


class _Finder:
    def __init__(self, text: str) -> None:
        self.text = text
        self.pos = 0
        self.lines: dict[Path, int] = {}
        self._counted: tuple[int, int] = (0, 1)  # a position, and its line
        self._arrays: dict[Path, int] = {}  # of tables: how many there are so far

    def find(self) -> dict[Path, int]:
        """Go through the whole text."""
        table: Path = ()
        while True:
            self._skip_blank()
            if self.pos >= len(self.text):
                return self.lines
            if self.text.startswith("[", self.pos):
                table = self._header()
            else:
                self._pair(table)

    def _skip_blank(self) -> None:
        blank = _BLANK.match(self.text, self.pos)
        if blank:
            self.pos = blank.end()

    def _note(self, path: Path) -> None:
        before, line = self._counted
        line += self.text.count("\n", before, self.pos)
        self._counted = self.pos, line
        for length in range(1, len(path) + 1):
            self.lines.setdefault(path[:length], line)

    def _header(self) -> Path:
        """`[table]` or `[[array of tables]]`: the path that the keys below it begin with."""
        several = self.text.startswith("[[", self.pos)
        start = self.pos
        self.pos += 2 if several else 1
        *parents, last = self._keys()
        end = self.text.index("]", self.pos) + (2 if several else 1)
        path: Path = ()
        for key in parents:
            path = self._last_of((*path, key))
        path = (*path, last)
        self.pos = start
        if several:
            self._note(path)
            self._arrays[path] = self._arrays.get(path, 0) + 1
        path = self._last_of(path)
        self._note(path)
        self.pos = end
        return path

    def _last_of(self, path: Path) -> Path:
        """The table that a header means by `path`: of an array of tables its last one."""
        count = self._arrays.get(path)
        return path if count is None else (*path, count - 1)

    def _pair(self, table: Path) -> None:
        """`key = value`; dots in the key are tables."""
        start = self.pos
        keys = self._keys()
        end, self.pos = self.pos, start
        path = (*table, *keys)
        self._note(path)
        self.pos = self.text.index("=", end) + 1
        self._value(path)

    def _keys(self) -> list[str]:
        """The parts of a dotted key; `tomllib` itself knows what quotes and escapes in it mean."""
        found = _KEY.match(self.text, self.pos)
        raw = found[0] if found else ""
        self.pos += len(raw)
        return list(_only_keys(tomllib.loads(f"{raw.strip()} = 0")))

    def _value(self, path: Path) -> None:
        self._skip_blank()
        if self.text.startswith("[", self.pos):
            self._array(path)
        elif self.text.startswith("{", self.pos):
            self._inline_table(path)
        else:
            scalar = _TEXT.match(self.text, self.pos) or _BARE.match(self.text, self.pos)
            self.pos = scalar.end() if scalar else self.pos

    def _array(self, path: Path) -> None:
        self.pos += 1
        for number in self._until("]"):
            self._note((*path, number))
            self._value((*path, number))

    def _inline_table(self, path: Path) -> None:
        self.pos += 1
        for _ in self._until("}"):
            self._pair(path)

    def _until(self, closing: str) -> Iterator[int]:
        """The places of the items before `closing`, at each of which the text stands when it is yielded."""
        number = 0
        while True:
            self._skip_blank()
            if self.text.startswith(",", self.pos):
                self.pos += 1
            elif self.text.startswith(closing, self.pos) or self.pos >= len(self.text):
                self.pos += 1
                return
            else:
                yield number
                number += 1


def _only_keys(table: object) -> Iterator[str]:
    while isinstance(table, dict):
        ((key, table),) = table.items()
        yield key
