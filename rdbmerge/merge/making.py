"""Plans and segments into the bytes of parts: what every writer of merged files has in common.

A part of entries is made for all files at once that share its chunk, so that the sources are read once. Knows nothing
of where the bytes go.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rdbmerge.errors import LedgerError
from rdbmerge.format import write
from rdbmerge.format.columns import Columns
from rdbmerge.format.emit import BUFFER_BYTES, Emission, Piece
from rdbmerge.format.strings import read_string
from rdbmerge.plan.layout import Copy, Entries, Library, Literal, Placed
from rdbmerge.plan.model import Plan
from rdbmerge.plan.sharding import Sharding, in_shard
from rdbmerge.plan.treatment import rules_of, treat
from rdbmerge.snapshot.segment import Segment


@dataclass(frozen=True, slots=True)
class Errand:
    """Parts that are written in one reading: the same chunk in several files, or any other part alone."""

    parts: tuple[tuple[int, int, Placed], ...]  # number of the output, place among its parts, the part


def errands(placed: Sequence[Sequence[Placed]]) -> list[Errand]:
    """What is to be done, in the order of the first file."""
    together: dict[tuple[int, int], list[tuple[int, int, Placed]]] = {}
    alone = []
    for output, parts in enumerate(placed):
        for place_, each in enumerate(parts):
            if isinstance(each.part, Entries):
                together.setdefault((each.part.source, each.part.chunk.start), []).append((output, place_, each))
            else:
                alone.append(Errand(((output, place_, each),)))
    return alone + [Errand(tuple(parts)) for parts in together.values()]


def check_size(placed: Placed, made_bytes: int) -> None:
    """Raise LedgerError if a part did not come out in the planned size."""
    if made_bytes != placed.part.size_bytes:
        raise LedgerError(
            f"a part at byte {placed.offset:,} came out as {made_bytes:,} bytes,"
            f" the plan says {placed.part.size_bytes:,}",
            remedy="this is a defect of rdbmerge: please report it with the plan",
        )


class Maker:
    """Makes the bytes of one errand at a time; each thread with a buffer and columns of its own."""

    def __init__(self, plans: Sequence[Plan], segments: Sequence[Segment]) -> None:
        """`plans`: those of all files, made together of `segments`."""
        self.segments = segments
        self.own = threading.local()
        first = plans[0]
        slots = [plan.rules.slots for plan in plans]
        self.sharding = Sharding(None if slots == [None] else [runs or [] for runs in slots])
        self.treatments = [
            treat(
                rules_of(first.rules, source.name),
                segment,
                snapshot_at_ms=source.snapshot_at_ms,
                ttl_offset_ms=source.ttl_offset_ms,
                losers=source.losers,
            )
            for segment, source in zip(segments, first.sources, strict=True)
        ]

    def pieces(self, errand: Errand) -> Iterator[tuple[int, Piece]]:
        """The bytes of the errand's parts, each with the number of its part."""
        part = errand.parts[0][2].part
        match part:
            case Literal():
                yield 0, part.data
            case Copy():
                yield 0, self.segments[part.source].view[part.start : part.end]
            case Library():
                code, _ = read_string(self.segments[part.source].view, part.offset + 1)
                yield 0, write.function(code)
            case Entries():
                yield from self._entries(part, [output for output, _, _ in errand.parts])

    def _entries(self, part: Entries, outputs: Sequence[int]) -> Iterator[tuple[int, Piece]]:
        segment, treatment = self.segments[part.source], self.treatments[part.source]
        columns, buffer = self._own()
        for batch in segment.walk_part(part.chunk.start, part.chunk.stop, part.db, columns=columns):
            with segment.naming_errors():
                reasons = treatment.selection.reasons(segment.view, batch)
                emission = Emission(segment.view, batch, treatment.change)
                shards = self.sharding.shards_of(segment.view, batch, treatment.change.key_prefix)
                for number, output in enumerate(outputs):
                    for piece in emission.pieces(in_shard(reasons, shards, output), buffer):
                        yield number, piece

    def _own(self) -> tuple[Columns, bytearray]:
        if not hasattr(self.own, "columns"):
            self.own.columns = Columns()
            self.own.buffer = bytearray(BUFFER_BYTES)
        return self.own.columns, self.own.buffer
