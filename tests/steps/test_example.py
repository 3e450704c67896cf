"""The example of a run file: it can be used as it is, and with every key in it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from realservers import need, running
from steps.runs import outcomes, ran

from rdbmerge.steps.config import RunFile
from rdbmerge.steps.example import EXAMPLE
from rdbmerge.steps.run_file import known_keys, read_run_file

pytestmark = pytest.mark.once

VARIABLES = {
    "ORDERS_PASSWORD": "a",
    "SENTINEL_PASSWORD": "b",
    "AUTH_TOKEN": "Secret-Token-1234567",
    "TARGET_PASSWORD": "c",
}
# Told in words, beside the key that they stand instead of.
IN_WORDS = {
    ("source", "password_file"), ("seed", "serverless_cache_name"), ("seed", "memorydb_cluster"),
    ("seed", "subnet_ids"), ("seed", "acl"), ("seed", "auth_token_file"),
}  # fmt: skip
AS_OF_A_SOURCE = {
    "password_file", "tls_ca", "tls_cert", "tls_key", "tls_sni", "tls_insecure", "ssh", "ssh_config", "sentinel_user",
    "sentinel_password",
}  # fmt: skip
WHOLE = re.sub(r"^#(?=[\[a-z])", "", EXAMPLE, flags=re.MULTILINE)


def tables(data: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Every table and key that is set."""
    for name, inside in data.items() if isinstance(data, dict) else ():
        for one in inside if isinstance(inside, list) else [inside]:
            if isinstance(one, dict):
                yield from ((name, key) for key in one)


@pytest.fixture
def whole(tmp_path: Path) -> RunFile:
    (tmp_path / "sessions.password").write_text("p")
    (tmp_path / "request.toml").write_text('PreferredMaintenanceWindow = "sun:03:00-sun:04:00"\n')
    (tmp_path / "m.toml").write_text(WHOLE)
    return read_run_file(tmp_path / "m.toml", VARIABLES)


def test_as_it_is_it_is_valid(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(EXAMPLE)
    found = read_run_file(tmp_path / "m.toml", {})
    assert found.names == ["orders"]
    assert (found.upload, found.seed, found.restore) == (None, None, None)


def test_with_every_key_it_is_valid_too(whole: RunFile) -> None:
    assert whole.names == ["orders", "sessions", "carts", "archive"]
    assert None not in (whole.upload, whole.seed, whole.restore)


def test_every_key_is_in_it() -> None:
    there = set(tables(tomllib.loads(WHOLE)))
    missing = {(table, key) for table in known_keys([]) for key in known_keys([table])} - there
    assert {one for one in missing if one[0] != "restore"} == IN_WORDS - {("source", "password_file")}
    assert {key for table, key in missing if table == "restore"} == AS_OF_A_SOURCE
    for _, key in IN_WORDS:
        assert re.search(rf"^# .*\b{key} = ", EXAMPLE, re.MULTILINE), key


def test_each_line_explains_or_sets_a_key() -> None:
    for line in EXAMPLE.splitlines():
        assert re.fullmatch(r"|#|# .*|#?\[+\w+\]+|#?[a-z_]+ = .+", line), line
        assert len(line) <= 120


def test_it_runs_with_real_servers_put_in(tmp_path: Path) -> None:
    with (
        running(need("redis-6.2"), config={"requirepass": "Secret-Token-12"}) as one,
        running(need("valkey-8.1")) as two,
    ):
        for number, server in enumerate((one, two)):
            with server.client(password="Secret-Token-12" if number == 0 else None) as client:
                client.set(f"k{number}", "v", ex=1_000)
        text = EXAMPLE.replace("10.0.0.1:6379", f"127.0.0.1:{one.port}")
        text = text.replace('#password = "${ORDERS_PASSWORD}"', 'password = "${ORDERS_PASSWORD}"')
        text = text.replace('#ttl_offset = "3h"', 'ttl_offset = "3h"').replace(
            '#key_prefix = "orders:"', 'key_prefix = "o:"'
        )
        text = text.replace("[pull]", f'[[source]]\nname = "two"\naddress = "127.0.0.1:{two.port}"\n[pull]')
        (tmp_path / "m.toml").write_text(text)
        report = ran(tmp_path / "m.toml", variables={"ORDERS_PASSWORD": "Secret-Token-12"})
    assert outcomes(report) == {"pull orders": "done", "pull two": "done", "merge": "done", "verify": "done"}
    assert report.lines[2].keys == 2
