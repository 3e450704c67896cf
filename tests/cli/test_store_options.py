from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from rdbmerge.cli.store_options import access_options, grant_option, service_option
from rdbmerge.stores.base import S3Access
from rdbmerge.stores.grants import SERVICES

pytestmark = pytest.mark.once


def test_access_is_one_value_and_nothing_is_assumed() -> None:
    got: list[object] = []

    @click.command()
    @grant_option
    @service_option
    @access_options
    def command(**values: object) -> None:
        got.append(values)

    runner = CliRunner()
    assert runner.invoke(command, []).exit_code == 0
    assert runner.invoke(command, ["--profile", "p", "--region", "r", "--endpoint-url", "u", "--grant"]).exit_code == 0
    assert got == [
        {"access": S3Access(None, None, None), "grant": False, "service": "elasticache"},
        {"access": S3Access("p", "r", "u"), "grant": True, "service": "elasticache"},
    ]


def test_the_services_are_those_that_can_be_granted() -> None:
    from rdbmerge.cli import store_options

    assert store_options.SERVICES == SERVICES
