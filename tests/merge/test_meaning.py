"""A merge holds what its rules mean: compared with a merge in plain Python, whatever the files and the rules."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import anytarget
import pytest
from anymerge import ANY_RULES, FILES, as_entry, expected, file_of, for_files
from anytarget import ABILITIES, RULES, SOURCES, held, newest_header
from hypothesis import given, settings
from merging import merged, merged_shards, saved
from rdbbytes import slot
from rows import contents
from unfit import META

from rdbmerge.errors import RdbMergeError, UnfitError, UsageError
from rdbmerge.ledger import balanced
from rdbmerge.plan.model import Plan
from rdbmerge.plan.sharding import even_slots


@settings(max_examples=250, deadline=None)
@given(FILES, ANY_RULES)
def test_any_merge_holds_what_its_rules_mean(files: Any, rules: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        datas = [file_of(stretches) for stretches in files]
        rules = for_files(rules, len(datas))
        merged(saved(folder, *datas), folder / "out.rdb", **rules)
        found = contents((folder / "out.rdb").read_bytes())
    assert {place: as_entry(entry) for place, entry in found.items()} == expected(datas, rules)


def run(datas: list[bytes], folder: Path, setting: dict[str, Any], rules: dict[str, Any]) -> list[tuple[Path, Plan]]:
    """The files of the merge."""
    output = folder / "out.rdb"
    if setting["shards"] is None:
        return [(output, merged(saved(folder, *datas), output, **rules))]
    return merged_shards(saved(folder, *datas), output, even_slots(setting["shards"]), **rules)


@settings(max_examples=300, deadline=None)
@given(SOURCES, RULES)
def test_any_merge_for_any_target_holds_what_its_rules_mean(files: Any, setting: dict[str, Any]) -> None:
    ability, rules = ABILITIES[setting["target"]], for_files(setting["rules"], len(files))
    if setting["shards"] or (ability and not ability.many_dbs):
        rules = anytarget.all_in_db_0(rules)
    told = anytarget.expected(files, rules, setting)
    rules |= {"target": setting["target"], "on_unsupported": setting["on_unsupported"]}
    datas = [anytarget.file_of(one) for one in files]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if told.error:
            kind: type[RdbMergeError] = UnfitError if "cannot" in told.error else UsageError
            with pytest.raises(kind, match=told.error):
                run(datas, folder, setting, rules)
            assert not list(folder.glob("out*"))
            return
        made = run(datas, folder, setting, rules)
        found = [held(path) for path, _ in made]
        assert sum(path.read_bytes().count(META) for path, _ in made) == told.with_meta
    assert {place: one for each in found for place, one in each.items()} == told.entries
    assert sum(map(len, found)) == len(told.entries)
    ledger = balanced([plan.ledger() for _, plan in made])
    names = ("read", "written", "expired", "filtered", "conflict_dropped", "rejected", "stripped")
    accounts = {(ord(line.source[0]) - ord("a"), line.db): line for line in ledger.lines}
    assert {place: {n: getattr(line, n) for n in names if getattr(line, n)} for place, line in accounts.items()} == {
        place: {n: count for n, count in account.items() if count} for place, account in told.accounts.items()
    }
    if ability:
        assert {plan.magic for _, plan in made} <= newest_header(ability)
    for each, (_, plan) in zip(found, made, strict=True):
        runs = plan.rules.slots or [(0, 16383)]
        assert all(any(first <= slot(key) <= last for first, last in runs) for _, key in each)
