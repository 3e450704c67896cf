"""What differs between an entry of a source and the entry of the merged file that should be it.

Compares bytes, not hashes; values that may be stored in another form are decoded on both sides and compared as what
they mean (`meaning`). Values are never shown: only their sizes, and where they begin to differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rdbmerge.errors import FormatError
from rdbmerge.format import codes
from rdbmerge.format.decode import Values, item_failure
from rdbmerge.format.digest import Reading, key_metadata
from rdbmerge.format.logical import Value
from rdbmerge.format.values import Logical, ValueType
from rdbmerge.snapshot.segment import Segment
from rdbmerge.units import escape_key, format_instant
from rdbmerge.verify import entries
from rdbmerge.verify.entries import Entries, shifted_all, spans_equal
from rdbmerge.verify.expectation import Line
from rdbmerge.verify.meaning import difference_of, expected_value
from rdbmerge.verify.origin import EXPECTED, VERDICT_WORDS
from rdbmerge.verify.report import Difference

if TYPE_CHECKING:
    from rdbmerge.verify.report import DifferenceKind

Note = Callable[[Difference], None]
Mask = NDArray[np.bool_]

_HINTS = codes.HAS_IDLE | codes.HAS_FREQ
_WHOLE_BYTES = 64 << 20  # values up to this size are decoded whole
_LOST_WORDS = "lost a conflict to another source"


class Comparison:
    """Compares entries of the lines (`origin` of an entry is the place of its line) with entries of the merged file."""

    def __init__(self, merged: Segment, reading: Reading, lines: Sequence[Line]) -> None:
        self.merged = merged
        self.reading = reading
        self.lines = lines
        self.meanings = reading.meaning_table() != 0
        self.values = Values(merged.view, merged.dialect, merged.templates, name=merged.name)

    def expected_key(self, entry: Entries) -> bytes:
        """The key an entry of a source should have in the merged file."""
        return self.lines[int(entry["origin"])].origin.prefix + entries.key_of(self._view(entry), entry)

    def found_key(self, entry: Entries) -> bytes:
        """The key of an entry of the merged file."""
        return entries.key_of(self.merged.view, entry)

    def _view(self, entry: Entries) -> memoryview:
        return self.lines[int(entry["origin"])].origin.segment.view

    def same_keys(self, expected: Entries, found: Entries) -> Mask:
        """Whether the keys of pairs are really equal, and their dbs."""
        encoded = ((expected["flags"] | found["flags"]) & codes.KEY_ENCODED) != 0
        same: Mask = expected["db"] == found["db"]
        for place, rows in self._by_line(expected, same & ~encoded):
            same[rows] = self._same_plain_keys(self.lines[place], expected[rows], found[rows])
        for row in np.flatnonzero(same & encoded).tolist():
            same[row] = self.expected_key(expected[row]) == self.found_key(found[row])
        return same

    def _same_plain_keys(self, line: Line, ours: Entries, theirs: Entries) -> Mask:
        """Whether each of their keys, none of which is encoded, is the line's prefix and our key."""
        prefix = line.origin.prefix
        starts = theirs["value"] - theirs["key_len"]
        rests = np.minimum(starts + len(prefix), theirs["value"])
        same = spans_equal(
            line.origin.segment.view, ours["value"] - ours["key_len"], ours["value"], self.merged.view, rests,
            theirs["value"],
        )  # fmt: skip
        if prefix:
            zeros = np.zeros(len(ours), np.int64)
            same &= spans_equal(self.merged.view, starts, rests, memoryview(prefix), zeros, zeros + len(prefix))
        return same

    def _by_line(self, expected: Entries, among: Mask) -> list[tuple[int, NDArray[np.intp]]]:
        return [
            (place, rows)
            for place in np.unique(expected["origin"]).tolist()
            if len(rows := np.flatnonzero(among & (expected["origin"] == place)))
        ]

    def compare(self, expected: Entries, found: Entries, note: Note) -> None:
        """Note every difference between pairs of one key."""
        for place, rows in self._by_line(expected, np.ones(len(expected), bool)):
            self._compare_line(self.lines[place], expected[rows], found[rows], note)

    def _compare_line(self, line: Line, ours: Entries, theirs: Entries, note: Note) -> None:
        other_type = self._note_types(line, ours, theirs, note)
        wanted = shifted_all(ours["expire"], line.origin.times.ttl_offset_ms)
        for row in np.flatnonzero(wanted != theirs["expire"]).tolist():
            texts = _instant(int(wanted[row])), _instant(int(theirs["expire"][row]))
            self._note(note, "expiry", line, theirs[row], *texts)
        hints = _HINTS & ~self.reading.ignored_flags
        other_hint = ((ours["flags"] ^ theirs["flags"]) & hints) != 0
        other_hint |= (ours["hint"] != theirs["hint"]) & ((theirs["flags"] & hints) != 0)
        for row in np.flatnonzero(other_hint).tolist():
            self._note(note, "hint", line, theirs[row], _hint(ours[row]), _hint(theirs[row]))
        meta = ((ours["flags"] | theirs["flags"]) & (codes.HAS_META & ~self.reading.ignored_flags)) != 0
        for row in np.flatnonzero(meta).tolist():
            if _metadata(line.origin.segment.view, ours[row]) != _metadata(self.merged.view, theirs[row]):
                self._note(note, "metadata", line, theirs[row], "the source's key metadata", "other key metadata")
        self._compare_values(line, ours[~other_type], theirs[~other_type], note)

    def _note_types(self, line: Line, ours: Entries, theirs: Entries, note: Note) -> Mask:
        """Note other types; where the form may change, only another logical type is one."""
        types, found = line.origin.segment.dialect.types, self.merged.dialect.types
        logical, found_logical = _logical_table(types), _logical_table(found)
        other: Mask = logical[ours["type"]] != found_logical[theirs["type"]]
        other |= (ours["type"] != theirs["type"]) & ~_changeable(types, self.reading)[ours["type"]]
        for row in np.flatnonzero(other).tolist():
            texts = types[int(ours["type"][row])].name, self._type_name(theirs[row])
            self._note(note, "type", line, theirs[row], *texts)
        return other

    def _compare_values(self, line: Line, ours: Entries, theirs: Entries, note: Note) -> None:
        by_meaning = self.meanings[theirs["type"]]
        same = spans_equal(
            line.origin.segment.view, ours["value"], ours["end"], self.merged.view, theirs["value"], theirs["end"]
        )
        for row in np.flatnonzero(~by_meaning & ~same).tolist():
            self._note(note, "value", line, theirs[row], *self._values(line, ours[row], theirs[row]))
        for row in np.flatnonzero(by_meaning).tolist():
            self._compare_meaning(line, ours[row], theirs[row], note)
        self._open(line, theirs[~by_meaning & same], note)

    def _compare_meaning(self, line: Line, ours: Entries, theirs: Entries, note: Note) -> None:
        origin = line.origin
        values = Values(origin.segment.view, origin.segment.dialect, origin.segment.templates, name=origin.name)
        wanted = expected_value(_value(values, ours), origin.reading, int(ours["type"]))
        try:
            there = _value(self.values, theirs)
        except FormatError as error:
            self._note(note, "value", line, theirs, "a value that decodes", str(error))
            return
        difference = difference_of(wanted, expected_value(there, self.reading, int(theirs["type"])))
        if difference is not None:
            self._note(note, difference.kind, line, theirs, difference.expected, difference.found)

    def _open(self, line: Line, theirs: Entries, note: Note) -> None:
        """Decode values that are copies of a source's bytes: what damage the source had is found here.

        The largest are read item by item only, so that they take no memory: that they hold no member twice, and that
        the groups of a stream fit together, is then not looked at.
        """
        types = self.merged.dialect.types
        meaning = self.reading.meaning(self.merged.view, self.merged.templates)
        for entry in theirs:
            number, start, end = int(entry["type"]), int(entry["value"]), int(entry["end"])
            try:
                if end - start > _WHOLE_BYTES and types[number].logical <= Logical.STREAM:
                    meaning.of(number, start, end, 0)
                    if meaning.has_failed():
                        raise item_failure(meaning.get_reader())
                else:
                    self.values.value(number, start, end)
            except FormatError as error:
                self._note(note, "damaged", line, entry, "a value that decodes", str(error))

    def name_missing(self, missing: Entries, unexpected: Entries, note: Note) -> None:
        """Note expected entries that the merged file does not hold, and where it holds their keys instead."""
        elsewhere = {int(entry["hash"]): int(entry["db"]) for entry in unexpected}
        for entry in missing:
            line = self.lines[int(entry["origin"])]
            db = elsewhere.get(int(entry["hash"]))
            found = "nothing" if db is None or db == int(entry["db"]) else f"nothing; the key is in db {db}"
            note(
                _difference("missing", int(entry["db"]), self.expected_key(entry), line.origin.name, "the entry", found)
            )

    def name_unexpected(self, unexpected: Entries, ours: Entries, note: Note) -> None:
        """Note entries of the merged file that should not be there, and why not."""
        related = ours[np.isin(ours["hash"], unexpected["hash"])]
        known: dict[int, list[Entries]] = {}
        for entry in related:
            known.setdefault(int(entry["hash"]), []).append(entry)
        for entry in unexpected:
            source, why = self._why_not(entry, known.get(int(entry["hash"]), ()))
            note(_difference("unexpected", int(entry["db"]), self.found_key(entry), source, why, "the entry"))

    def _why_not(self, entry: Entries, candidates: Sequence[Entries]) -> tuple[str | None, str]:
        for other in sorted(candidates, key=lambda other: int(other["db"]) != int(entry["db"])):
            if self.expected_key(other) != self.found_key(entry):
                continue
            name, verdict = self.lines[int(other["origin"])].origin.name, int(other["verdict"])
            if int(other["db"]) != int(entry["db"]):
                return name, f"nothing here: it belongs in db {int(other['db'])}"
            if verdict == EXPECTED:
                return name, "the key once"
            return name, f"nothing: {VERDICT_WORDS.get(verdict, _LOST_WORDS)}"
        return None, "nothing: no source has this key"

    def _values(self, line: Line, ours: Entries, theirs: Entries) -> tuple[str, str]:
        a = line.origin.segment.view[int(ours["value"]) : int(ours["end"])]
        b = self.merged.view[int(theirs["value"]) : int(theirs["end"])]
        size = min(len(a), len(b))
        differs = np.flatnonzero(np.frombuffer(a[:size], np.uint8) != np.frombuffer(b[:size], np.uint8))
        at = int(differs[0]) if len(differs) else size
        return f"{len(a):,} bytes", f"{len(b):,} bytes, other from byte {at:,} of the value on"

    def _type_name(self, entry: Entries) -> str:
        return self.merged.dialect.types[int(entry["type"])].name

    def _note(self, note: Note, kind: DifferenceKind, line: Line, entry: Entries, expected: str, found: str) -> None:
        note(_difference(kind, int(entry["db"]), self.found_key(entry), line.origin.name, expected, found))


