from __future__ import annotations

import dataclasses
import io

from rdbmerge.replication.pulled import PulledSnapshot, Sink


def test_the_facts_have_no_field_that_could_hold_a_secret() -> None:
    names = {field.name for field in dataclasses.fields(PulledSnapshot)}
    assert not {name for name in names if "pass" in name or "user" in name or name == "source"}


def test_every_time_and_size_says_its_unit() -> None:
    for field in dataclasses.fields(PulledSnapshot):
        if field.type in ("int", "float", "int | None") and field.name not in ("offset", "attempts"):
            assert field.name.endswith(("_ms", "_s", "_bytes")), field.name


def test_a_buffered_file_is_a_sink() -> None:
    sink: Sink = io.BytesIO()
    sink.write(memoryview(b"abc"))
    assert isinstance(sink, io.BytesIO)
    assert sink.getvalue() == b"abc"
