"""A merge holds what its rules mean: compared with a merge in plain Python, whatever the files and the rules."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from anymerge import ANY_RULES, FILES, as_entry, expected, file_of
from hypothesis import given, settings
from merging import merged, saved
from rows import contents


@settings(max_examples=250, deadline=None)
@given(FILES, ANY_RULES)
def test_any_merge_holds_what_its_rules_mean(files: Any, rules: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        datas = [file_of(stretches) for stretches in files]
        merged(saved(folder, *datas), folder / "out.rdb", **rules)
        found = contents((folder / "out.rdb").read_bytes())
    assert {place: as_entry(entry) for place, entry in found.items()} == expected(datas, rules)
