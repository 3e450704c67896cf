from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from rdbmerge.cli.server_options import PASSWORD_VARIABLE
from rdbmerge.cli.source_options import parse_sources, source_options
from rdbmerge.errors import UsageError
from rdbmerge.replication.limits import PullLimits
from rdbmerge.replication.source import SourceOptions


def options_of(*arguments: str, **how: object) -> tuple[SourceOptions, PullLimits]:
    got: list[tuple[SourceOptions, PullLimits]] = []

    @click.command()
    @source_options
    def probe(options: SourceOptions, limits: PullLimits) -> None:
        got.append((options, limits))

    result = CliRunner().invoke(probe, list(arguments), standalone_mode=False, **how)  # type: ignore[arg-type]
    if result.exception:
        raise result.exception
    return got[0]


def test_the_plain_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    options, limits = options_of()
    assert options == {}
    assert limits == PullLimits()


def test_every_option_has_its_place() -> None:
    options, limits = options_of(
        "--user", "u", "--tls-ca", "ca", "--tls-cert", "c", "--tls-key", "k", "--tls-sni", "n", "--tls-insecure",
        "--psync-command", "P", "--sync-command", "S", "--replconf-command", "R", "--max-bandwidth", "20MB/s",
        "--connect-timeout", "3s", "--timeout", "5s", "--header-timeout", "2h", "--retry-for", "0",
    )  # fmt: skip
    assert options == {
        "username": "u", "tls_ca": "ca", "tls_cert": "c", "tls_key": "k", "tls_sni": "n", "tls_verify": False,
        "psync_command": "P", "sync_command": "S", "replconf_command": "R",
    }  # fmt: skip
    assert limits.limiter is not None
    assert limits.limiter.bytes_per_s == 20 << 20
    assert (limits.connect_timeout_s, limits.reply_timeout_s, limits.header_timeout_s) == (3, 5, 7200)
    assert limits.retry_for_s == 0


def test_a_password_comes_from_a_prompt_a_file_or_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("from-file\n")
    environment = {PASSWORD_VARIABLE: "from-environment"}
    assert options_of(env=environment)[0]["password"] == "from-environment"
    assert options_of("--password-file", str(file), env=environment)[0]["password"] == "from-file"
    assert options_of("--password", input="typed\n", env=environment)[0]["password"] == "typed"
    with pytest.raises(UsageError, match="are both given"):
        options_of("--password", "--password-file", str(file))
    with pytest.raises(UsageError, match=r"cannot read .*none: No such file"):
        options_of("--password-file", str(tmp_path / "none"))


@pytest.mark.parametrize("option", ["--connect-timeout", "--timeout", "--header-timeout"])
def test_no_patience_at_all_is_refused(option: str) -> None:
    with pytest.raises(UsageError, match=f"{option}: must be more than 0"):
        options_of(option, "0s")


def test_sources_come_from_arguments_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_B", "p@ss")
    file = tmp_path / "sources.txt"
    file.write_text("# the shop\ncart=redis://:${SECRET_OF_B}@b:1\n\nc:2  # the last\n")
    sources = parse_sources(["a", f"@{file}", "named=d:3", "redis://u:x=y@e"], {"password": "all"})
    assert [source.address for source in sources] == ["a:6379", "b:1", "c:2", "d:3", "e:6379"]
    assert [source.name for source in sources] == ["a-6379", "cart", "c-2", "named", "e-6379"]
    assert [source.password for source in sources] == ["all", "p@ss", "all", "all", "x=y"]


def test_a_list_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read the list of sources .*none"):
        parse_sources([f"@{tmp_path}/none"], {})
    (tmp_path / "bad").write_text("a\na\n")
    with pytest.raises(UsageError, match="bad, line 2: the name a-6379 is on line 1 already"):
        parse_sources([f"@{tmp_path}/bad"], {})
