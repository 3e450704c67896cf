from __future__ import annotations

import json
import re

from cli.running import run

from rdbmerge.plan.profile import PROFILES


def rows() -> dict[str, list[str]]:
    """The table's cells by target."""
    lines = [re.split(r" {2,}", line) for line in run("targets").stdout.splitlines()]
    return {cells[0]: cells[1:] for cells in lines if cells[0] in PROFILES}


def test_every_target_is_listed_with_what_it_loads() -> None:
    told = rows()
    assert list(told) == list(PROFILES)
    assert told["redis-2.6"] == ["1-6", "-", "-", "-", "-", "many", "measured"]
    assert told["redis-6.2"] == ["1-9", "yes", "-", "-", "yes", "many", "measured"]
    assert told["valkey-9.1"] == ["1-11, 80", "yes", "yes", "yes", "yes", "many", "measured"]
    assert told["elasticache-redis-7.1"] == ["1-10", "yes", "-", "yes", "-", "many", "inferred"]
    assert told["elasticache-serverless"] == ["1-10", "yes", "-", "-", "-", "one", "inferred"]


def test_the_columns_are_named_and_explained() -> None:
    text = run("targets").stdout
    heading = text.splitlines()[0].split("  ")
    assert [name.strip() for name in heading if name] == [
        "Target", "RDB", "Streams", "Field TTLs", "Functions", "Modules", "Dbs", "Known by",
    ]  # fmt: skip
    assert "Measured: on a server of that version" in text
    assert "inferred: from what is published" in text


def test_the_table_fits_a_terminal_of_100_columns() -> None:
    assert max(map(len, run("targets").stdout.splitlines())) <= 100


def test_each_name_that_is_listed_is_taken() -> None:
    assert run("targets").exit_code == 0
    refused = run("merge", "nope.rdb", "--dry-run", "--target", "elasticache-serverless")
    assert refused.stderr.startswith("Error: nope.rdb is not there")


def test_the_same_as_json_for_scripts() -> None:
    facts = {one["name"]: one for one in json.loads(run("targets", "--json").stdout)}
    assert list(facts) == list(PROFILES)
    assert facts["redis-6.2"] == {
        "name": "redis-6.2", "line": "redis", "redis_version": 9, "valkey_version": 0,
        "types": [*range(6), 7, *range(9, 16)], "streams": True, "field_expiries": False, "functions": False,
        "modules": True, "many_dbs": True, "measured": True,
    }  # fmt: skip
