from __future__ import annotations

import pytest

from rdbmerge.errors import UsageError
from rdbmerge.reach.bastion import Bastion

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("destination", "arguments"),
    [
        ("bastion", ["--", "bastion"]),
        ("ops@10.0.0.1", ["--", "ops@10.0.0.1"]),
        ("ops@host.example:2222", ["-p", "2222", "--", "ops@host.example"]),
        ("ssh://ops@host:2222/", ["-p", "2222", "--", "ops@host"]),
        ("ops@[::1]:22", ["-p", "22", "--", "ops@::1"]),
        ("ops@[::1]", ["--", "ops@::1"]),
        ("fe80::1%eth0", ["--", "fe80::1%eth0"]),
        ("ann@corp.example@host", ["--", "ann@corp.example@host"]),
    ],
)
def test_a_destination_is_handed_on(destination: str, arguments: list[str]) -> None:
    assert Bastion(destination).arguments() == arguments
    assert Bastion(destination, "file").arguments() == ["-F", "file", *arguments]


@pytest.mark.parametrize(
    "destination",
    [
        "",
        "-oProxyCommand=x",
        "a b",
        "ops@-x",
        "host:",
        "host:0",
        "host:99999",
        "host;ls",
        "a\nb",
        "x:y@host",
        "[::1",
        "[::1]x",
        "[::1]:",
    ],
)
def test_what_is_no_destination_is_refused(destination: str) -> None:
    with pytest.raises(UsageError, match="destination for SSH") as refused:
        Bastion(destination)
    assert "user@host" in refused.value.remedy


def test_a_password_in_it_is_not_shown() -> None:
    with pytest.raises(UsageError) as refused:
        Bastion("ops:s3cret@host")
    assert "s3cret" not in str(refused.value)
