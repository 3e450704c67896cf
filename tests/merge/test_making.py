"""What is made for several files at once is what is made for each of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from merging import planned, saved
from rdbbytes import entry, rdb, select

from rdbmerge.errors import LedgerError
from rdbmerge.merge.making import Errand, Maker, check_size, errands
from rdbmerge.plan.layout import Entries, place
from rdbmerge.plan.sharding import even_slots

SOURCE = rdb(9, select(0), *(entry(b"key:%d" % n, b"v" * n) for n in range(300)), select(1), entry(b"other"))


def test_an_errand_makes_all_files_parts_of_one_chunk(tmp_path: Path) -> None:
    with planned(saved(tmp_path, SOURCE), shards=even_slots(3), db_map={1: 0}) as merge:
        placed = [place(plan) for plan in merge.plans]
        together = errands(placed)
        shared = [errand for errand in together if len(errand.parts) > 1]
        assert [len(errand.parts) for errand in shared] == [3]
        maker = Maker(merge.plans, merge.segments)
        for errand in together:
            made: dict[int, bytes] = {}
            for number, piece in maker.pieces(errand):
                made[number] = made.get(number, b"") + bytes(piece)
            for number, (output, turn, each) in enumerate(errand.parts):
                assert len(made[number]) == each.part.size_bytes
                alone = b"".join(bytes(piece) for _, piece in maker.pieces(Errand(((output, turn, each),))))
                assert alone == made[number]
        assert sum(len(errand.parts) for errand in together) == sum(len(parts) for parts in placed)
        assert all(isinstance(errand.parts[0][2].part, Entries) for errand in shared)


def test_a_part_of_another_size_is_a_defect(tmp_path: Path) -> None:
    with planned(saved(tmp_path, SOURCE)) as merge:
        first = place(merge.plan)[0]
    check_size(first, first.part.size_bytes)
    with pytest.raises(LedgerError, match="the plan says") as defect:
        check_size(first, first.part.size_bytes + 1)
    assert "defect of rdbmerge" in defect.value.remedy
