"""Many keys asked for in one go, and what a server answers: pages of SCAN, dumps as entries of an RDB in memory.

Makes the bytes of commands and takes those of replies, in whatever pieces they come; who carries them is not known.
A dump is checked before it becomes an entry: stamp, CRC-64, and that its value ends where the dump does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rdbmerge.errors import FormatError
from rdbmerge.format import codes
from rdbmerge.format.columns import Columns
from rdbmerge.format.core import hash_keys, read_keys, take_dumps, write_asks
from rdbmerge.format.dialects import MAGIC_BYTES, Dialect
from rdbmerge.format.dump import FOOTER_BYTES, after_metadata, stamp_dialect
from rdbmerge.format.scan import Walk
from rdbmerge.format.strings import string_bytes
from rdbmerge.format.values import REFUSED_TYPES

_ROOM_BYTES = 1 << 20
_LEAST_FREE_BYTES = 1 << 16
_KEPT_BYTES = 32 << 20  # larger rooms are given back once they are empty
_ASK_BYTES = 24  # what a command has besides its head and its key
_ENTRY_BYTES = 19  # expiry, type, and the length of a key
_SHOWN_BYTES = 40
_PAGE = re.compile(rb"\*2\r\n\$\d{1,3}\r\n(\d{1,20})\r\n\*(\d{1,9})\r\n")
_PAGE_HEAD_BYTES = 64
_TIME = re.compile(rb"\*2\r\n\$\d{1,2}\r\n(\d{1,15})\r\n\$\d\r\n(\d{1,6})\r\n")
_TIME_BYTES = 48

Places = NDArray[np.int64]
Bytes = bytes | bytearray | memoryview


class RefusedError(Exception):
    """A server answered with an error; `line` is that answer, without its "-" and its end."""

    def __init__(self, line: bytes) -> None:
        super().__init__(line.decode("utf-8", "backslashreplace"))
        self.line = line


class GarbledError(Exception):
    """What came is no reply to what was asked; `said` are its first bytes."""

    def __init__(self, said: bytes) -> None:
        super().__init__(repr(said)[1:])
        self.said = said


class Inbox:
    """Bytes that came and are not used yet: filled at the end, used up from the start."""

    def __init__(self) -> None:
        self._room = bytearray(_ROOM_BYTES)
        self.view = memoryview(self._room)
        self.start = 0
        self.end = 0
        self.wanted = 0  # bytes that are known to be needed at once

    def free(self) -> memoryview:
        """Where the next bytes go: at least 64 KB. Grows only by what has come, whatever a length promises."""
        if self.start == self.end:
            self.start = self.end = 0
            if len(self.view) > _KEPT_BYTES:
                self._move(_ROOM_BYTES)
        if len(self.view) - self.end < _LEAST_FREE_BYTES:
            held = self.end - self.start
            grown = min(2 * held, self.wanted) if self.wanted > held else 2 * held
            self._move(max(_ROOM_BYTES, grown + _LEAST_FREE_BYTES))
        return self.view[self.end :]

    def _move(self, size_bytes: int) -> None:
        held = self.view[self.start : self.end]
        room = bytearray(size_bytes) if size_bytes != len(self.view) else self._room
        room[: len(held)] = bytes(held) if room is self._room else held
        self.start, self.end = 0, len(held)
        self._room, self.view = room, memoryview(room)

    def put(self, data: bytes) -> None:
        """Take bytes that are at hand."""
        done = 0
        while done < len(data):
            room = self.free()
            size = min(len(room), len(data) - done)
            room[:size] = data[done : done + size]
            self.received(size)
            done += size

    def received(self, count: int) -> None:
        """So many bytes were put into `free()`."""
        self.end += count

    def peek(self, most: int) -> bytes:
        """The first bytes, at most so many."""
        return bytes(self.view[self.start : min(self.start + most, self.end)])

    def used(self, count: int) -> None:
        """The first `count` bytes are done with."""
        self.start += count

    def refusal(self) -> RefusedError | None:
        """The error that stands first, used up; None while its line has not ended."""
        line = self.peek(self.end - self.start).partition(b"\n")
        if not line[1]:
            return None
        self.used(len(line[0]) + 1)
        return RefusedError(line[0][1:].rstrip(b"\r"))


@dataclass(frozen=True, slots=True)
class Keys:
    """Some keys: where each lies in `data`."""

    data: Bytes
    starts: Places
    ends: Places

    def __len__(self) -> int:
        return len(self.starts)

    def key(self, row: int) -> bytes:
        """One of them."""
        return bytes(self.data[int(self.starts[row]) : int(self.ends[row])])

    @property
    def size_bytes(self) -> int:
        """All of them together."""
        return int((self.ends - self.starts).sum())

    def hashes(self) -> NDArray[np.uint64]:
        """XXH64 of each."""
        rows = len(self)
        out = np.empty(rows, np.uint64)
        lengths = (self.ends - self.starts).astype(np.uint32)
        hash_keys(self.data, np.zeros(rows, np.uint8), self.starts, lengths, self.ends, out, rows)
        return out

    def chosen(self, rows: NDArray[np.intp]) -> Keys:
        """Those of some rows."""
        return Keys(self.data, self.starts[rows], self.ends[rows])


def join_keys(keys: Sequence[bytes]) -> Keys:
    """Keys that are at hand as such."""
    ends = np.cumsum([len(key) for key in keys], dtype=np.int64) if keys else np.empty(0, np.int64)
    starts = ends - np.array([len(key) for key in keys], np.int64)
    return Keys(b"".join(keys), starts, ends)


def keys_of_rows(view: memoryview, columns: Columns, rows: NDArray[np.intp], prefix: bytes = b"") -> Keys:
    """The keys of some rows of a batch, with `prefix` before them. Raises FormatError for one that does not unpack."""
    ends = columns.value_start[rows]
    starts = ends - columns.key_len[rows]
    encoded = (columns.flags[rows] & codes.KEY_ENCODED) != 0
    if not prefix and not encoded.any():
        return Keys(view, starts, ends)
    spans = zip(rows.tolist(), starts.tolist(), ends.tolist(), encoded.tolist(), strict=True)
    return join_keys(
        [prefix + (columns.key(view, row) if odd else bytes(view[start:end])) for row, start, end, odd in spans]
    )


def command(*words: bytes) -> bytes:
    """One command."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def scan_command(cursor: int, count: int) -> bytes:
    """The command for the next page."""
    return command(b"SCAN", b"%d" % cursor, b"COUNT", b"%d" % count)


