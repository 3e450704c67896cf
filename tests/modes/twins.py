"""The format room twice in one process: as it was loaded, and once more with its core interpreted."""

from __future__ import annotations

import dataclasses
import importlib
import os
import sys
from collections.abc import Sequence
from functools import cache, partial
from itertools import accumulate
from types import ModuleType
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from forms import TEMPLATES, Form

from rdbmerge.errors import FormatError
from rdbmerge.plan.profile import TargetProfile, find_profile

ROOM = "rdbmerge.format"
HOUR = 3_600_000
COLUMNS = ("type", "flags", "expire_at_ms", "hint", "entry_start", "key_start", "key_len", "value_start", "end")
CHANGES: list[dict[str, Any]] = [
    {},
    {"ttl_offset_ms": 3 * HOUR},
    {"ttl_offset_ms": -(1 << 47), "key_prefix": b"p:"},
    {"key_prefix": b"p" * 70, "fields_dead_before_ms": 1_900_000_000_000},
    {"ttl_offset_ms": 1, "fields_dead_before_ms": 2_000_000_000_001},
]
TARGETS = [find_profile(name) for name in ("redis-6.2", "redis-2.8", "valkey-9.1")]
TEMPLATED = (30, 32)  # types whose values depend on records before the first db
# How values may count: all of them; with what was done to fields; as an old target can hold them.
MEANINGS: list[dict[str, Any]] = [
    {},
    {"ttl_offset_ms": 3 * HOUR, "fields_dead_before_ms": 2_000_000_000_001, "stream_level": 3},
    {"without_field_times": True, "stream_level": 1},
]


@dataclasses.dataclass(frozen=True)
class Questions:
    """What a story tells: batches under these changes; each entry as targets load it, and as what it means."""

    changes: Sequence[dict[str, Any]] = ()
    targets: Sequence[TargetProfile] = ()
    meanings: Sequence[dict[str, Any]] = ()
    told_of: dict[int, set[Any]] | None = None  # by room: entries that are not told of again

    def is_new(self, room: dict[str, ModuleType], walk: Any, batch: Any, row: int) -> bool:
        """Whether the very entry was not told of before: most files here differ from others in one place only."""
        if self.told_of is None:
            return True
        start, end = int(batch.entry_start[row]), int(batch.end[row])
        templates = bytes(walk.view[:start]).partition(b"\xfe")[0] if int(batch.type[row]) in TEMPLATED else b""
        entry = (walk.dialect.line, walk.dialect.version, templates, bytes(walk.view[start:end]))
        told_of = self.told_of.setdefault(id(room), set())
        is_new = entry not in told_of
        told_of.add(entry)
        return is_new


OF_ENTRIES = Questions(targets=TARGETS, meanings=MEANINGS, told_of={})
ALL = dataclasses.replace(OF_ENTRIES, changes=CHANGES)


@cache
def rooms() -> tuple[dict[str, ModuleType], dict[str, ModuleType]]:
    """Modules by name: with the compiled core, with the interpreted one. Skips where there is nothing to compare."""
    names = (
        "core",
        "columns",
        "commands",
        "decode",
        "dialects",
        "digest",
        "emit",
        "fields",
        "forms",
        "replies",
        "scan",
        "strings",
        "values",
    )
    loaded = {name: importlib.import_module(f"{ROOM}.{name}") for name in names}
    if not loaded["core"].COMPILED:
        pytest.skip("the compiled core is absent, or left aside in this run: there is nothing to compare")
    package = importlib.import_module(ROOM)
    bound = {name: module for name, module in vars(package).items() if isinstance(module, ModuleType)}
    with patch.dict(sys.modules), patch.dict(os.environ, {"RDBMERGE_PURE": "1"}):
        os.environ.pop("RDBMERGE_REQUIRE_COMPILED", None)
        for name in [name for name in sys.modules if name.startswith(f"{ROOM}.")]:
            del sys.modules[name]
        for name in bound:  # `from rdbmerge.format import fields` looks here first
            delattr(package, name)
        interpreted = {name: importlib.import_module(f"{ROOM}.{name}") for name in names}
    for name, module in bound.items():
        setattr(package, name, module)
    assert not interpreted["core"].COMPILED
    assert sys.modules[f"{ROOM}.core"] is loaded["core"]
    return loaded, interpreted


