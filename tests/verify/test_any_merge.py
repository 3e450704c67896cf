"""Whatever is merged for whatever target passes; and what passes holds what was merged, whatever byte was changed."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import anytarget
from anymerge import for_files
from anytarget import ABILITIES, RULES, SOURCES, held
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from merging import NOW_MS, saved
from verify.world import with_checksum

from rdbmerge.errors import RdbMergeError
from rdbmerge.plan.model import PLANS, Rules
from rdbmerge.plan.sharding import Slots, even_slots
from rdbmerge.steps.merge import output_paths, planned_merge, write_merge
from rdbmerge.steps.verify import verify
from rdbmerge.verify.report import ShardsReport


def merge(folder: Path, files: Any, setting: dict[str, Any]) -> tuple[list[Path], Rules, list[Slots] | None]:
    """The merged files of any setting, with their plan beside them; settings that are refused are passed over."""
    ability, rules = ABILITIES[setting["target"]], for_files(setting["rules"], len(files))
    if setting["shards"] or (ability and not ability.many_dbs):
        rules = anytarget.all_in_db_0(rules)
    slots = even_slots(setting["shards"]) if setting["shards"] else None
    declared = Rules(**rules, target=setting["target"], on_unsupported=setting["on_unsupported"])
    sources = saved(folder, *(anytarget.file_of(one) for one in files))
    try:
        with planned_merge(sources, declared, now_ms=NOW_MS, jobs=1, shards=slots) as planned:
            write_merge(planned, folder / "out.rdb", jobs=1)
            (folder / "plan.json").write_bytes(PLANS.dump_json(list(planned.plans)))
    except RdbMergeError:
        assume(False)
    return output_paths(folder / "out.rdb", slots), declared, slots


def complaints(report: Any) -> list[Any]:
    """Everything that a report finds wrong."""
    reports = report.shards if isinstance(report, ShardsReport) else [report]
    found = [(check.name, check.detail) for one in (report, *reports) for check in one.failed_checks]
    return found + [difference for one in reports for difference in one.differences]


@settings(max_examples=100, deadline=None)
@given(SOURCES, RULES, st.sampled_from(["counts", "digest", "full"]))
def test_any_merge_for_any_target_passes(files: Any, setting: dict[str, Any], level: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        outputs, rules, slots = merge(Path(name), files, setting)
        sources = sorted(Path(name).glob("?.rdb"))
        by_plan = verify(outputs, against=[Path(name) / "plan.json"], rules=None, level=level, jobs=1, now_ms=NOW_MS)
        by_rules = verify(outputs, against=sources, rules=rules, shards=slots, level=level, jobs=1, now_ms=NOW_MS)
    for report in (by_plan, by_rules):
        assert complaints(report) == []
        assert report.verdict == "passed"


@settings(max_examples=100, deadline=None)
@given(SOURCES, RULES, st.data())
def test_a_merged_file_that_passes_holds_what_was_merged(files: Any, setting: dict[str, Any], data: Any) -> None:
    """A byte of it may be another without a difference (the form of a number, the time it was made); no value may."""
    with tempfile.TemporaryDirectory() as name:
        outputs, rules, slots = merge(Path(name), files, setting)
        sources = sorted(Path(name).glob("?.rdb"))
        path = data.draw(st.sampled_from(outputs))
        right, was = path.read_bytes(), held(path)
        for _ in range(8):
            changed = bytearray(right[:-8])
            place = data.draw(st.integers(9, len(changed) - 1))
            changed[place] ^= data.draw(st.sampled_from([1, 2, 4, 16, 64, 128, 255]))
            path.write_bytes(with_checksum(bytes(changed)))
            level = data.draw(st.sampled_from(["digest", "full"]))
            try:
                report = verify(outputs, against=sources, rules=rules, shards=slots, level=level, jobs=1, now_ms=NOW_MS)
            except RdbMergeError:
                continue
            if report.verdict == "passed":
                assert held(path) == was
            else:
                assert complaints(report)
