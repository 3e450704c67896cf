"""`verify --live`: its options, what it refuses, and what it exits with."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.running import command, run
from realservers import RunningServer, ServerRefused, free_port, need, running
from sshserver import need_sshd, ssh_server

from rdbmerge.verify.live_report import LiveReport

pytestmark = pytest.mark.once

PASSWORD = "Secret-Token-1234567"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningServer]:
    monkeypatch.chdir(tmp_path)
    with running(need("redis-7.0"), config={"requirepass": PASSWORD}) as one, one.client() as client:
        client.mset({f"k{number}": "v" for number in range(50)})
        client.set("t", "v", ex=3_600)
        shutil.copyfile(one.save(), "a.rdb")
        yield one


def live(server: RunningServer, *arguments: str, password: str = PASSWORD) -> tuple[int, str, str]:
    address = f"redis://127.0.0.1:{server.port}"
    result = run("verify", *arguments, "--live", address, env={"RDBMERGE_PASSWORD": password})
    return result.exit_code, result.stdout, result.stderr


def test_a_server_that_holds_the_file_passes(server: RunningServer) -> None:
    for side in (("a.rdb",), ("--against", "a.rdb")):
        code, out, err = live(server, *side, "--report", "r.json", "--force")
        assert code == 0
        assert out.splitlines()[-1] == f"127.0.0.1:{server.port}: PASSED"
        assert "Compared 51 keys in " in err
        assert LiveReport.model_validate_json(Path("r.json").read_text()).verdict == "passed"
        assert Path("r.json").stat().st_mode & 0o777 == 0o600
        assert PASSWORD not in out + err + Path("r.json").read_text()


def test_differences_exit_with_22_and_options_are_heard(server: RunningServer) -> None:
    with server.client() as client:
        client.delete("k1")
        client.expire("t", 7_200)
    code, out, _ = live(server, "a.rdb")
    assert code == 22
    assert out.splitlines()[-1].endswith("FAILED (entries)")
    assert "Differences: 2" in out
    code, out, _ = live(server, "a.rdb", "--ttl-tolerance", "2h", "--connections", "1", "--max-qps", "100000")
    assert code == 22
    assert "Differences: 1" in out
    code, out, _ = live(server, "a.rdb", "--sample", "5", "--report", "r.json")
    assert json.loads(Path("r.json").read_text())["sample"] == 5
    code, _, _ = live(server, "a.rdb", "--exclude-key", "k1", "--exclude-key", "t")
    assert code == 22  # t is there and should not be
    code, _, _ = live(server, "a.rdb", "--ttl-offset", "1h", "--exclude-key", "k1", "--retry-for", "0")
    assert code == 0


def test_a_wrong_password_is_a_failure_of_the_target(server: RunningServer) -> None:
    code, _, err = live(server, "a.rdb", password="wrong-secret-word")
    assert code == 50
    assert "does not accept the password" in err
    assert "wrong-secret-word" not in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("a.rdb", "--against", "a.rdb", "--live", "h"), "both are given"),
        (("--live", "h"), "no files are given"),
        (("a.rdb",), "missing option '--against'"),
        (("--against", "a.rdb"), "missing argument 'MERGED...'"),
        (("a.rdb", "--live", "h", "--level", "full"), "--live takes no --shards"),
        (("a.rdb", "--live", "h", "--shards", "3"), "--live takes no --shards"),
        (("a.rdb", "--live", "h", "--witness", "server"), "--live takes no --shards"),
        (("a.rdb", "--live", "http://h"), "is not a target address"),
        (("a.rdb", "--live", "h", "--sample", "some"), "--sample: 'some' is not a number of keys"),
        (("a.rdb", "--live", "h", "--sample", "0"), "--sample: '0' is not a number of keys"),
        (("a.rdb", "--live", "h", "--ttl-tolerance", "-1s"), "cannot be negative"),
        (("a.rdb", "--live", "h", "--timeout", "0"), "must be more than 0"),
    ],
)
def test_what_cannot_be_is_refused(
    arguments: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.rdb").write_bytes(b"REDIS0009\xff" + bytes(8))
    result = run("verify", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_tls_and_a_user_of_the_servers_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What managed caches want: TLS, and a user with a password; for a comparison and for a pull key by key."""
    monkeypatch.chdir(tmp_path)
    words = "req -x509 -newkey rsa:2048 -nodes -keyout k.pem -out c.pem -days 2 -subj /CN=localhost"
    subprocess.run(
        ["openssl", *words.split(), "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True
    )
    tls_port = free_port()
    files = {"tls-cert-file": "c.pem", "tls-key-file": "k.pem", "tls-ca-cert-file": "c.pem"}
    config = {name: str(tmp_path / file) for name, file in files.items()}
    try:
        server = running(need("redis-7.0"), config=config | {"tls-port": str(tls_port), "tls-auth-clients": "no"})
        one = server.__enter__()
    except ServerRefused as refused:
        pytest.skip(f"this server has no TLS: {refused}")
    try:
        with one.client() as client:
            client.mset({f"k{number}": "v" * number for number in range(1_000)})
            shutil.copyfile(one.save(), "a.rdb")
            client.execute_command("ACL", "SETUSER", "ann", "on", f">{PASSWORD}", "~*", "+@all")
        url, env = f"rediss://ann@127.0.0.1:{tls_port}", {"RDBMERGE_PASSWORD": PASSWORD}
        assert run("verify", "a.rdb", "--live", url, "--tls-ca", "c.pem", env=env).exit_code == 0
        untrusted = run("verify", "a.rdb", "--live", url, env=env)
        assert (untrusted.exit_code, "its certificate is not trusted" in untrusted.stderr) == (50, True)
        pulled = run("pull", f"a={url}", "--dir", "s", "--via", "scan", "--tls-ca", "c.pem", env=env)
        assert pulled.exit_code == 0, pulled.stderr
        assert run("verify", "s/a.rdb", "--live", url, "--tls-insecure", env=env).exit_code == 0
    finally:
        server.__exit__(None, None, None)


def test_a_comparison_that_was_killed_is_taken_up(server: RunningServer) -> None:
    """kill -9 at any moment after the first chunk: the next run asks for the rest only, and the sum is whole."""
    with server.client() as client:
        for db in range(1, 4):
            client.execute_command("SELECT", db)
            pipe = client.pipeline(transaction=False)
            for number in range(600):
                pipe.set(f"k{number}", "v")
            pipe.execute()
        shutil.copyfile(server.save(), "b.rdb")
    words = ("verify", "b.rdb", "--live", f"127.0.0.1:{server.port}", "--checkpoint", "c.json", "--connections", "1")
    environment = {**os.environ, "RDBMERGE_PASSWORD": PASSWORD}
    slow = subprocess.Popen(
        command(*words, "--max-qps", "500"), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not Path("c.json").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    slow.kill()
    slow.wait()
    done = json.loads(Path("c.json").read_text())["done"]
    assert 0 < len(done) < 4
    again = run(*words, "--report", "r.json", env={"RDBMERGE_PASSWORD": PASSWORD})
    assert again.exit_code == 0, again.output
    report = LiveReport.model_validate_json(Path("r.json").read_text())
    assert sum(line.asked for line in report.ledger) == 51 + 1_800
    assert len(report.resumed_at_ms) == 1
    assert not Path("c.json").exists()


def test_a_server_behind_a_bastion_is_compared_and_pulled_key_by_key(server: RunningServer) -> None:
    need_sshd()
    with ssh_server() as bastion:
        way = ("--ssh", "bastion", "--ssh-config", str(bastion.config))
        place, env = f"127.0.0.1:{server.port}", {"RDBMERGE_PASSWORD": PASSWORD}
        compared = run("verify", "a.rdb", "--live", place, *way, env=env)
        assert compared.exit_code == 0, compared.output
        assert f"{place} via bastion: PASSED" in compared.stdout
        pulled = run("pull", f"a={place}", "--dir", "s", "--via", "scan", *way, env=env)
        assert pulled.exit_code == 0, pulled.output
        refused = run("verify", "a.rdb", "--live", "127.0.0.1:1", *way, env=env)
        assert refused.exit_code == 50
        assert "Try:" in refused.stderr


def test_what_is_named_a_cluster_has_to_be_one(server: RunningServer) -> None:
    named = run("verify", "a.rdb", "--live", f"redis-cluster://127.0.0.1:{server.port}",
                env={"RDBMERGE_PASSWORD": PASSWORD})  # fmt: skip
    assert named.exit_code == 50
    assert "cluster" in named.stderr
