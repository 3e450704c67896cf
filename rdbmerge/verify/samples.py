"""A few entries from all over the merged file, to ask a server about. Knows nothing of servers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rdbmerge.format import codes
from rdbmerge.format.columns import Columns
from rdbmerge.format.values import Logical
from rdbmerge.snapshot.segment import Segment
from rdbmerge.units import escape_key
from rdbmerge.verify.structure import Found

_PLACES, _ROWS_A_PLACE = 20, 16


@dataclass(frozen=True, slots=True)
class Sample:
    """What the file says about one entry."""

    db: int
    key: bytes
    logical: Logical
    expire_at_ms: int | None

    @property
    def type_name(self) -> str:
        """The answer of TYPE."""
        return self.logical.name.lower()

    def __str__(self) -> str:
        return f"{escape_key(self.key, limit=60)} of db {self.db}"


def take_samples(merged: Segment, found: Found, *, alive_after_ms: int) -> Iterator[Sample]:
    """Some hundred entries; those that expire before `alive_after_ms` are passed over, for servers hide dead ones."""
    step = max(1, len(found.parts) // _PLACES)
    columns = Columns(_ROWS_A_PLACE)
    for part in found.parts[::step]:
        batch = next(iter(merged.walk_part(part.start, part.stop, part.db, columns=columns)))
        for row in range(batch.rows):
            at_ms = int(batch.expire_at_ms[row])
            row_of_type = merged.dialect.types[int(batch.type[row])]
            if at_ms == codes.NO_EXPIRY or at_ms > alive_after_ms:
                yield Sample(
                    db=part.db,
                    key=batch.key(merged.view, row),
                    logical=row_of_type.logical,
                    expire_at_ms=None if at_ms == codes.NO_EXPIRY else at_ms,
                )
