"""Walks an RDB from its magic to its end: batches of entries as columns, every other record as a value.

Drives the core's scanner and deals with the rare opcodes at which it stops. Knows nothing of files: it is given the
mapped bytes, and raises FormatError with offsets that others put a file's name to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from rdbmerge.errors import FormatError, TruncatedError, UnsupportedError
from rdbmerge.format import codes
from rdbmerge.format.columns import BATCH_BYTES, Columns
from rdbmerge.format.core import Cursor, Scanner, Templates
from rdbmerge.format.dialects import MAGIC_BYTES, Dialect, read_dialect
from rdbmerge.format.findings import cursor_error
from rdbmerge.format.records import Aux, End, Function, HashTemplate, ModuleAux, ResizeDb
from rdbmerge.format.strings import read_length, read_string
from rdbmerge.format.values import REFUSED_TYPES, empty_table, shape_table

Record = Aux | ResizeDb | Function | ModuleAux | HashTemplate | End

_LIBRARY_NAME = re.compile(rb"#!\s*\w+[^\n]*?\bname=([^\s]+)")
_MODULE_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_DAMAGED = "the file is damaged; pull or copy it again"
_MOST_DB = 0x7FFFFFFF
_CHECKSUM_BYTES = 8
_MODULE_UINT = 2


class Walk:
    """One walk over `view`, from `start` to `end`.

    Iterating yields `Columns` (the same object again and again: use a batch before asking for the next; with a `spare`
    given, the two take turns and a batch lives until the one after the next is asked for) and records.
    A batch ends where the db changes. A walk over a part of a file (`start` given, with the `db` it lies in) stops at
    `end`; a walk over the whole file reads the magic first and stops after its End. `templates` takes in the hash
    templates of the file, and must know those that stand before a part.
    """

    def __init__(
        self,
        view: memoryview,
        *,
        columns: Columns | None = None,
        spare: Columns | None = None,
        dialect: Dialect | None = None,
        start: int = 0,
        end: int | None = None,
        db: int = 0,
        templates: Templates | None = None,
    ) -> None:
        self.view = view
        self.whole = start == 0
        self.dialect = dialect or read_dialect(bytes(view[:MAGIC_BYTES]))
        self.end = len(view) if end is None else end
        self.columns = columns or Columns()
        self.spare = spare or self.columns
        self.db = db
        self.templates = Templates() if templates is None else templates
        types = self.dialect.types
        self._scanner = Scanner(
            view,
            MAGIC_BYTES if self.whole else start,
            self.end,
            shape_table(types),
            empty_table(types),
            self.dialect.line == "redis" and self.dialect.version >= 13,
            self.templates,
        )

    @property
    def pos(self) -> int:
        """Where the next record starts; inside an entry that failed, where that entry starts."""
        return int(self._scanner.get_pos())

    @property
    def between_entries(self) -> bool:
        """Whether no attribute (an expiry, say) was read that belongs to an entry yet to come."""
        return int(self._scanner.last_end()) >= 0

    def __iter__(self) -> Iterator[Columns | Record]:
        rows = 0
        while True:
            status, rows = self._fill(rows)
            if status == codes.FULL:
                yield self._batch(rows)
                rows = 0
                continue
            if status == codes.FAILED:
                if self._at_end():
                    break
                raise self._explain()
            opcode = self.view[self.pos]
            if rows and opcode in (codes.OP_SELECTDB, codes.OP_EOF):
                yield self._batch(rows)
                rows = 0
            record = self._record(opcode)
            if record is not None:
                yield record
            if isinstance(record, End):
                return
        if rows:
            yield self._batch(rows)

    def _at_end(self) -> bool:
        """A part of a file was walked to exactly its end."""
        return not self.whole and self._scanner.get_cursor().error_pos == self.end == self._scanner.last_end()

    def _fill(self, rows: int) -> tuple[int, int]:
        status, rows = self._scanner.fill(rows, *self.columns.for_core, self.columns.capacity, BATCH_BYTES)
        return int(status), int(rows)

    def _batch(self, rows: int) -> Columns:
        batch = self.columns
        batch.rows, batch.db = rows, self.db
        self.columns, self.spare = self.spare, batch
        return batch

    def _record(self, opcode: int) -> Record | None:
        """The record at `pos`; moves the scanner behind it. None for what only servers care about."""
        start = self.pos
        pos = start + 1
        record: Record | None = None
        if opcode == codes.OP_SELECTDB:
            self.db, pos = self._db(pos)
        elif opcode == codes.OP_RESIZEDB:
            keys, pos = read_length(self.view, pos, self.end)
            expires, pos = read_length(self.view, pos, self.end)
            record = ResizeDb(self.db, keys, expires)
        elif opcode == codes.OP_AUX:
            name, pos = read_string(self.view, pos, self.end)
            value, pos = read_string(self.view, pos, self.end)
            record = Aux(name, value, start)
        elif opcode == codes.OP_FUNCTION2:
            code, pos = read_string(self.view, pos, self.end)
            name_match = _LIBRARY_NAME.match(code)
            record = Function(name_match[1] if name_match else b"", code, start)
        elif opcode == codes.OP_MODULE_AUX:
            record, pos = self._module_aux(start)
        elif opcode == codes.OP_SLOT_INFO:
            for _ in range(3):
                _, pos = read_length(self.view, pos, self.end)
        elif opcode == codes.OP_SLOT_IMPORT and self.dialect.line == "valkey":
            pos = self._slot_import(pos)
        elif opcode == codes.OP_HASH_TEMPLATE and self.dialect.line == "redis":
            record, pos = read_template(self.view, start, self.end)
            if not self.templates.add(record.number, list(record.names)):
                raise FormatError(
                    f"hash template {record.number} stands in the file twice", offset=start, remedy=_DAMAGED
                )
        elif opcode == codes.OP_EOF:
            record = self._end(pos)
            pos = record.end
        else:
            raise self._unknown(opcode, start)
        self._scanner.move_to(pos)
        return record

    def _db(self, pos: int) -> tuple[int, int]:
        db, after = read_length(self.view, pos, self.end)
        if db > _MOST_DB:
            raise FormatError(f"db {db} is beyond what a server can hold", offset=pos, remedy=_DAMAGED)
        return db, after

    def _module_aux(self, start: int) -> tuple[ModuleAux, int]:
        module_id, pos = read_length(self.view, start + 1, self.end)
        cursor = Cursor(self.view, self.end)
        after = cursor.module(pos)
        if after < 0:
            raise cursor_error(cursor, self.end)
        opcode, at = read_length(self.view, pos, self.end)
        when, _ = read_length(self.view, at, self.end)
        if opcode != _MODULE_UINT or when not in (1, 2):
            raise FormatError("module data that says neither before nor after the keys", offset=start, remedy=_DAMAGED)
        return ModuleAux(module_name(module_id), when == 1, start, after), after

    def _slot_import(self, pos: int) -> int:
        _, pos = read_string(self.view, pos, self.end)
        ranges, pos = read_length(self.view, pos, self.end)
        for _ in range(2 * ranges):
            _, pos = read_length(self.view, pos, self.end)
        return pos

    def _end(self, pos: int) -> End:
        if not self.dialect.has_checksum:
            return End(pos, None, pos)
        if self.end - pos < _CHECKSUM_BYTES:
            raise TruncatedError(
                f"the checksum of 8 bytes is missing, {self.end - pos} remain",
                offset=pos,
                remedy="pull or copy it again",
            )
        stored = int.from_bytes(self.view[pos : pos + _CHECKSUM_BYTES], "little")
        return End(pos, stored, pos + _CHECKSUM_BYTES)

    def _unknown(self, opcode: int, pos: int) -> FormatError:
        known = {
            codes.OP_FUNCTION_PRE_GA: "a function library of the 7.0 release candidates",
            codes.OP_HASH_TEMPLATE: "an update of Valkey 9.2's forkless snapshots",
        }.get(opcode)
        return UnsupportedError(
            f"opcode {opcode} is not known" + (f": {known}" if known else ""),
            offset=pos,
            remedy="use a newer rdbmerge, or pull from another version of the server",
        )

    def _explain(self) -> FormatError:
        cursor = self._scanner.get_cursor()
        error = cursor_error(cursor, self.end)
        if cursor.error_code == codes.UNKNOWN_TYPE:
            number = int(cursor.error_detail)
            why = REFUSED_TYPES.get(number) if self.dialect.line == "redis" else None
            return UnsupportedError(
                f"value type {number} is not known" + (f": {why}" if why else f" in {self.dialect}"),
                offset=error.offset,
                remedy="its end cannot be found, so nothing after it can be read;"
                " use a newer rdbmerge, or pull from another version of the server",
            )
        return error


def read_template(view: memoryview, start: int, end: int) -> tuple[HashTemplate, int]:
    """The hash template whose opcode stands at `start`, and where it ends (rdb-format.md 4 and 6.7)."""
    number, pos = read_length(view, start + 1, end)
    count, pos = read_length(view, pos, end)
    names = []
    for _ in range(count):
        name, pos = read_string(view, pos, end)
        names.append(name)
    return HashTemplate(number, tuple(names), start), pos


def module_name(module_id: int) -> str:
    """The nine characters in the upper 54 bits of a module's id (rdb-format.md 6.5)."""
    return "".join(_MODULE_LETTERS[module_id >> (58 - 6 * i) & 63] for i in range(9))
