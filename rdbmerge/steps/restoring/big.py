"""Values that are too large for one command: made anew under another name, and renamed when they are whole.

The name is made of the key's hash, so that a run that goes on finds what was left of it; in a cluster it is of the slot
of the key. What fails on the way is begun again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from rdbmerge.errors import RdbMergeError, TargetError
from rdbmerge.format import codes
from rdbmerge.format.core import slot_of, xxh64_of
from rdbmerge.format.decode import Values
from rdbmerge.format.emit import shift
from rdbmerge.format.rebuild import Command, has_commands, rebuild
from rdbmerge.format.values import Logical
from rdbmerge.steps.restoring.work import EXPIRED, PENDING, RESTORED
from rdbmerge.targets.server import LiveServer, refusal_words
from rdbmerge.targets.server_pipe import LostError
from rdbmerge.targets.server_refusals import Kind, Refusal, read_refusal, remedy_of
from rdbmerge.units import format_bytes

if TYPE_CHECKING:
    from rdbmerge.steps.restoring.batch import Delivery

_TOGETHER_BYTES = 4 << 20
_TOGETHER = 64
_TOLERANCE_MS = 2_000
_SIZE_COMMANDS = {
    Logical.STRING: "STRLEN", Logical.LIST: "LLEN", Logical.SET: "SCARD", Logical.ZSET: "ZCARD", Logical.HASH: "HLEN",
    Logical.STREAM: "XLEN",
}  # fmt: skip


class _RefusedError(Exception):
    """A server did not take one of the commands."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.words)
        self.refusal = refusal


def deliver_big(delivery: Delivery, row: int) -> None:
    """Give a row its fate. Raises TargetError and StoppedError; then what there is of it is gone, if that can be."""
    work = delivery.work
    patience = work.patience()
    while delivery.fates[row] == PENDING:
        work.check_stop()
        number = delivery.server_of(row)
        value = _BigValue(delivery, row, work.servers.all[number])
        try:
            value.send(work.watch.clock(number)())
        except LostError as error:
            delivery.doubt(row)
            work.watch.lost(number)
            work.watch.come_back(error, patience)
        except _RefusedError as error:
            if error.refusal.kind is Kind.REFUSED:
                delivery.reject(row, error.refusal.words)
            elif error.refusal.kind is Kind.STOP:
                raise TargetError(
                    f"{value.server.place} refused {delivery.shown(row)}: {error.refusal.words}",
                    remedy=remedy_of(error.refusal.words) or "see to the target, and run the same command again",
                ) from None
            else:
                if work.servers.is_cluster:
                    with suppress(LostError):
                        work.servers.look_up()
                patience.wait(error.refusal.words, remedy_of(error.refusal.words))


