"""Run files: what is right becomes typed values, what is wrong is told with file, line and key, all at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rdbmerge.errors import UsageError
from rdbmerge.plan.model import KeyPattern, Policy, Rules, SourceRules
from rdbmerge.steps.run_file import known_keys, read_run_file

pytestmark = pytest.mark.once

HEAD = '[run]\ndir = "w"\n'
SOURCE = '[[source]]\naddress = "h"\n'


def read(folder: Path, text: str, **variables: str) -> Any:
    path = folder / "m.toml"
    path.write_text(text)
    return read_run_file(path, variables)


def mistakes(folder: Path, text: str, **variables: str) -> list[str]:
    """The lines of the message, without the folder."""
    with pytest.raises(UsageError) as failure:
        read(folder, text, **variables)
    lines = str(failure.value).replace(f"{folder}/", "").splitlines()
    if len(lines) > 1:
        assert lines.pop(0) == f"{len(lines)} mistakes in m.toml:"
    assert failure.value.remedy
    return [line.strip() for line in lines]


def test_everything_arrives(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        """
[run]
dir = "w"
report = "/abs/r.json"
[pull]
max_bandwidth = "20MB/s"
timeout = "30s"
[[source]]
name = "orders"
address = "rediss://10.0.0.1:6380"
user = "u"
password = "${PW}"
tls_ca = "ca.pem"
ssh = "ops@bastion"
db_map = { 1 = 0, "2" = 5 }
key_prefix = "o:"
ttl_offset = "3h"
snapshot_time = "2026-11-23T02:00:00Z"
drop_expired = false
include_keys = ["glob:user:*", "re:^x"]
[[source]]
file = "old/dump.rdb"
dbs = [0, 3]
types = ["string", "hash"]
db_map = "3:0"
[merge]
target = "redis-7.0"
on_conflict = "longest-ttl"
ttl_freeze_until = 2026-11-23T02:00:00Z
slots = "0-8191,8192-16383"
[verify]
level = "full"
""",
        PW="p@ss%41",
    )
    assert (found.run.dir, str(found.run.report)) == (tmp_path / "w", "/abs/r.json")
    assert (found.pull.max_bandwidth, found.pull.limits().reply_timeout_s) == (20 << 20, 30.0)
    server = found.source[0].server()
    assert (server.address, server.username, server.password) == (
        "rediss://10.0.0.1:6380 via ops@bastion",
        "u",
        "p@ss%41",
    )
    assert server.tls_ca == str(tmp_path / "ca.pem")
    assert found.source[1].server() is None
    assert (found.names, found.source[1].file) == (["orders", "dump"], tmp_path / "old" / "dump.rdb")
    assert found.merge.shard_slots() == [[(0, 8191)], [(8192, 16383)]]
    at_ms = 1_795_399_200_000
    assert found.rules() == Rules(
        target="redis-7.0", on_conflict=Policy.LONGEST_TTL, ttl_freeze_until_ms=at_ms,
        sources={
            "orders": SourceRules(
                db_map={1: 0, 2: 5}, key_prefix=b"o:", ttl_offset_ms=10_800_000, snapshot_at_ms=at_ms,
                drop_expired=False,
                include_keys=[KeyPattern(kind="glob", text=b"user:*"), KeyPattern(kind="re", text=b"^x")],
            ),
            "dump": SourceRules(dbs=[0, 3], types=["string", "hash"], db_map={3: 0}),
        },
    )  # fmt: skip


GOLDEN: list[tuple[str, list[str]]] = [
    ("", ["1: run: is missing", "1: source: is missing"]),
    ("x = ", ["1: not TOML: invalid value"]),
    (f"{HEAD}{SOURCE}[merge]\non_conflict = first", ["6: not TOML: invalid value"]),
    (f'{HEAD}dir = "x"\n', ["3: not TOML: cannot overwrite a value"]),
    (f"{HEAD}{SOURCE}[merge\n", ["5: not TOML: expected ']' at the end of a table declaration"]),
    (
        f"{HEAD}source = 3\n",
        ["1: source: is missing", "3: run.source: is no key of this table; its keys are dir, jobs, report"],
    ),
    (f"source = []\n{HEAD}", ["1: source: needs at least one"]),
    (
        f'{HEAD}jbos = 3\njobs = "3"\n{SOURCE}',
        ["3: run.jbos: is no key of this table; did you mean jobs?", "4: run.jobs: must be a whole number"],
    ),
    (f"{HEAD}jobs = 0\n{SOURCE}", ["3: run.jobs: must be at least 1"]),
    (f"{HEAD}jobs = true\n{SOURCE}", ["3: run.jobs: must be a whole number"]),
    (f"[run]\n{SOURCE}", ["1: run.dir: is missing"]),
    (f"[run]\ndir = 3\n{SOURCE}", ["2: run.dir: must be text in quotes"]),
    (f"{HEAD}[[source]]\n", ["3: source: needs an address or a file, and not both"]),
    (f'{HEAD}{SOURCE}file = "a.rdb"\n', ["3: source: needs an address or a file, and not both"]),
    (
        f'{HEAD}[[source]]\nfile = "a.rdb"\nuser = "u"\ntls_sni = "x"\n',
        ["3: source: tls_sni, user is for servers, and this source is a file"],
    ),
    (
        f'{HEAD}[[source]]\naddress = "h:99999"\n',
        ["4: source.address: 'h:99999' is not a source address: the port must be 1 to 65535; write it as"],
    ),
    (f'{HEAD}{SOURCE}name = "a/b"\n', ["3: source: 'a/b' cannot be the name of a source; use at most"]),
    (f'{HEAD}{SOURCE}user = "u"\n', ["3: source: source h-6379: a user name, but no password; give the password too"]),
    (
        f'{HEAD}{SOURCE}password = "p"\npassword_file = "f"\n',
        ["3: source: password and password_file are both given; give one of them"],
    ),
    (
        f'{HEAD}{SOURCE}password_file = "none"\n',
        ["3: source: cannot read the password file none: No such file or directory; give"],
    ),
    (
        f"{HEAD}{SOURCE}{SOURCE}",
        [
            "5: source.name: another source has the name h-6379; each once",
            "6: source.address: another source has the address h:6379; each once",
        ],
    ),
    (
        f'{HEAD}[[source]]\nfile = "a.rdb"\n[[source]]\nfile = "b/a.rdb"\n',
        ["5: source.name: another source has the name a; each once"],
    ),
    (
        f'{HEAD}{SOURCE}ttl_offset = "3x"\n',
        ["5: source.ttl_offset: '3x' is not a duration; write it as 3h, -15m, 1d12h or 1500ms"],
    ),
    (f"{HEAD}{SOURCE}ttl_offset = 3\n", ["5: source.ttl_offset: must be text in quotes"]),
    (
        f"{HEAD}{SOURCE}snapshot_time = 2026-11-23T02:00:00\n",
        ["5: source.snapshot_time: '2026-11-23T02:00:00' has no time zone; add Z"],
    ),
    (f"{HEAD}{SOURCE}db_map = {{ a = 0 }}\n", ["5: source.db_map: is not a map of dbs; write it as { 1 = 0, 2 = 5 }"]),
    (f"{HEAD}{SOURCE}db_map = [1]\n", ['5: source.db_map: must be a table { 1 = 0 } or text "1:0"']),
    (f"{HEAD}{SOURCE}dbs = [\n1,\n-1,\n]\n", ["7: source.dbs: must be at least 0"]),
    (f'{HEAD}{SOURCE}types = ["strin"]\n', ["5: source.types: must be 'string', 'list', "]),
    (
        f'{HEAD}{SOURCE}exclude_keys = ["re:("]\n',
        ["5: source.exclude_keys: '(' is not a regular expression: missing ), unterminated subpattern"],
    ),
    (
        f'{HEAD}{SOURCE}[merge]\non_conflict = "frist"\n',
        ["6: merge.on_conflict: must be 'fail', 'first', 'last' or 'longest-ttl'"],
    ),
    (
        f'{HEAD}{SOURCE}[merge]\nshards = 2\nslots = "0-16383"\n',
        ["5: merge: shards and slots contradict each other; give one of them"],
    ),
    (f'{HEAD}{SOURCE}[merge]\nslots = "0-5"\n', ["6: merge.slots: slot 6 is given to no shard; give every slot"]),
    (
        f'{HEAD}{SOURCE}[merge]\ntarget = "redis-1"\n',
        ["6: merge.target: 'redis-1' is no target that is known; give one of"],
    ),
    (
        f'{HEAD}{SOURCE}[merge]\non_unsupported = "skip"\n',
        ["5: merge: on_unsupported = 'skip' is given without a target"],
    ),
    (f"{HEAD}{SOURCE}[verfy]\n", ["5: verfy: is no key of this table; did you mean verify?"]),
    (f"{HEAD}{SOURCE}verify.level = 3\n", ["5: source.verify: is no key of this table; its keys are"]),
    (f"{HEAD}{SOURCE}[pull]\ntimeout = '0s'\n", ["6: pull.timeout: must be more than 0"]),
    (
        f'{HEAD}{SOURCE}[upload]\nurl = "http://x"\n',
        ["6: upload.url: 'http://x' is not the address of an object"],
    ),
    (
        f'{HEAD}{SOURCE}[seed]\nserverless_cache_name = "c"\n',
        ["5: seed: a cache is seeded from objects"],
    ),
    (
        f"{HEAD}{SOURCE}[seed]\nengine = 'valkey'\n",
        ["5: seed: needs one of replication_group_id"],
    ),
    (
        f'{HEAD}{SOURCE}[upload]\nurl = "s3://buc/k"\n[merge]\nshards = 2\n',
        ["6: upload.url: each shard's file becomes an object of its own: end it with /"],
    ),
]


@pytest.mark.parametrize(("text", "expected"), GOLDEN, ids=range(len(GOLDEN)))
def test_a_mistake_is_told_with_file_line_and_key(tmp_path: Path, text: str, expected: list[str]) -> None:
    found = [line.removeprefix("m.toml:") for line in mistakes(tmp_path, text)]
    assert len(found) == len(expected), found
    assert all(one.startswith(told) for one, told in zip(found, expected, strict=True)), found


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read the run file .*none\.toml: No such file") as failure:
        read_run_file(tmp_path / "none.toml", {})
    assert "rdbmerge init" in failure.value.remedy
    (tmp_path / "m.toml").write_bytes(b"\xff")
    with pytest.raises(UsageError, match="not UTF-8 text"):
        read_run_file(tmp_path / "m.toml", {})


# --- the environment ----------------------------------------------------------------------------------------------


def test_variables_stand_in_values_and_an_escaped_one_for_itself(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        f'{HEAD}[[source]]\naddress = "${{HOST}}:${{PORT}}"\nkey_prefix = "$${{HOST}}$$ $"\ndb_map = "${{MAP}}"\n',
        HOST="10.0.0.1", PORT="7000", MAP="1:0",
    )  # fmt: skip
    assert found.source[0].server().address == "10.0.0.1:7000"
    assert (found.source[0].key_prefix, found.source[0].db_map) == ("${HOST}$$ $", {1: 0})


@pytest.mark.parametrize("password", ["p@ss", "a:b/c", "100%25", "#?[]", "${X}"])
def test_a_password_within_an_address_is_what_it_is(tmp_path: Path, password: str) -> None:
    found = read(tmp_path, f'{HEAD}[[source]]\naddress = "redis://u:${{PW}}@h:7000"\n', PW=password)
    server = found.source[0].server()
    assert (server.username, server.password, server.address) == ("u", password, "h:7000")


def test_variables_that_are_not_set_are_told_each_with_its_place(tmp_path: Path) -> None:
    text = f'{HEAD}[[source]]\naddress = "h"\npassword = "${{PW}}"\n[merge]\nkey_prefix = "${{P}}"\n'
    said = "the variable {0} is not set; export {0} before running rdbmerge"
    assert mistakes(tmp_path, text) == [
        f"m.toml:5: source.password: {said.format('PW')}", f"m.toml:7: merge.key_prefix: {said.format('P')}",
    ]  # fmt: skip


def test_what_came_from_the_environment_is_in_no_message(tmp_path: Path) -> None:
    text = (
        f'{HEAD}[[source]]\naddress = "redis://u:${{PW}}@h/3"\n[[source]]\naddress = "${{PW}}:x"\nname = "${{PW}}"\n'
        '[[source]]\nfile = "a"\nttl_offset = "${PW}"\n[merge]\ntarget = "${PW}"\non_conflict = "${PW}"\n'
    )
    found = mistakes(tmp_path, text, PW="hunter 2")
    assert len(found) == 5
    assert not any("hunter" in line for line in found)
    assert "m.toml:10: source.ttl_offset: '${PW}' is not a duration; write it as 3h, -15m, 1d12h or 1500ms" in found


def test_no_secret_is_shown_with_the_values(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("hunter3\n")
    text = f'{HEAD}{SOURCE}password = "${{PW}}"\n[[source]]\naddress = "i"\npassword_file = "pw"\n'
    found = read(tmp_path, text, PW="hunter2")
    assert [one.server().password for one in found.source] == ["hunter2", "hunter3"]
    assert "hunter" not in repr(found)


def test_paths_are_those_of_the_file_wherever_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.toml").write_text(f'{HEAD}[[source]]\nfile = "~/a.rdb"\n')
    found = read_run_file(Path("m.toml"), {})
    assert found.run.dir == tmp_path / "w"
    assert found.source[0].file == Path("~/a.rdb").expanduser()


def test_the_keys_of_a_table_are_known() -> None:
    assert known_keys([])[:4] == ["run", "pull", "source", "merge"]
    assert {"address", "db_map", "ttl_offset", "tls_ca"} < set(known_keys(["source"]))
    assert known_keys(["run", "dir"]) == []
