"""Whether a key that is in the target already is the very one that we are about to write.

Asked only where it may be: after a connection was lost, or when a restore goes on that was killed. Values are compared
by their meaning, for a server stores them in forms of its own; expiries may differ by what a way takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rdbmerge.errors import FormatError, TargetError
from rdbmerge.format import codes
from rdbmerge.format.decode import item_failure
from rdbmerge.format.dialects import NEWEST_REDIS, VALKEY_VERSIONS, Dialect
from rdbmerge.format.digest import Reading
from rdbmerge.format.dump import dump_dialect, undump
from rdbmerge.format.emit import Emission, shift
from rdbmerge.format.streams import LEVELS
from rdbmerge.format.values import Logical
from rdbmerge.targets.server import refusal_words
from rdbmerge.targets.server_refusals import Kind, read_refusal, remedy_of

if TYPE_CHECKING:
    from rdbmerge.steps.restoring.batch import Delivery

_TOGETHER_BYTES = 16 << 20
_TOLERANCE_MS = 2_000
_LATE_MS = 120_000  # where expiries are told as times to live, from a moment that we know only roughly
_NEVER = -1


def is_ours(delivery: Delivery, rows: Sequence[int]) -> dict[int, bool | None]:
    """For each row whether the key in the target is the same; None where there is none (any more).

    Raises LostError, and TargetError where we may not look.
    """
    found: dict[int, bool | None] = {}
    for some in _portions(delivery, rows):
        by_server: dict[int, list[int]] = {}
        for row in some:
            by_server.setdefault(delivery.server_of(row), []).append(row)
        for server, its_rows in by_server.items():
            found.update(_look(delivery, server, its_rows))
    return found


def _portions(delivery: Delivery, rows: Sequence[int]) -> list[list[int]]:
    """Rows to be asked about together: their values come back whole."""
    portions: list[list[int]] = [[]]
    size = 0
    for row in rows:
        its_size = int(delivery.columns.end[row] - delivery.columns.value_start[row])
        if size + its_size > _TOGETHER_BYTES and portions[-1]:
            portions.append([])
            size = 0
        portions[-1].append(row)
        size += its_size
    return portions


def _look(delivery: Delivery, number: int, rows: Sequence[int]) -> dict[int, bool | None]:
    work = delivery.work
    server, clock = work.servers.all[number], work.watch.clock(number)
    before_ms = clock()
    asked: list[tuple[bytes | str | int, ...]] = []
    for row in rows:
        asked += [("DUMP", delivery.key(row)), ("PTTL", delivery.key(row))]
    replies = server.ask_all(asked, db=delivery.db)
    after_ms = clock()
    found: dict[int, bool | None] = {}
    for row, data, ttl_ms in zip(rows, replies[::2], replies[1::2], strict=True):
        words = refusal_words(data) or refusal_words(ttl_ms)
        if words is not None:
            if read_refusal(words).kind in (Kind.STOP, Kind.REFUSED):
                raise TargetError(
                    f"{server.place} does not let us see whether {delivery.shown(row)} is what we wrote: {words}",
                    remedy=remedy_of(words) or "allow +dump and +pttl",
                )
            found[row] = None
        elif data is None:
            found[row] = None
        else:
            found[row] = _same_expiry(delivery, row, ttl_ms, before_ms, after_ms) and same_value(
                delivery.restoration.emission, row, data, now_ms=after_ms
            )
    return found


def _same_expiry(delivery: Delivery, row: int, ttl_ms: int, before_ms: int, after_ms: int) -> bool:
    emission = delivery.restoration.emission
    expire_at_ms = int(delivery.columns.expire_at_ms[row])
    if expire_at_ms == codes.NO_EXPIRY or ttl_ms < 0:
        return expire_at_ms == codes.NO_EXPIRY and ttl_ms == _NEVER
    at_ms = shift(expire_at_ms, emission.change.ttl_offset_ms)
    late_ms = _TOLERANCE_MS if delivery.restoration.form.absolute else _LATE_MS
    return before_ms + ttl_ms - late_ms <= at_ms <= after_ms + ttl_ms + _TOLERANCE_MS


def same_value(emission: Emission, row: int, data: bytes, *, now_ms: int) -> bool:
    """Whether a dump from the target holds what the row is written as; dead hash fields do not count."""
    number, value = undump(data)
    theirs = dump_dialect(data)
    line = emission.change.line
    ours = Dialect(line, VALKEY_VERSIONS[0] if line == "valkey" else NEWEST_REDIS)
    written, payload = emission.type_anew(row), b"".join(emission.value_anew(row))
    row_type, their_type = ours.types.get(written), theirs.types.get(number)
    if row_type is None or their_type is None or row_type.logical != their_type.logical:
        return False
    if row_type.logical > Logical.STREAM:
        return payload == value
    level = LEVELS[row_type.shape] if row_type.logical == Logical.STREAM else max(LEVELS.values())
    return _meaning(ours, written, payload, level, now_ms) == _meaning(theirs, number, value, level, now_ms)


def _meaning(dialect: Dialect, number: int, value: bytes, level: int, now_ms: int) -> int:
    reading = Reading(
        dialect=dialect, by_meaning=tuple(Logical), fields_dead_before_ms=now_ms, stream_level=level
    )  # fmt: skip
    meaning: Any = reading.meaning(memoryview(value))
    found = int(meaning.of(number, 0, len(value), 0))
    if meaning.has_failed():
        failure: FormatError = item_failure(meaning.get_reader())
        raise failure.in_file("a value of the target")
    return found
