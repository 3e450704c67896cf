"""The rules, as they apply to one source: what is selected of it, and how it is changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from merging import opened
from rdbbytes import entry, rdb, select

from rdbmerge.errors import UsageError
from rdbmerge.plan.model import Policy, Rules, SourceRules
from rdbmerge.plan.profile import PROFILES
from rdbmerge.plan.treatment import Treatment, profile_of, refuse_unknown_sources, rules_of, treat


def treated(folder: Path, **rules: Any) -> Treatment:
    with opened(folder, rdb(9, select(0), entry(b"k"))) as merge:
        return treat(Rules(**rules), merge.segments[0], snapshot_at_ms=500, ttl_offset_ms=70, losers=[11])


def test_everything_of_the_rules_arrives(tmp_path: Path) -> None:
    treatment = treated(tmp_path, key_prefix=b"p:", target="redis-3.2", dbs=[3])
    change, selection = treatment.change, treatment.selection
    assert (change.ttl_offset_ms, change.key_prefix, change.fields_dead_before_ms) == (70, b"p:", 500)
    assert change.loader is not None
    assert change.loader.types == PROFILES["redis-3.2"].types
    assert (selection.dead_before_ms, selection.losers.tolist(), selection.takes_db(0)) == (500, [11], False)
    assert selection.fitting is not None
    assert selection.fitting.profile == PROFILES["redis-3.2"]
    assert selection.fitting.change is change


def test_the_dead_are_kept_if_the_rules_say_so(tmp_path: Path) -> None:
    treatment = treated(tmp_path, drop_expired=False)
    assert (treatment.selection.dead_before_ms, treatment.change.fields_dead_before_ms) == (None, None)


def test_without_a_target_nothing_has_to_fit(tmp_path: Path) -> None:
    treatment = treated(tmp_path)
    assert (treatment.selection.fitting, treatment.change.loader) == (None, None)
    assert profile_of(Rules()) is None


def test_the_target_is_found_by_any_of_its_names() -> None:
    assert profile_of(Rules(target="redis-6.x")) == PROFILES["redis-6.0"]
    with pytest.raises(UsageError, match="'redis-1' is no target"):
        profile_of(Rules(target="redis-1"))


def test_a_source_has_its_own_rules_where_they_are_given_and_those_of_the_merge_elsewhere() -> None:
    own = SourceRules(key_prefix=b"a:", dbs=[], ttl_offset_ms=0)
    rules = Rules(ttl_offset_ms=5, dbs=[1], types=["list"], sources={"a.rdb": own}, on_conflict=Policy.LAST)
    of_a, of_b = rules_of(rules, "a.rdb"), rules_of(rules, "b.rdb")
    assert of_a == Rules(ttl_offset_ms=0, dbs=[], types=["list"], key_prefix=b"a:", on_conflict=Policy.LAST)
    assert of_b == Rules(ttl_offset_ms=5, dbs=[1], types=["list"], on_conflict=Policy.LAST)


def test_every_rule_that_a_source_may_have_is_one_of_the_merge() -> None:
    shared = SourceRules.model_fields.keys() & Rules.model_fields.keys()
    assert shared == SourceRules.model_fields.keys()
    assert Rules.model_fields.keys() - shared == {"on_conflict", "target", "on_unsupported", "slots", "sources"}


def test_rules_for_a_source_that_is_not_there_are_refused() -> None:
    rules = Rules(sources={"b.rdb": SourceRules(), "a.rdb": SourceRules()})
    refuse_unknown_sources(rules, ["a.rdb", "b.rdb", "c.rdb"])
    with pytest.raises(UsageError, match=r"rules for b\.rdb, which is no source of this merge") as failure:
        refuse_unknown_sources(rules, ["a.rdb"])
    assert failure.value.remedy == "the sources are a.rdb"
