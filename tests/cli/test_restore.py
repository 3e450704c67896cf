"""The command restore, as its users run it."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from cli.running import command, run
from rdbbytes import entry, rdb, record, select, string
from realservers import RunningServer, need, running
from restoring import now_ms

from rdbmerge.steps.restoring.report import RestoreReport

SECRET = "Secret-Token-1234567"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "a.rdb"
    made.write_bytes(rdb(9, select(0), entry(b"k"), entry(b"l", expire_at_ms=now_ms() + 10**7), select(3), entry(b"m")))
    return made


def test_keys_are_in_the_target_and_the_ledger_is_shown(path: Path, tmp_path: Path) -> None:
    with running(need("redis-7.0")) as server:
        result = run("restore", path, server.url, "--report", tmp_path / "r.json", "-q")
        assert server.counts() == {0: 2, 3: 1}
    assert result.exit_code == 0, result.stderr
    assert re.search(r"^OK +target +Redis 7\.0", result.stdout, re.MULTILINE)
    assert re.search(r"^total +3 +3$", result.stdout, re.MULTILINE)
    assert "Restored" in result.stdout
    assert f"3 keys are in 127.0.0.1:{server.port}" in result.stdout
    report = RestoreReport.model_validate_json((tmp_path / "r.json").read_text())
    assert (report.restored, report.dry_run) == (3, False)
    assert (tmp_path / "r.json").stat().st_mode & 0o777 == 0o600


def test_a_dry_run_shows_what_would_be(path: Path) -> None:
    with running(need("redis-7.0")) as server:
        result = run("restore", path, server.url, "--dry-run")
        assert server.counts() == {}
    assert result.exit_code == 0
    assert "dry run: nothing was sent; 3 keys would be restored" in result.stdout


def test_a_target_with_keys_is_refused_until_it_is_said_what_becomes_of_them(path: Path) -> None:
    with running(need("redis-7.0")) as server:
        with server.client() as client:
            client.set("k", "mine")
        result = run("restore", path, server.url)
        assert result.exit_code == 2
        assert re.search(r"^FAILED +keys +the target holds 1 key in db 0", result.stdout, re.MULTILINE)
        assert "--on-busy" in result.stderr
        result = run("restore", path, server.url, "--on-busy", "skip")
        assert result.exit_code == 0
        assert re.search(r"^total +3 +1 +2$", result.stdout, re.MULTILINE)
        assert "Skipped" in result.stdout
        with server.client() as client:
            assert client.get("k") == b"mine"


def test_what_the_target_refuses_makes_it_fail_though_the_rest_is_there(path: Path) -> None:
    broken = record(10, b"bad", string(b"\x0d\0\0\0\x0a\0\0\0\x01\0\x99\x00\xff"))
    path.write_bytes(rdb(9, select(0), entry(b"k"), broken))
    with running(need("redis-7.0"), config={"sanitize-dump-payload": "yes"}) as server:
        result = run("restore", path, server.url)
    assert result.exit_code == 50
    assert "refused 1 keys; they are listed in" in result.stderr
    listed = Path(re.search(r"listed in (\S+)", result.stderr)[1])  # type: ignore[index]
    assert json.loads(listed.read_text())["why"] == "ERR Bad data format"


def test_secrets_come_from_the_environment_or_a_file_and_are_never_shown(path: Path, tmp_path: Path) -> None:
    with running(need("redis-7.0"), config={"requirepass": SECRET}) as server:
        result = run("restore", path, server.url)
        assert (result.exit_code, SECRET in result.output) == (50, False)
        assert "password" in result.stderr
        result = run("restore", path, server.url, env={"RDBMERGE_PASSWORD": SECRET})
        assert result.exit_code == 0, result.stderr
        (tmp_path / "secret").write_text(f"{SECRET}\n")
        report = tmp_path / "r.json"
        result = run(
            "restore", path, server.url, "--password-file", tmp_path / "secret", "--on-busy", "replace", "--report",
            report,
        )  # fmt: skip
        assert result.exit_code == 0, result.stderr
        assert SECRET not in result.output + report.read_text()


def test_tls_is_checked(path: Path, tmp_path: Path) -> None:
    need("redis-7.0")
    key, cert = tmp_path / "k.pem", tmp_path / "c.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    from realservers import free_port

    port = free_port()
    config = {
        "tls-port": str(port), "tls-cert-file": str(cert), "tls-key-file": str(key), "tls-ca-cert-file": str(cert),
        "tls-auth-clients": "no",
    }  # fmt: skip
    with running(need("redis-7.0"), config=config) as server:
        url = f"rediss://localhost:{port}"
        assert run("restore", path, url).exit_code == 50
        result = run("restore", path, url, "--tls-ca", cert)
        assert result.exit_code == 0, result.stderr
        assert sum(server.counts().values()) == 3


def test_ctrl_c_ends_it_soon_and_the_same_command_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "a.rdb"
    path.write_bytes(rdb(9, *(select(db) + b"".join(entry(b"k%d" % n) for n in range(2_000)) for db in range(12))))

    def keys(server: RunningServer) -> int:
        return sum(server.counts().values())

    with running(need("redis-7.0")) as server:
        words = ["restore", path, server.url]
        process = subprocess.Popen(
            command(*words, "--max-bandwidth", "500k"), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        while process.poll() is None and not keys(server):
            pass
        process.terminate()
        _, said = process.communicate(timeout=30)
        assert process.returncode == 130, said
        assert b"of 24,000 keys are done" in said
        assert b"run the same command again" in said
        result = run(*words, "-q")
        assert result.exit_code == 0, result.stderr
        assert keys(server) == 24_000


def test_what_an_older_target_cannot_hold_is_settled_without_naming_it(tmp_path: Path, golden: Path) -> None:
    path = tmp_path / "a.rdb"
    path.write_bytes((golden / "7.0.15" / "all_types.rdb").read_bytes())
    with running(need("redis-3.2")) as server:
        words = ("restore", path, server.url, "--keep-expired", "--ttl-offset", "1000d")
        result = run(*words)
        assert (result.exit_code, "redis-3.2 cannot hold" in result.stderr) == (13, True)
        result = run(*words, "--on-unsupported", "skip")
        assert result.exit_code == 0, result.stderr
        assert sum(server.counts().values()) > 300
    assert "unfit.jsonl lists what is in conflict, or does not fit" in result.stderr
