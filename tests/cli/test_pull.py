from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.running import command, process, run
from fakes.primary import FakePrimary, Hang, Say
from realservers import RunningServer, need, running

from rdbmerge.steps.pull import PullReport

PASSWORD = "Secret-Token-1234567"


@pytest.fixture
def server() -> Iterator[RunningServer]:
    with running(need("redis-7.0"), config={"requirepass": PASSWORD}) as one:
        with one.client() as client:
            client.set("a", "1", ex=1000)
        yield one


def test_a_pull_tells_what_it_did_and_what_it_did_not(server: RunningServer, tmp_path: Path) -> None:
    place = f"127.0.0.1:{server.port}"
    arguments = ("pull", f"shop={place}", "none=127.0.0.1:1", "--dir", tmp_path / "s")
    result = run(*arguments, env={"RDBMERGE_PASSWORD": PASSWORD})
    assert result.exit_code == 30
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["Source", "Server", "Outcome", "Keys", "Size", "Snapshot", "taken", "Written", "since"]
    assert re.fullmatch(r"shop +redis 7\.0\.15 +pulled +1 +\d+ B +20\d\d-\S+ \S+Z +no", lines[2])
    assert re.fullmatch(r"none +- +failed +- +- +- +-", lines[3])
    assert result.stderr.startswith("shop: connecting\n")
    assert (
        "Error: none (127.0.0.1:1): connection refused: nothing listens there\n"
        "Try:   check the port, and that the server's `bind` allows this machine\n"
    ) in result.stderr
    assert re.search(
        r"\n1 pulled, 0 unchanged, 1 failed: 1 keys, \d+ B in .*; run the same command again", result.stderr
    )
    again = run(*arguments, "--quiet", env={"RDBMERGE_PASSWORD": PASSWORD})
    assert "unchanged" in again.stdout
    assert "connecting" not in again.stderr


def test_the_report_is_private_and_holds_no_secret(server: RunningServer, tmp_path: Path) -> None:
    report = tmp_path / "pull.json"
    url = f"redis://:{PASSWORD}@127.0.0.1:{server.port}"
    result = run("pull", url, "--dir", tmp_path / "s", "--report", report)
    assert result.exit_code == 0
    assert stat.S_IMODE(report.stat().st_mode) == 0o600
    told = PullReport.model_validate_json(report.read_text())
    assert [one.outcome for one in told.sources] == ["pulled"]
    written = "".join(path.read_text(errors="replace") for path in (tmp_path / "s").iterdir())
    assert PASSWORD not in result.stdout + result.stderr + report.read_text() + written
    refused = run("pull", url, "--dir", tmp_path / "s", "--report", report)
    assert (refused.exit_code, refused.stderr) == (
        2,
        f"Error: {report} exists\nTry:   choose another name, or replace it with --force\n",
    )


def test_a_wrong_password_never_shows(server: RunningServer, tmp_path: Path) -> None:
    result = run("pull", f"redis://:wrong-Secret-9@127.0.0.1:{server.port}", "--dir", tmp_path)
    assert result.exit_code == 30
    assert "the password is wrong" in result.stderr
    assert "wrong-Secret-9" not in result.output


def test_a_list_of_sources_comes_from_standard_input(server: RunningServer, tmp_path: Path) -> None:
    lines = f"shop=redis://:${{PW}}@127.0.0.1:{server.port} # the shop\n"
    result = run("pull", "@-", "--dir", tmp_path, "-q", input=lines, env={"PW": PASSWORD})
    assert result.exit_code == 0
    assert (tmp_path / "shop.rdb").exists()