def _value(values: Values, entry: Entries) -> Value:
    return values.value(int(entry["type"]), int(entry["value"]), int(entry["end"]))


def _logical_table(types: Mapping[int, ValueType]) -> NDArray[np.int16]:
    return np.array([int(types[number].logical) if number in types else -1 for number in range(256)], np.int16)


def _changeable(types: Mapping[int, ValueType], reading: Reading) -> Mask:
    """256 cells: the types whose form may be another in the merged file."""
    return np.array([number in types and types[number].logical in reading.by_meaning for number in range(256)])


def _difference(kind: DifferenceKind, db: int, key: bytes, source: str | None, expected: str, found: str) -> Difference:
    return Difference(
        kind=kind, db=db, key=escape_key(key), key_base64=key, source=source, expected=expected, found=found
    )


def _instant(at_ms: int) -> str:
    return "never" if at_ms == codes.NO_EXPIRY else f"{at_ms} ms ({format_instant(at_ms)})"


def _hint(entry: Entries) -> str:
    flags = int(entry["flags"])
    if not flags & _HINTS:
        return "none"
    return f"{'idle s' if flags & codes.HAS_IDLE else 'frequency'} {int(entry['hint'])}"


def _metadata(view: memoryview, entry: Entries) -> bytes:
    if not int(entry["flags"]) & codes.HAS_META:
        return b""
    return bytes(key_metadata(view, int(entry["entry"]), int(entry["key"])))