def told(error: FormatError) -> tuple[str, str, int, str]:
    return type(error).__name__, str(error), error.offset, error.remedy


def attempt(task: Any) -> Any:
    """What a task gives, or how it fails."""
    try:
        return task()
    except FormatError as error:
        return told(error)


def story(room: dict[str, ModuleType], data: bytes, *, capacity: int = 5, asked: Questions = ALL) -> list[Any]:
    """All that the room says of a file: rows, records, values, hashes, digests, emitted bytes, and how it ends."""
    view = memoryview(data)
    said: list[Any] = []
    try:
        walk = room["scan"].Walk(view, columns=room["columns"].Columns(capacity))
    except FormatError as error:
        return [told(error)]
    values = room["decode"].Values(view, walk.dialect, walk.templates, name="it.rdb")
    try:
        for item in walk:
            if isinstance(item, room["columns"].Columns):
                said.append(_of_batch(room, walk, item, asked.changes))
                fresh = [row for row in range(item.rows) if asked.is_new(room, walk, item, row)]
                said += [decoding(values, *place_of(item, row)) for row in fresh]
                said += [_recoded(room, walk, item, fresh, profile) for profile in asked.targets if fresh]
                said += [_meant(room, walk, item, fresh, rules) for rules in asked.meanings if fresh]
            else:
                said.append((type(item).__name__, dataclasses.astuple(item)))
    except FormatError as error:
        cursor = walk._scanner.get_cursor()
        said += [told(error), (int(cursor.error_code), int(cursor.error_pos), int(cursor.error_detail))]
    said.append((walk.pos, int(walk._scanner.last_end())))
    return said


def decoding(values: Any, number: int, start: int, end: int) -> list[Any]:
    """What a value is decoded to, whole and item by item, each with its failure."""
    items: list[Any] = []

    def one_by_one() -> None:
        for item in values.items(number, start, end):
            items.append(plain(item))

    return [attempt(lambda: plain(values.value(number, start, end))), attempt(one_by_one), items]


