from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from rdbmerge.cli.server_options import PASSWORD_VARIABLE, SENTINEL_VARIABLE, read_password, server_options
from rdbmerge.errors import UsageError
from rdbmerge.reach.server import Server, ServerOptions

pytestmark = pytest.mark.once


def options_of(*arguments: str, **how: Any) -> ServerOptions:
    got: list[ServerOptions] = []

    @click.command()
    @server_options
    def probe(server: ServerOptions) -> None:
        got.append(server)

    result = CliRunner().invoke(probe, list(arguments), standalone_mode=False, **how)
    if result.exception:
        raise result.exception
    return got[0]


def test_every_option_has_its_place_in_a_server() -> None:
    options = options_of(
        "--user", "u", "--tls-ca", "ca", "--tls-cert", "c", "--tls-key", "k", "--tls-sni", "n", "--tls-insecure",
        "--ssh", "ops@bastion", "--ssh-config", "f", env={PASSWORD_VARIABLE: "secret"},
    )  # fmt: skip
    server = Server.parse("rediss://h", **options)
    assert (server.username, server.password, server.tls_ca, server.tls_cert) == ("u", "secret", "ca", "c")
    assert (server.tls_key, server.tls_sni, server.tls_verify) == ("k", "n", False)
    assert (server.ssh, server.ssh_config) == ("ops@bastion", "f")


def test_nothing_given_is_nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    monkeypatch.delenv(SENTINEL_VARIABLE, raising=False)
    assert options_of() == {}


def test_sentinels_have_credentials_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from-file\n")
    env = {PASSWORD_VARIABLE: "of-servers", SENTINEL_VARIABLE: "of-sentinels"}
    assert options_of(env=env) == {"password": "of-servers", "sentinel_password": "of-sentinels"}
    options = options_of("--sentinel-user", "u", "--sentinel-password-file", str(tmp_path / "secret"), env=env)
    assert (options["sentinel_username"], options["sentinel_password"]) == ("u", "from-file")


def test_a_password_can_have_its_own_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OTHER", "other")
    assert read_password(ask=False, file=None, variable="OTHER") == "other"
    with pytest.raises(UsageError, match="are both given"):
        read_password(ask=True, file=tmp_path)
