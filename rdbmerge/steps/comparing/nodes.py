"""The servers that a comparison asks: one, or the primaries of a cluster by their slots; and how each key is asked for.

What cannot be answered just now is asked for again: lost connections, servers that load, slots that move. Knows nothing
of what is compared.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from rdbmerge.errors import RdbMergeError, TargetError
from rdbmerge.format import codes
from rdbmerge.format.core import key_slots
from rdbmerge.format.replies import Dumps, Keys
from rdbmerge.reach.cluster import find_nodes
from rdbmerge.reach.connection import check_stop
from rdbmerge.reach.link import refusal_error
from rdbmerge.reach.sentinel import find_primary
from rdbmerge.reach.server import Server
from rdbmerge.reach.tunnels import Tunnels
from rdbmerge.steps.asking import Asker, Patience
from rdbmerge.targets.server_pacing import RateLimit

SLOTS = 16_384
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 5.0
_LATER = (b"MOVED ", b"ASK ", b"TRYAGAIN", b"CLUSTERDOWN", b"LOADING", b"MASTERDOWN", b"BUSY")

Rows = NDArray[np.intp]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """How servers are asked."""

    patience: Patience = field(default_factory=Patience)
    retry_for_s: float = 60.0  # how long the same question is asked again
    limit: RateLimit | None = None  # of commands a second, of all connections together
    stop: threading.Event | None = None


class Nodes:
    """The servers by number, and who has which slot. Thread-safe."""

    def __init__(self, asked: Server, tunnels: Tunnels, manners: Manners) -> None:
        patience = manners.patience
        self.asked = find_primary(
            asked, tunnels=tunnels, timeout_s=patience.connect_timeout_s, wait_s=manners.retry_for_s, stop=manners.stop
        )
        self.manners = manners
        self._tunnels = tunnels
        self._lock = threading.Lock()
        self.servers: list[Server] = [self.asked]
        self.answered: set[int] = set()  # those that were reached once: what is wrong with them later may pass
        self.owners: NDArray[np.int16] | None = None  # number of the server of each slot; None: no cluster
        if self.asked.cluster or self._is_cluster():
            self.look_up()

    def _is_cluster(self) -> bool:
        asker = Asker(self.asked, self.manners.patience, self.manners.stop)
        self.answered.add(0)
        try:
            said = asker.ask("INFO", "cluster")
            if isinstance(said, bytes):
                return b"cluster_enabled:1" in said
            return asker.ask("CLUSTER", "INFO") is not None
        finally:
            asker.close()

    def look_up(self) -> None:
        """Ask the cluster who has which slots. Raises TargetError when it is not whole."""
        timeout_s = self.manners.patience.connect_timeout_s
        found = find_nodes(self.asked, tunnels=self._tunnels, timeout_s=timeout_s, stop=self.manners.stop)
        with self._lock:
            owners = np.zeros(SLOTS, np.int16)
            for server, ranges in zip(found.servers, found.layout.values(), strict=True):
                number = self._number_of(server)
                for first, last in ranges:
                    owners[first : last + 1] = number
            self.owners = owners

    def _number_of(self, server: Server) -> int:
        for number, known in enumerate(self.servers):
            if number and (known.host, known.port) == (server.host, server.port):
                return number
        self.servers.append(server)
        return len(self.servers) - 1

    def at(self, place: bytes) -> int:
        """The number of the server at `host:port`, which another has named."""
        host, _, port = place.decode().rpartition(":")
        server = replace(self.asked, host=host.strip("[]") or self.asked.host, port=int(port), name="", tunnel=None)
        with self._lock:
            return self._number_of(self._tunnels.through(server))

    def primaries(self) -> list[int]:
        """The numbers of the servers that have keys."""
        return [0] if self.owners is None else np.unique(self.owners).tolist()

    def slots_of(self, number: int) -> list[tuple[int, int]] | None:
        """The runs of slots of a server; None where there is no cluster."""
        if self.owners is None:
            return None
        mine = np.flatnonzero(self.owners == number)
        breaks = np.flatnonzero(np.diff(mine) > 1)
        firsts, lasts = mine[np.append(0, breaks + 1)], mine[np.append(breaks, len(mine) - 1)]
        return list(zip(firsts.tolist(), lasts.tolist(), strict=True))

    def shares(self, keys: Keys, rows: Rows) -> Iterator[tuple[int, Rows]]:
        """Who is to be asked for which of some keys."""
        if self.owners is None:
            yield 0, rows
            return
        starts, ends = keys.starts[rows], keys.ends[rows]
        slots = np.zeros(len(rows), np.uint16)
        lengths = (ends - starts).astype(np.uint32)
        key_slots(keys.data, np.zeros(len(rows), np.uint8), lengths, ends, len(rows), b"", slots)
        owners = self.owners[slots]
        for number in np.unique(owners).tolist():
            yield number, rows[owners == number]


class Way:
    """One worker's connections to the servers; one thread at a time."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._manners = nodes.manners
        self._open: dict[int, tuple[Asker, bool, int | None]] = {}  # asker, exact expiries, selected db

    def close(self) -> None:
        """Close all; never raises."""
        for asker, _, _ in self._open.values():
            asker.close()
        self._open.clear()

    def asker(self, number: int, db: int) -> tuple[Asker, bool]:
        """A connection to a server with that db selected, and whether the server tells expiries exactly."""
        if number not in self._open:
            asker = self._reach(number)
            try:
                absolute = asker.knows_expiretime()
                asker.leave_idle_times_alone()
            except BaseException:
                asker.close()
                raise
            self._open[number] = asker, absolute, None
        asker, absolute, selected = self._open[number]
        if selected != db:
            if db or selected is not None:  # a cluster may know no SELECT
                asker.select(db)
            self._open[number] = asker, absolute, db
        return asker, absolute

    def _reach(self, number: int) -> Asker:
        """A connection; a server that was reached before is worth another try, whatever keeps it from answering."""
        try:
            asker = Asker(self._nodes.servers[number], self._manners.patience, self._manners.stop)
        except TargetError as error:
            if number not in self._nodes.answered:
                raise
            raise TargetError(str(error), remedy=error.remedy, retryable=True) from error
        self._nodes.answered.add(number)
        return asker

    def drop(self, number: int) -> None:
        """Close a connection that is of no use any more."""
        if number in self._open:
            self._open.pop(number)[0].close()

    def pause(self, seconds: float) -> None:
        """Wait. Raises StoppedError."""
        if seconds > 0:
            if self._manners.stop is None:
                time.sleep(seconds)
            else:
                self._manners.stop.wait(seconds)
        check_stop(self._manners.stop, self._nodes.asked)

    def pay(self, commands: int) -> None:
        """Wait until so many more commands may be sent."""
        if self._manners.limit is not None:
            self.pause(self._manners.limit.take(commands))

    def dumps(self, db: int, keys: Keys) -> Iterator[tuple[Rows, Dumps]]:
        """Rows of `keys` and what was answered; those REFUSED come again. Raises TargetError, StoppedError."""
        left, patience = np.arange(len(keys)), _Patience(self, self._manners.retry_for_s)
        while len(left):
            again: list[Rows] = []
            for number, rows in self._nodes.shares(keys, left):
                dumps = self._tried(number, db, keys if len(rows) == len(keys) else keys.chosen(rows), patience)
                if dumps is None:
                    again.append(rows)
                    continue
                yield rows, dumps
                for at in np.flatnonzero(dumps.status == codes.REFUSED).tolist():
                    row, line = rows[at : at + 1], dumps.errors[at]
                    if not line.startswith(_LATER):
                        raise refusal_error(self._nodes.servers[number], line, command="DUMP")
                    aside = self._asked_aside(line, db, keys.chosen(row), patience)
                    if aside is None:
                        patience.failure = refusal_error(self._nodes.servers[number], line, command="DUMP")
                        again.append(row)
                    else:
                        yield row, aside
            left = np.concatenate(again) if again else left[:0]
            if len(left):
                patience.wait()
                self._look_up(patience)

    def tried(self, number: int, once: Callable[[], T]) -> T:
        """What `once` gives, called again when the connection to a server is lost. Raises TargetError, StoppedError."""
        patience = _Patience(self, self._manners.retry_for_s)
        while True:
            try:
                return once()
            except TargetError as error:
                self.drop(number)
                if not error.retryable:
                    raise
                patience.failure = error
            except RdbMergeError:
                self.drop(number)
                raise
            patience.wait()

    def _tried(self, number: int, db: int, keys: Keys, patience: _Patience) -> Dumps | None:
        """The answers of one server; None if it is to be asked again."""
        self.pay(2 * len(keys) + 2)
        try:
            asker, absolute = self.asker(number, db)
            return asker.dumps(keys, absolute=absolute)
        except TargetError as error:
            self.drop(number)
            if not error.retryable:
                raise
            patience.failure = error
            return None
        except RdbMergeError:
            self.drop(number)
            raise

    def _look_up(self, patience: _Patience) -> None:
        """Slots may have moved, or a replica taken over."""
        if self._nodes.owners is None:
            return
        try:
            self._nodes.look_up()
        except TargetError as error:
            patience.failure = error

    def _asked_aside(self, line: bytes, db: int, key: Keys, patience: _Patience) -> Dumps | None:
        """The answers about a key that is on its way to another server, which was named; None without such a name."""
        if not line.startswith(b"ASK "):
            return None
        number = self._nodes.at(line.split()[-1])
        try:
            asker, absolute = self.asker(number, db)
            return asker.ask_aside(key, absolute=absolute)
        except TargetError as error:
            self.drop(number)
            if not error.retryable:
                raise
            patience.failure = error
            return None


class _Patience:
    """How long one question is asked again, at growing intervals; `failure` is why it has to be."""

    def __init__(self, way: Way, retry_for_s: float) -> None:
        self._way = way
        self._until_s = time.monotonic() + retry_for_s
        self._pause_s = _FIRST_PAUSE_S
        self.failure: RdbMergeError | None = None

    def wait(self) -> None:
        """Raise the failure if it took too long, else wait."""
        if self.failure is not None and time.monotonic() + self._pause_s > self._until_s:
            raise self.failure
        self._way.pause(self._pause_s)
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
