"""Records are values: equal by what they say, and never changed."""

from __future__ import annotations

import dataclasses

import pytest

from rdbmerge.format.records import Aux, End, Function, ModuleAux, ResizeDb


@pytest.mark.parametrize(
    "one",
    [Aux(b"a", b"b", 9), ResizeDb(0, 1, 2), Function(b"lib", b"", 9), ModuleAux("m", True, 9, 20), End(9, None, 9)],
    ids=lambda one: type(one).__name__,
)
def test_a_record_is_a_value(one: object) -> None:
    assert one == dataclasses.replace(one)  # type: ignore[type-var]
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(one, dataclasses.fields(one)[0].name, None)  # type: ignore[arg-type]
