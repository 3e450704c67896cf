"""One batch of entries on its way into the servers: sent in rounds until each row has its fate.

What a server puts off is sent again, what it refuses for good is noted, what may have been done before a connection was
lost is looked at instead of being taken for somebody else's. Knows the servers by numbers, and nothing of files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rdbmerge.errors import TargetError
from rdbmerge.format import codes
from rdbmerge.format.columns import Columns
from rdbmerge.format.commands import BUFFER_BYTES, Commands, Restoration
from rdbmerge.format.core import key_slots, slot_of
from rdbmerge.format.scan import module_name
from rdbmerge.format.strings import read_length
from rdbmerge.steps.restoring.big import deliver_big
from rdbmerge.steps.restoring.doubt import is_ours
from rdbmerge.steps.restoring.watch import Patience
from rdbmerge.steps.restoring.work import EXPIRED, LEFT_OUT, PENDING, REJECTED, RESTORED, SKIPPED, Work
from rdbmerge.targets.server import Node
from rdbmerge.targets.server_pipe import LostError, Pipe
from rdbmerge.targets.server_refusals import REMEDIES, Kind, Refusal, read_refusal, remedy_of
from rdbmerge.units import escape_key

_MODULE = 7  # the type of values of modules
_LOOKED_AT_ONCE = 100

Fates = NDArray[np.uint8]


@dataclass(slots=True)
class _Said:
    """What servers said in one round, besides that all is well."""

    held: list[int] = field(default_factory=list)  # rows whose key is there already
    ask: dict[int, list[int]] = field(default_factory=dict)  # rows by the server that is to be asked
    wait: Refusal | None = None
    settled: int = 0  # rows that got their fate


class Connections:
    """The pipes of one thread, one a server."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._pipes: dict[tuple[int, int], Pipe] = {}
        self.buffers: dict[int, bytearray] = {}
        self.settle: Callable[[int, NDArray[np.int32], str | None], None] = lambda *_: None

    def pipe(self, server: int, db: int) -> Pipe:
        """The one to a server, opened if need be. Raises LostError, TargetError, RestartedError."""
        if (server, db) not in self._pipes:
            for other in [place for place in self._pipes if place[0] == server]:
                self.drop(*other)  # of a db that this thread is done with
            self._pipes[server, db] = self._work.servers.all[server].open_pipe(
                db, lambda rows, words: self.settle(server, rows, words), stop=self._work.stop
            )
            # Asked when the connection stands: what is started anew after this breaks it.
            self._work.watch.meet(server)
        return self._pipes[server, db]

    def opened(self, server: int, db: int) -> Pipe | None:
        """The one to a server, if there is one."""
        return self._pipes.get((server, db))

    def buffer(self, server: int) -> bytearray:
        """What commands for a server are written into."""
        return self.buffers.setdefault(server, bytearray(BUFFER_BYTES))

    def drop(self, server: int, db: int) -> list[NDArray[np.int32]]:
        """Close one that is of no use any more; the rows that it was not answered about."""
        pipe = self._pipes.pop((server, db), None)
        if pipe is None:
            return []
        pipe.close()
        return pipe.unanswered()

    def close(self) -> None:
        """Close all."""
        for server, db in list(self._pipes):
            self.drop(server, db)