@dataclass(frozen=True, slots=True)
class Page:
    """One answer of SCAN; a `cursor` of 0 says that it was the last."""

    cursor: int
    keys: Keys


def take_page(inbox: Inbox) -> Page | None:
    """The page that stands first, used up; None while it is not all there. Raises RefusedError, GarbledError."""
    said = inbox.peek(_PAGE_HEAD_BYTES)
    head = _PAGE.match(said)
    if head is None:
        _refuse_other(inbox, said, _PAGE_HEAD_BYTES)
        return None
    # The smallest key takes six bytes: what a server only claims to send takes no memory here.
    count, first = int(head[2]), inbox.start + head.end()
    if 6 * count > inbox.end - first:
        return None
    starts, ends = np.empty(count, np.int64), np.empty(count, np.int64)
    stop = read_keys(inbox.view, first, inbox.end, count, starts, ends)
    if stop == codes.INCOMPLETE:
        return None
    if stop == codes.GARBLED:
        raise GarbledError(said)
    data = bytes(inbox.view[first:stop])
    inbox.used(stop - inbox.start)
    return Page(int(head[1]), Keys(data, starts - first, ends - first))


def take_time_ms(inbox: Inbox) -> int | None:
    """The answer of TIME in Unix milliseconds; None while it is not all there. Raises RefusedError, GarbledError."""
    said = inbox.peek(_TIME_BYTES)
    found = _TIME.match(said)
    if found is None:
        _refuse_other(inbox, said, _TIME_BYTES)
        return None
    inbox.used(found.end())
    return int(found[1]) * 1_000 + int(found[2]) // 1_000


def _refuse_other(inbox: Inbox, said: bytes, enough: int) -> None:
    """Raise for what is no reply of the shape that was wanted, once that is sure."""
    if said[:1] == b"-":
        refusal = inbox.refusal()
        if refusal is not None:
            raise refusal
    elif (said and said[:1] != b"*") or len(said) >= enough:
        raise GarbledError(said[:_SHOWN_BYTES])


