"""Which server takes which key: one server that takes all, or the primaries of a cluster by their slots.

The map of slots is the cluster's own; it is asked for again when a server says that it is old. Thread-safe.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rdbmerge.errors import TargetError
from rdbmerge.targets.server import Dial, LiveServer, Login, Node
from rdbmerge.targets.server_pipe import LostError

SLOTS = 16_384
NOBODY = -1

Owners = NDArray[np.int16]


class Servers:
    """The servers of one target. They are known by numbers, which stay."""

    def __init__(self, dial: Dial, login: Login, place: str) -> None:
        self._dial = dial
        self._login = login
        self._place = place
        self._lock = threading.Lock()
        self.all: list[LiveServer] = [LiveServer(Node(), dial, login, place)]
        self.owners: Owners | None = None  # of each slot, the number of its server; None: no cluster

    @property
    def seed(self) -> LiveServer:
        """The one that the user pointed at."""
        return self.all[0]

    @property
    def is_cluster(self) -> bool:
        """Whether the keys are shared out by slots."""
        return self.owners is not None

    def primaries(self) -> list[int]:
        """The numbers of those that take keys now."""
        if self.owners is None:
            return [0]
        return [int(number) for number in np.unique(self.owners) if number != NOBODY]

    def look_up(self) -> None:
        """Ask the cluster who has which slot. Raises TargetError if nobody can tell, or some slots are nobody's."""
        owners = np.full(SLOTS, NOBODY, np.int16)
        for first, last, node in self._ask_anybody():
            owners[first : last + 1] = self.number_of(node)
        self.owners = owners
        if (owners == NOBODY).any():
            slot, count = int(np.flatnonzero(owners == NOBODY)[0]), int(np.count_nonzero(owners == NOBODY))
            raise TargetError(
                f"the cluster at {self._place} has no server for {count:,} slots, such as {slot}",
                remedy="see to it with `redis-cli --cluster check`; keys of these slots could not be written",
            )

    def _ask_anybody(self) -> Sequence[tuple[int, int, Node]]:
        failure: TargetError | None = None
        with self._lock:
            asked = list(self.all)
        for server in asked:
            try:
                return server.slots()
            except LostError as error:
                failure = failure or error
        raise failure or TargetError(f"{self._place}: nobody answers")

    def number_of(self, node: Node) -> int:
        """The number of the server at a place, a new one if need be."""
        with self._lock:
            for number, server in enumerate(self.all):
                if number and server.node == node:
                    return number
            self.all.append(LiveServer(node, self._dial, self._login, f"{node.host}:{node.port}"))
            return len(self.all) - 1

    def moved(self, slot: int, node: Node) -> None:
        """A server says that a slot is another's for good."""
        number = self.number_of(node)
        if self.owners is not None:
            self.owners[slot] = number

    def close(self) -> None:
        """Close all connections."""
        for server in self.all:
            server.close()