class _BigValue:
    """One attempt at one value."""

    def __init__(self, delivery: Delivery, row: int, server: LiveServer) -> None:
        self.delivery = delivery
        self.row = row
        self.server = server
        self.key = delivery.key(row)
        columns = delivery.columns
        self.number = int(columns.type[row])
        self.start, self.end = int(columns.value_start[row]), int(columns.end[row])
        self.change = delivery.restoration.emission.change
        self.logical = self.change.dialect.types[self.number].logical
        expire_at_ms = int(columns.expire_at_ms[row])
        self.expire_at_ms = (
            None if expire_at_ms == codes.NO_EXPIRY else shift(expire_at_ms, self.change.ttl_offset_ms)
        )  # fmt: skip
        self.part_key = _part_key(self.key, in_slot=delivery.work.servers.is_cluster)

    def send(self, now_ms: int) -> None:
        """Raises LostError and _RefusedError; after anything but the first, nothing of it is left."""
        delivery, row = self.delivery, self.row
        if self.expire_at_ms is not None and self.expire_at_ms <= now_ms:
            delivery.settle(row, EXPIRED)
            return
        if not has_commands(self.logical, delivery.view[self.start]):
            size = format_bytes(self.end - self.start)
            delivery.reject(row, f"rdbmerge: {size} are too large for one command, and cannot be sent in parts")
            return
        if delivery.work.on_busy != "replace" and self._ask("EXISTS", self.key):
            if delivery.is_doubtful(row) and self._looks_like_ours(now_ms):
                delivery.settle(row, RESTORED)
            else:
                delivery.hold(row)
            return
        try:
            self._write()
        except (_RefusedError, RdbMergeError) as error:
            if not isinstance(error, LostError):
                with suppress(RdbMergeError):
                    self.server.ask(self._deletion, self.part_key, db=delivery.db)
            raise

    @property
    def _deletion(self) -> str:
        return "UNLINK" if self.delivery.work.unlinks else "DEL"

    def _write(self) -> None:
        delivery, work = self.delivery, self.delivery.work
        self._ask(self._deletion, self.part_key)
        for commands in _together(self._commands()):
            work.check_stop()
            size = sum(len(word) for command in commands for word in command)
            self._ask_all(commands)
            work.pause(len(commands), size)
        if self.expire_at_ms is not None:
            self._ask("PEXPIREAT", self.part_key, self.expire_at_ms)
        if work.on_busy == "replace":
            self._ask("RENAME", self.part_key, self.key)
        elif not self._ask("RENAMENX", self.part_key, self.key):
            self._ask(self._deletion, self.part_key)
            delivery.hold(self.row)
            return
        delivery.settle(self.row, RESTORED)

    def _commands(self) -> Iterator[Command]:
        values = Values(self.delivery.view, self.change.dialect, self.change.templates)
        return rebuild(
            values, self.number, self.start, self.end, key=self.part_key, change=self.change,
            words=self.delivery.work.words,
        )  # fmt: skip

    def _looks_like_ours(self, now_ms: int) -> bool:
        """By type, number of items and expiry: a value of this size is not asked for again.

        It appeared under its name in one piece, so that it is whole if it is ours.
        """
        theirs = self._ask("TYPE", self.key)
        if bytes(theirs) != self.logical.name.lower().encode():
            return False
        ttl_ms = int(self._ask("PTTL", self.key))
        if self.expire_at_ms is None or ttl_ms < 0:
            if self.expire_at_ms is not None or ttl_ms != -1:
                return False
        elif abs(now_ms + ttl_ms - self.expire_at_ms) > _TOLERANCE_MS:
            return False
        return int(self._ask(_SIZE_COMMANDS[self.logical], self.key)) == self._count()

    def _count(self) -> int:
        values = Values(self.delivery.view, self.change.dialect, self.change.templates)
        if self.logical == Logical.STRING:
            return len(values.value(self.number, self.start, self.end))  # type: ignore[arg-type]
        return sum(1 for _ in values.items(self.number, self.start, self.end))

    def _ask(self, *words: bytes | str | int) -> Any:
        return self._ask_all([words])[0]

    def _ask_all(self, commands: list[tuple[bytes | str | int, ...]] | list[Command]) -> list[Any]:
        replies = self.server.ask_all(list(commands), db=self.delivery.db)
        for reply in replies:
            if (words := refusal_words(reply)) is not None:
                raise _RefusedError(read_refusal(words))
        return replies


def _part_key(key: bytes, *, in_slot: bool) -> bytes:
    """Where the value grows; in a cluster, of the slot of its key."""
    name = b"rdbmerge:restore:%016x" % xxh64_of(key)
    if not in_slot:
        return name
    slot, number = slot_of(key), 0
    while slot_of(b"%s:%d" % (name, number)) != slot:
        number += 1
    return b"%s:%d" % (name, number)


def _together(commands: Iterator[Command]) -> Iterator[list[Command]]:
    some: list[Command] = []
    size = 0
    for command in commands:
        some.append(command)
        size += sum(map(len, command))
        if size >= _TOGETHER_BYTES or len(some) >= _TOGETHER:
            yield some
            some, size = [], 0
    if some:
        yield some