class Dumps:
    """DUMP and expiry of some keys between two looks at the server's clock: the question, then the answers.

    `absolute`: the server knows PEXPIRETIME (Redis 7.0), so that expiries are exact; else they are TIME + PTTL, by the
    clock at the beginning: early by at most what lies between `asked_at_ms` and `done_at_ms`, never late.
    `status` says of each key what became of it, `errors` in which words. Entries lie in `image` from `entry_start` on.
    """

    def __init__(self, keys: Keys, *, absolute: bool) -> None:
        count = len(keys)
        self.keys = keys
        self.absolute = absolute
        self.status = np.full(count, codes.GONE, np.uint8)
        self.entry_start = np.zeros(count, np.int64)
        self.stamps = np.zeros(count, np.uint16)
        self.errors: dict[int, bytes] = {}
        self.asked_at_ms: int | None = None
        self.done_at_ms: int | None = None
        self.image = bytearray()
        self.end = MAGIC_BYTES  # of the entries; what a walk takes for a magic stands before them
        self._places = np.zeros(count, np.int64)
        self._row = 0
        self._enough = 0  # bytes that must have come before another answer can be taken

    def commands(self) -> memoryview:
        """What to send."""
        time = command(b"TIME")
        life = b"PEXPIRETIME" if self.absolute else b"PTTL"
        heads = tuple(b"*2\r\n$%d\r\n%s\r\n" % (len(word), word) for word in (b"DUMP", life))
        count = len(self.keys)
        room = bytearray(
            2 * len(time) + count * (sum(map(len, heads)) + 2 * _ASK_BYTES) + 2 * self.keys.size_bytes
        )  # fmt: skip
        view = memoryview(room)
        view[: len(time)] = time
        body = view[len(time) :]
        size = write_asks(self.keys.data, self.keys.starts, self.keys.ends, 0, count, heads, body)
        body[size : size + len(time)] = time
        return view[: size + 2 * len(time)]

    def take(self, inbox: Inbox) -> bool:
        """Use up what has come; True when nothing more is to come. Raises RefusedError (of TIME), GarbledError."""
        if self.asked_at_ms is None:
            self.asked_at_ms = take_time_ms(inbox)
            if self.asked_at_ms is None:
                return False
        if self._row < len(self.keys):
            self._take_rows(inbox, self.asked_at_ms)
        if self._row == len(self.keys):
            self.done_at_ms = take_time_ms(inbox)
        return self.done_at_ms is not None

    def _take_rows(self, inbox: Inbox, asked_at_ms: int) -> None:
        keys, first, start = self.keys, self._row, inbox.start
        if inbox.end - start < self._enough:
            return
        self._make_room(inbox.end - start)
        row, stop, end = take_dumps(
            inbox.view, start, inbox.end, keys.data, keys.starts, keys.ends, first, len(keys),
            0 if self.absolute else asked_at_ms, self.image, self.end, self.status, self.entry_start, self._places,
            self.stamps,
        )  # fmt: skip
        if stop == codes.GARBLED:
            at = int(self._places[row])
            raise GarbledError(bytes(inbox.view[at : min(at + _SHOWN_BYTES, inbox.end)]))
        self.end = end
        for odd in (first + np.flatnonzero(self.status[first:row] > codes.GONE)).tolist():
            self._odd(inbox, odd, asked_at_ms)
        self._row = row
        inbox.used(stop - start)
        if row < len(keys):
            # What has come of a large value is not looked at again before all of it is there.
            left = inbox.end - stop
            inbox.wanted = self._enough = left + (int(self._places[row]) if left else 1)

    def _make_room(self, more_bytes: int) -> None:
        """For all that `more_bytes` of replies can become."""
        left = len(self.keys) - self._row
        need = self.end + more_bytes + int((self.keys.ends - self.keys.starts)[self._row :].sum()) + _ENTRY_BYTES * left
        if need > len(self.image):
            larger = bytearray(max(need, 2 * self.end))
            larger[: self.end] = memoryview(self.image)[: self.end]
            self.image = larger

    def _odd(self, inbox: Inbox, row: int, asked_at_ms: int) -> None:
        """Deal with what is rare: errors, damage, metadata at the key."""
        at, size = int(self._places[row]), int(self.entry_start[row])
        if self.status[row] == codes.REFUSED:
            self.errors[row] = bytes(inbox.view[at + 1 : inbox.end]).partition(b"\n")[0].rstrip(b"\r")
        elif self.status[row] == codes.DAMAGED:
            self.errors[row] = b"its checksum does not fit the %d bytes of the dump" % size
        else:
            self._take_with_metadata(bytes(inbox.view[at : at + size - FOOTER_BYTES]), inbox, row, asked_at_ms)

    def _take_with_metadata(self, value: bytes, inbox: Inbox, row: int, asked_at_ms: int) -> None:
        try:
            split = after_metadata(memoryview(value), len(value))
        except FormatError as error:
            self.status[row], self.errors[row] = codes.DAMAGED, error.finding.encode()
            return
        said = bytes(inbox.view[int(self._places[row]) + len(value) + FOOTER_BYTES :][:_TIME_BYTES])
        life = int(said[3:].partition(b"\r")[0])  # behind the end of the dump: \r\n:number\r\n
        head = b""
        if life >= 0:
            expire_at_ms = life if self.absolute else asked_at_ms + life
            head = bytes((codes.OP_EXPIRETIME_MS,)) + expire_at_ms.to_bytes(8, "little")
        entry = head + value[: split + 1] + string_bytes(self.keys.key(row)) + value[split + 1 :]
        self.image[self.end : self.end + len(entry)] = entry
        self.status[row], self.entry_start[row] = codes.TAKEN, self.end
        self.end += len(entry)

    def dialect(self) -> Dialect | None:
        """The dialect of the entries; None when there are none. Raises UnsupportedError for a stamp of the future."""
        taken = self.stamps[self.status == codes.TAKEN]
        return stamp_dialect(int(taken.max())) if len(taken) else None

    def batches(self, columns: Columns) -> Iterator[tuple[memoryview, Columns, NDArray[np.intp]]]:
        """The entries as batches of `columns`: the bytes that places are in, the batch, and each entry's row of `keys`.

        A value that does not end where its dump does makes its row DAMAGED, and is left out.
        """
        dialect = self.dialect()
        if dialect is None:
            return
        rows = np.flatnonzero(self.status == codes.TAKEN)
        rows = rows[np.argsort(self.entry_start[rows], kind="stable")]
        starts = self.entry_start[rows]
        ends = np.append(starts[1:], self.end)
        view = memoryview(self.image)[: self.end]
        done = 0
        while done < len(rows):
            batch = _walk(view, dialect, int(starts[done]), columns)
            upto = done + batch.rows if batch is not None else done
            if batch is None or not _fit(batch, starts[done:upto], ends[done:upto]):
                break
            yield view, batch, rows[done:upto]
            done = upto
        for one in range(done, len(rows)):  # something is wrong with one of them: each by itself
            batch = _walk(view[: int(ends[one])], dialect, int(starts[one]), columns)
            if batch is not None and _fit(batch, starts[one : one + 1], ends[one : one + 1]):
                yield view, batch, rows[one : one + 1]
            else:
                self.status[rows[one]] = codes.DAMAGED
                self.errors[int(rows[one])] = self._what_is_wrong(view, dialect, int(starts[one])).encode()

    def _what_is_wrong(self, view: memoryview, dialect: Dialect, start: int) -> str:
        number = view[start + 9 if view[start] == codes.OP_EXPIRETIME_MS else start]
        if number not in dialect.types and number != codes.OP_KEY_META:
            why = REFUSED_TYPES.get(number) if dialect.line == "redis" else None
            return f"value type {number} is not known{f': {why}' if why else f' in {dialect}'}"
        return "a value that does not end where its dump does"


def _walk(view: memoryview, dialect: Dialect, start: int, columns: Columns) -> Columns | None:
    """The next batch; None if something is wrong in it."""
    try:
        item = next(iter(Walk(view, columns=columns, dialect=dialect, start=start)))
    except FormatError:
        return None
    return item if isinstance(item, Columns) else None


def _fit(batch: Columns, starts: Places, ends: Places) -> bool:
    return np.array_equal(batch.entry_start[: batch.rows], starts) and np.array_equal(batch.end[: batch.rows], ends)