def test_tls_by_the_command_line(tmp_path: Path) -> None:
    binary = need("redis-7.0")
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "k.pem", "-out", "c.pem", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        cwd=tmp_path, capture_output=True, check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip("openssl makes no certificate here")
    files = {name: str(tmp_path / file) for name, file in (("cert", "c.pem"), ("key", "k.pem"), ("ca-cert", "c.pem"))}
    with running(binary) as server, server.client() as client:
        try:
            for name, file in files.items():
                client.config_set(f"tls-{name}-file", file)
            tls_port = server.port + 1
            client.config_set("tls-port", str(tls_port))
        except Exception as error:  # noqa: BLE001 - whatever it says, it has no TLS
            pytest.skip(f"this server has no TLS: {error}")
        url = f"rediss://127.0.0.1:{tls_port}"
        certificate = ("--tls-ca", files["ca-cert"], "--tls-cert", files["cert"], "--tls-key", files["key"])
        good = run("pull", url, "--dir", tmp_path / "good", *certificate)
        untrusted = run("pull", url, "--dir", tmp_path / "bad")
        loose = run("pull", url, "--dir", tmp_path / "loose", "--tls-insecure", *certificate[2:])
    assert (good.exit_code, untrusted.exit_code, loose.exit_code) == (0, 30, 0)
    assert "its certificate is not trusted" in untrusted.stderr


@pytest.mark.once
def test_ctrl_c_ends_it_soon_and_leaves_nothing(golden: Path, tmp_path: Path) -> None:
    body = (golden / "7.0.15" / "all_types.rdb").read_bytes()
    said = b"+FULLRESYNC %s 1\r\n$%d\r\n" % (b"a" * 40, len(body)) + body[:500]
    with FakePrimary({"PSYNC": [Say(said), Hang()]}) as fake:
        puller = subprocess.Popen(
            command("pull", f"127.0.0.1:{fake.port}", "--dir", tmp_path / "s"), stderr=subprocess.PIPE, text=True
        )
        assert puller.stderr is not None
        assert any("receiving" in line for line in puller.stderr)
        began = time.monotonic()
        puller.send_signal(signal.SIGINT)
        words = puller.stderr.read()
        assert puller.wait(20) == 130
        puller.stderr.close()
    assert time.monotonic() - began < 5
    assert words.endswith(
        f"Stopping...\nError: stopped: 0 of 1 sources are in {tmp_path / 's'}\n"
        "Try:   run the same command again for the rest\n"
    )
    assert os.listdir(tmp_path / "s") == [".rdbmerge.lock"]  # noqa: PTH208


@pytest.mark.once
def test_two_pulls_into_one_folder(golden: Path, tmp_path: Path) -> None:
    with FakePrimary({"PSYNC": [Hang(20)]}) as fake:
        arguments = ("pull", f"127.0.0.1:{fake.port}", "--dir", "s")
        first = subprocess.Popen(command(*arguments), stderr=subprocess.PIPE, text=True, cwd=tmp_path)
        assert first.stderr is not None
        first.stderr.readline()
        second = process(*arguments, cwd=tmp_path)
        first.send_signal(signal.SIGTERM)
        first.communicate(timeout=20)
    assert (second.returncode, second.stderr) == (
        2,
        "Error: another rdbmerge is at work in s\nTry:   wait for it, or choose another folder\n",
    )
    assert first.returncode == 130


def test_json_of_the_report_names_what_failed(tmp_path: Path) -> None:
    report = tmp_path / "pull.json"
    result = run("pull", "127.0.0.1:1", "--dir", tmp_path / "s", "--report", report, "--connect-timeout", "2s")
    (one,) = json.loads(report.read_text())["sources"]
    assert result.exit_code == one["exit_code"] == 30
    assert one["error"] == "127.0.0.1:1: connection refused: nothing listens there"


def test_a_source_that_forbids_replication_is_pulled_key_by_key(server: RunningServer, tmp_path: Path) -> None:
    place = f"shop=127.0.0.1:{server.port}"
    result = run("pull", place, "--dir", tmp_path, "--via", "scan", env={"RDBMERGE_PASSWORD": PASSWORD})
    assert result.exit_code == 0
    assert re.search(r"shop +redis 7\.0\.15 +pulled +1 ", result.stdout)
    assert json.loads((tmp_path / "shop.rdb.manifest.json").read_text())["pulled"]["via"] == "scan"