def plain(value: Any) -> Any:
    """A value without the classes of its room; what is equal but not the same (0.0, its order) stays apart."""
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, set):
        return sorted(value)
    if isinstance(value, dict):
        items = [(key, plain(item)) for key, item in value.items()]
        return type(value).__name__, items, getattr(value, "expire_at_ms", None)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if dataclasses.is_dataclass(value):
        fields = {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return type(value).__name__, fields
    return value


def _of_batch(room: dict[str, ModuleType], walk: Any, batch: Any, changes: Any) -> list[Any]:
    view, dialect, templates, rows = walk.view, walk.dialect, walk.templates, batch.rows
    said: list[Any] = [(batch.db, rows), *(getattr(batch, name)[:rows].tolist() for name in COLUMNS)]
    said.append(attempt(lambda: batch.hash_keys(view).tolist()))
    for rules in changes:
        change, reading, table = _prepared(room["emit"], room["digest"], dialect, tuple(rules.items()))
        digester = room["digest"].Digester(view, reading, table, templates)
        for left_out in (np.zeros(rows, np.uint8), (np.arange(rows) % 3 == 1).astype(np.uint8)):
            said.append(attempt(partial(_emitted, room, view, batch, left_out, change)))
            digest = partial(digester.digest, batch, left_out)
            said.append(attempt(lambda digest=digest: dataclasses.astuple(digest())))
        said.append(attempt(partial(_commanded, room, view, batch, left_out, change)))
    return said


@cache
def _prepared(emit: ModuleType, digest: ModuleType, dialect: Any, rules: tuple[Any, ...]) -> tuple[Any, Any, Any]:
    """What is the same for every batch of a line: most of the time would go into tables of 256 types."""
    reading = digest.Reading(dialect=dialect, **dict(rules))
    return emit.Change(dialect=dialect, **dict(rules)), reading, reading.meaning_table()


def place_of(batch: Any, row: int) -> tuple[int, int, int]:
    return int(batch.type[row]), int(batch.value_start[row]), int(batch.end[row])


def _recoded(room: dict[str, ModuleType], walk: Any, batch: Any, rows: list[int], profile: TargetProfile) -> Any:
    """Each row by itself as a target is to load it: its bytes, or what is wrong with it."""
    none = room["forms"].NONE
    loader = room["emit"].Loader(
        line=profile.line, types=profile.types, hints=profile.hints, key_metadata=profile.key_metadata,
        long_lengths=profile.long_lengths,
    )  # fmt: skip
    change = room["emit"].Change(dialect=walk.dialect, loader=loader, ttl_offset_ms=HOUR, templates=walk.templates)
    emission = room["emit"].Emission(walk.view, batch, change)
    said = []
    for row in rows:
        forms = change.plain_forms if emission.long_rows[row] else change.forms
        others = (np.arange(batch.rows) != row).astype(np.uint8)
        if forms[int(batch.type[row])] != none:
            said.append(attempt(partial(_pieces, emission, others)))
    return said


def _meant(room: dict[str, ModuleType], walk: Any, batch: Any, rows: list[int], rules: dict[str, Any]) -> Any:
    """The hash of each row's value by what it means, or what is wrong with it; and the digest of the batch."""
    stream = room["values"].Logical.STREAM
    every = [kind for kind in room["values"].Logical if kind <= stream]
    reading = room["digest"].Reading(dialect=walk.dialect, by_meaning=every, **rules)
    meaning = reading.meaning(walk.view, walk.templates)
    said = []
    for row in rows:
        number, start, end = place_of(batch, row)
        if walk.dialect.types[number].logical <= stream:
            value = meaning.of(number, start, end, start)
            cursor = meaning.get_reader().get_cursor()
            error = (int(cursor.error_code), int(cursor.error_pos), int(cursor.error_detail))
            said.append(error if meaning.has_failed() else int(value))
    digester = room["digest"].Digester(walk.view, reading, reading.meaning_table(), walk.templates)
    said.append(attempt(lambda: dataclasses.astuple(digester.digest(batch, np.zeros(batch.rows, np.uint8)))))
    return said


def _emitted(room: dict[str, ModuleType], view: memoryview, batch: Any, left_out: Any, change: Any) -> Any:
    return _pieces(room["emit"].Emission(view, batch, change), left_out)


def _commanded(room: dict[str, ModuleType], view: memoryview, batch: Any, left_out: Any, change: Any) -> Any:
    """The commands that restore a batch, in one of two ways of telling expiries, and which rows were dead by then."""
    said: list[Any] = []
    absolute = bool(change.key_prefix)
    form = room["commands"].RestoreForm(absolute=absolute, hints=absolute, replace=not absolute, deletes=not absolute)
    restoration = room["commands"].Restoration(room["emit"].Emission(view, batch, change), form)
    wanted = (left_out == 0).astype(np.uint8)
    try:
        for some in restoration.batches(wanted, lambda: 1_000_000_000_000, bytearray(500), asking=absolute):
            said.append((b"".join(bytes(piece) for piece in some.pieces), some.rows.tolist()))
    except AssertionError as error:
        if "without live fields" not in str(error):
            raise
        said.append(str(error))
    return [*said, wanted.tolist()]


def _pieces(emission: Any, left_out: Any) -> Any:
    try:
        size = emission.measure(left_out)
        out = b"".join(bytes(piece) for piece in emission.pieces(left_out, bytearray(150)))
    except AssertionError as error:
        if "without live fields" not in str(error):
            raise
        return str(error)  # the plan would have left it out, this test does not
    assert len(out) == size
    return out


def assert_alike(data: bytes, **options: Any) -> list[Any]:
    """Both rooms tell the same story of `data`; returns it."""
    compiled, interpreted = rooms()
    one, other = story(compiled, data, **options), story(interpreted, data, **options)
    assert one == other
    return one


def decoded_alike(form: Form, payloads: Sequence[bytes]) -> list[Any]:
    """Both rooms decode these payloads of the form's type alike; returns what they say of each."""
    whole = memoryview(b"".join(payloads))
    stops = list(accumulate(map(len, payloads)))
    said = []
    for room in rooms():
        dialect = room["dialects"].read_dialect(form.dialect.magic)
        held = room["core"].Templates()
        for number, names in TEMPLATES.items():
            held.add(number, names)
        values = room["decode"].Values(whole, dialect, held, name="it.rdb")
        places = zip([0, *stops], stops, strict=False)
        said.append([decoding(values, form.number, start, end) for start, end in places])
    for payload, one, other in zip(payloads, *said, strict=True):
        assert one == other, payload.hex()
    return said[0]
