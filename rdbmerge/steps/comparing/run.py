"""The work of a comparison: every expected entry is asked for, then SCAN shows what else is there.

Workers take chunks of the sources one by one; each asks for a few hundred keys, compares the answers, and goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rdbmerge.format import codes
from rdbmerge.format.columns import Columns
from rdbmerge.format.replies import Keys, join_keys, keys_of_rows
from rdbmerge.snapshot.index import Progress
from rdbmerge.steps.comparing.checkpoint import CheckpointFile
from rdbmerge.steps.comparing.nodes import Nodes, Way
from rdbmerge.verify.destination import Destination
from rdbmerge.verify.live_expected import Expected, Task
from rdbmerge.verify.live_pairs import LivePairs
from rdbmerge.verify.live_strangers import LiveKeys
from rdbmerge.verify.live_tally import MOST_SUSPECTS, LiveTally, Suspect

_GROUP_ROWS = 1_000
_GROUP_BYTES = 4 << 20  # of entries that are asked for at once: the server holds its answers until they are taken
_PAGE_KEYS = 1_000

Rows = NDArray[np.intp]


@dataclass(slots=True)
class Comparing:
    """What all workers share."""

    expected: Expected
    nodes: Nodes
    destination: Destination
    tolerance_ms: int
    connections: int
    progress: Progress | None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def entries(self, checkpoint: CheckpointFile) -> None:
        """Compare every chunk that was not compared before; the checkpoint has what is done, whatever is raised."""
        done = set(checkpoint.state.done)
        tasks = iter(self.expected.tasks)
        failed = threading.Event()

        def work() -> None:
            worker = _Worker(self)
            try:
                while not failed.is_set():
                    with self.lock:
                        task = next(tasks, None)
                    if task is None:
                        return
                    tally = worker.task(task, ask=task.number not in done)
                    with self.lock:
                        if task.number not in done:
                            checkpoint.note(task.number, tally)
                        if self.progress:
                            self.progress(task.chunk.stop - task.chunk.start)
            except BaseException:
                failed.set()
                raise
            finally:
                worker.way.close()

        try:
            self._in_threads([work] * self.connections)
        finally:
            checkpoint.save()

    def again(self, tally: LiveTally) -> int:
        """Ask a second time for all keys that differed, if they are few; how many are as they should be by now."""
        if not tally.suspects or tally.unequal_keys > MOST_SUSPECTS:
            return 0
        worker, second = _Worker(self), LiveTally()
        try:
            for suspect in tally.suspects:
                worker.suspect(Suspect(*suspect), second)
        finally:
            worker.way.close()
        return tally.replace_suspects(second)

    def strangers(self, keys: LiveKeys, dbs: Sequence[int], most: int | None) -> dict[int, int]:
        """SCAN every db of every server into `keys`, at most about `most` keys of each; what DBSIZE says, if it may."""
        sizes: dict[int, int] = {}

        def work(number: int) -> None:
            way = Way(self.nodes)
            try:
                for db in dbs:
                    announced = self._scan(way, number, db, keys, most)
                    if announced is not None:
                        with self.lock:
                            sizes[db] = sizes.get(db, 0) + announced
            finally:
                way.close()

        self._in_threads([lambda number=number: work(number) for number in self.nodes.primaries()])  # type: ignore[misc]
        return sizes

    def _scan(self, way: Way, number: int, db: int, keys: LiveKeys, most: int | None) -> int | None:
        """One db of one server; begun anew when the connection is lost, for what was seen is not counted twice."""

        def once() -> int | None:
            asker, _ = way.asker(number, db)
            size = asker.ask("DBSIZE")
            found = 0
            asker.send_scan(0, _PAGE_KEYS)
            while True:
                way.pay(1)
                page = asker.receive_page()
                more = page.cursor != 0 and (most is None or found < most)
                if more:
                    asker.send_scan(page.cursor, _PAGE_KEYS)
                found += len(page.keys)
                keys.add(db, page.keys)
                if not more:
                    return size if isinstance(size, int) else None

        return way.tried(number, once)

    def vanished(self, keys: LiveKeys) -> int:
        """Ask again for the strangers, if all are named; those gone are struck out. How many went."""
        way, gone = Way(self.nodes), 0
        try:
            for db in sorted({db for db, _ in keys.named}):
                names = [key for at, key in keys.named if at == db]
                for rows, dumps in way.dumps(db, join_keys(names)):
                    for row in rows[dumps.status == codes.GONE].tolist():
                        keys.strike_out(db, names[row])
                        gone += 1
        finally:
            way.close()
        return gone

    @staticmethod
    def _in_threads(works: Sequence[Callable[[], None]]) -> None:
        """Run all; the first failure is raised once all have ended."""
        with ThreadPoolExecutor(len(works), thread_name_prefix="compare") as pool:
            futures: list[Future[None]] = [pool.submit(work) for work in works]
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()


class _Worker:
    """One thread's connections and columns."""

    def __init__(self, shared: Comparing) -> None:
        self.shared = shared
        self.way = Way(shared.nodes)
        self._columns = Columns()
        self._pairs: dict[int, LivePairs] = {}

    def _pairs_of(self, place: int) -> LivePairs:
        if place not in self._pairs:
            shared = self.shared
            line = shared.expected.lines[place]
            self._pairs[place] = LivePairs(line, place, shared.destination, tolerance_ms=shared.tolerance_ms)
        return self._pairs[place]

    def task(self, task: Task, *, ask: bool) -> LiveTally:
        """One chunk: its counts and differences; without `ask` only the hashes of its keys are remembered."""
        tally, expected = LiveTally(), self.shared.expected
        line, before = expected.lines[task.place], 0
        segment, chunk = line.origin.segment, task.chunk
        with segment.naming_errors():
            for batch in segment.walk_part(chunk.start, chunk.stop, chunk.db, columns=self._columns):
                rows, asked = expected.rows_of(task, batch, before, tally)
                keys = keys_of_rows(segment.view, batch, rows, line.origin.prefix)
                expected.remember(task.place, keys)
                before += batch.rows
                if not ask:
                    continue
                chosen = keys if len(asked) == len(rows) else keys.chosen(np.searchsorted(rows, asked))
                for group in _groups(batch, asked):
                    self._compare(task.place, batch, asked[group], chosen.chosen(group), tally)
        return tally

    def suspect(self, suspect: Suspect, tally: LiveTally) -> None:
        """One entry once more."""
        line = self.shared.expected.lines[suspect.line]
        segment = line.origin.segment
        row = np.zeros(1, np.intp)
        for batch in segment.walk_part(suspect.start, suspect.stop, line.db, columns=self._columns):
            self._compare(suspect.line, batch, row, keys_of_rows(segment.view, batch, row, line.origin.prefix), tally)

    def _compare(self, place: int, batch: Columns, rows: Rows, keys: Keys, tally: LiveTally) -> None:
        pairs = self._pairs_of(place)
        for at, dumps in self.way.dumps(pairs.line.target_db, keys):
            pairs.compare(batch, rows[at], dumps, tally)


def _groups(batch: Columns, rows: Rows) -> Iterator[Rows]:
    """Runs of places in `rows` that are asked for at once."""
    sizes = np.cumsum(batch.end[rows] - batch.entry_start[rows])
    start = 0
    while start < len(rows):
        before = int(sizes[start - 1]) if start else 0
        stop = int(np.searchsorted(sizes, before + _GROUP_BYTES, side="right"))
        stop = min(max(stop, start + 1), start + _GROUP_ROWS, len(rows))
        yield np.arange(start, stop)
        start = stop