class Delivery:
    """One batch: `run` it, then `fates` tells of each row and `refused` why the rejected ones were.

    Args:
        db: of the target.
        kept: the rows that are to be sent.
        doubtful: whether any of them may have been sent before, by a run that did not live to hear the answer.
    """

    def __init__(
        self,
        work: Work,
        connections: Connections,
        restoration: Restoration,
        *,
        db: int,
        kept: NDArray[np.bool_],
        doubtful: bool,
    ) -> None:
        self.work = work
        self.connections = connections
        self.restoration = restoration
        self.columns: Columns = restoration.emission.columns
        self.view = restoration.emission.view
        self.db = db
        self.fates: Fates = np.where(kept, PENDING, LEFT_OUT).astype(np.uint8)
        self.refused: dict[int, str] = {}
        self._doubtful = np.full(self.columns.rows, doubtful)
        self._slots = self._find_slots() if work.servers.is_cluster else None
        self._said = _Said()
        self._alone: int | None = None  # the one row that is sent to see whether the servers can again

    def run(self) -> None:
        """Send until no row is pending. Raises TargetError and StoppedError; `fates` holds what was settled."""
        self.connections.settle = self._settle
        self._reject_deadly()
        big = self.restoration.larger_than(self.work.big_bytes, self.work.most_bulk_bytes)
        aside = self.fates[big] == PENDING
        self.fates[big] = LEFT_OUT
        patience = self.work.patience()
        try:
            while (self.fates == PENDING).any():
                self.work.check_stop()
                self._said = _Said()
                lost = self._round()
                self._settle_held()
                if self._said.settled:
                    patience = self.work.patience()
                    self._alone = None
                self._go_on(lost, patience)
        finally:
            self.fates[big[aside]] = PENDING
        for row in big[aside].tolist():
            deliver_big(self, row)

    def _go_on(self, lost: LostError | None, patience: Patience) -> None:
        """Wait for what has to be waited for before the next round."""
        wait = self._said.wait
        if lost is not None:
            self.work.watch.come_back(lost, patience)
        elif wait is not None:
            pending = np.flatnonzero(self.fates == PENDING)
            self._alone = int(pending[0]) if len(pending) else None
            self._put_off(wait)
            patience.wait(wait.words, remedy_of(wait.words))
        elif not self._said.settled:
            patience.wait("no server takes any of the keys: their slots keep moving", REMEDIES["CLUSTERDOWN"])

    def _reject_deadly(self) -> None:
        """Values of modules that are not there end some servers (rdb-format.md 6.5)."""
        if self.work.modules is None:
            return
        columns = self.columns
        for row in np.flatnonzero((columns.type[: columns.rows] == _MODULE) & (self.fates == PENDING)).tolist():
            name = module_name(read_length(self.view, int(columns.value_start[row]))[0])
            if name not in self.work.modules:
                self.reject(row, f"rdbmerge: module {name} is not loaded; a server of this version would crash")

    def server_of(self, row: int) -> int:
        """The number of the server that takes the row's key."""
        owners = self.work.servers.owners
        if owners is None or self._slots is None:
            return 0
        return int(owners[self._slots[row]])

    def key(self, row: int) -> bytes:
        """As it is in the target."""
        return self.restoration.emission.change.key_prefix + self.columns.key(self.view, row)

    def is_doubtful(self, row: int) -> bool:
        """Whether it may have been sent before."""
        return bool(self._doubtful[row])

    def doubt(self, row: int) -> None:
        """It may have been sent."""
        self._doubtful[row] = True

    def settle(self, row: int, fate: int) -> None:
        """The row has its fate."""
        self.fates[row] = fate
        self._said.settled += 1

    def shown(self, row: int) -> str:
        """The row for people."""
        return f"{escape_key(self.key(row))} of db {self.db}"

    def _find_slots(self) -> NDArray[np.uint16]:
        columns, prefix = self.columns, self.restoration.emission.change.key_prefix
        slots = np.empty(columns.rows, np.uint16)
        key_slots(self.view, columns.flags, columns.key_len, columns.value_start, columns.rows, prefix, slots)
        for row in np.flatnonzero(columns.flags[: columns.rows] & codes.KEY_ENCODED).tolist():
            slots[row] = slot_of(prefix + columns.key(self.view, row))
        return slots

    def _round(self) -> LostError | None:
        """Send every pending row once and hear all answers; how a connection was lost, if one was."""
        pending = self.fates == PENDING
        if self._alone is not None:
            pending[:] = False
            pending[self._alone] = True
        owners = self.work.servers.owners
        if owners is None or self._slots is None:
            return self._send_all({0: pending}, asking=False)
        at = owners[self._slots]
        lost = self._send_all({int(one): pending & (at == one) for one in np.unique(at[pending])}, asking=False)
        if self._said.ask:
            asked = {}
            for server, rows in self._said.ask.items():
                asked[server] = np.zeros(self.columns.rows, bool)
                asked[server][rows] = True
            self._said.ask = {}
            lost = self._send_all(asked, asking=True) or lost
        return lost

    def _send_all(self, chosen: dict[int, NDArray[np.bool_]], *, asking: bool) -> LostError | None:
        """Send rows to their servers, taking turns."""
        wanted = {server: rows.astype(np.uint8) for server, rows in chosen.items()}
        flows = {server: self._flow(server, rows, asking) for server, rows in wanted.items()}
        lost: LostError | None = None
        while flows:
            for server in list(flows):
                try:
                    ending = self._said.wait is not None or self.work.stop.is_set()
                    commands = None if ending else next(flows[server], None)
                    if commands is None:
                        del flows[server]
                    else:
                        size = self.connections.pipe(server, self.db).send(commands.pieces, commands.rows)
                        self.work.pause(len(commands.rows), size)
                except LostError as error:
                    flows.pop(server, None)
                    lost = self._lose(server, error)
        for server in wanted:
            try:
                if pipe := self.connections.opened(server, self.db):
                    pipe.finish()
            except LostError as error:
                lost = self._lose(server, error)
        for rows in wanted.values():
            self.fates[(rows == codes.LAPSED) & (self.fates == PENDING)] = EXPIRED
            self._said.settled += int(np.count_nonzero(rows == codes.LAPSED))
        return lost

    def _flow(self, server: int, wanted: Fates, asking: bool) -> Iterator[Commands]:
        clock = self.work.watch.clock(server)
        return self.restoration.batches(wanted, clock, self.connections.buffer(server), asking=asking)

    def _lose(self, server: int, error: LostError) -> LostError:
        """Nobody knows of what was sent and not answered."""
        for rows in self.connections.drop(server, self.db):
            self._doubtful[rows[rows >= 0]] = True
        self.work.watch.lost(server)
        return error

    def _settle(self, server: int, rows: NDArray[np.int32], words: str | None) -> None:
        """Answers came; called by the pipes."""
        rows = rows[rows >= 0]
        if words is None:
            self.fates[rows] = RESTORED
            self._said.settled += len(rows)
        elif len(rows):
            self._refuse(server, int(rows[0]), read_refusal(words))

    def _refuse(self, server: int, row: int, refusal: Refusal) -> None:
        said = self._said
        match refusal.kind:
            case Kind.HELD:
                said.held.append(row)
            case Kind.MOVED | Kind.ASK if self._slots is not None:
                node = Node(refusal.host or self.work.servers.all[server].node.host, refusal.port)
                if refusal.kind is Kind.MOVED:
                    self.work.servers.moved(int(self._slots[row]), node)
                else:
                    said.ask.setdefault(self.work.servers.number_of(node), []).append(row)
            case Kind.AGAIN | Kind.WAIT:
                said.wait = said.wait or refusal
            case Kind.REFUSED:
                self.reject(row, refusal.words)
            case _:
                raise TargetError(
                    f"{self.work.servers.all[server].place} refused {self.shown(row)}: {refusal.words}",
                    remedy=remedy_of(refusal.words) or "see to the target, and run the same command again",
                )

    def reject(self, row: int, words: str) -> None:
        """The server will not have this key."""
        self.fates[row] = REJECTED
        self.refused[row] = words
        self._said.settled += 1

    def _settle_held(self) -> None:
        """Keys that are there already: ours, if they may be and are the same; else what the user wants."""
        held = self._said.held
        in_doubt = [row for row in held if self._doubtful[row]]
        for start in range(0, len(in_doubt), _LOOKED_AT_ONCE):
            some = in_doubt[start : start + _LOOKED_AT_ONCE]
            with suppress(LostError):  # then they stay pending, and in doubt
                for row, ours in is_ours(self, some).items():
                    if ours is None:
                        continue  # it went meanwhile: once more
                    if ours:
                        self.fates[row] = RESTORED
                        self._said.settled += 1
                    else:
                        self.hold(row)
        strangers = [row for row in held if not self._doubtful[row]]
        for row in strangers:
            self.hold(row, others=len(strangers) - 1)

    def hold(self, row: int, *, others: int = 0) -> None:
        """The key is another's: leave it, or end. Raises TargetError."""
        if self.work.on_busy != "skip":
            more = f", and {others:,} more of this batch" if others else ""
            raise TargetError(
                f"the target holds {self.shown(row)} already{more}",
                remedy="leave such keys as they are with --on-busy skip, or replace them with --on-busy replace;"
                " what was restored stays, and the same command with that option goes on from here",
            )
        self.fates[row] = SKIPPED
        self._said.settled += 1

    def _put_off(self, refusal: Refusal) -> None:
        """What the servers put off may be over when the map is looked up anew, or on another connection."""
        if refusal.words.startswith("READONLY"):
            for server in self.work.servers.primaries():
                self.connections.drop(server, self.db)
        if self.work.servers.is_cluster:
            with suppress(LostError):
                self.work.servers.look_up()
