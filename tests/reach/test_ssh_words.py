from __future__ import annotations

import pytest

from rdbmerge.reach.ssh_words import is_noise, why_ended, why_refused

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        ("client_loop: send disconnect: Broken pipe", "the SSH connection to b ended"),
        ("Timeout, server 10.0.0.1 not responding.", "the SSH connection to b ended"),
        ("Connection to 10.0.0.1 closed by remote host.", "the SSH connection to b ended"),
        ("kex_exchange_identification: Connection closed by remote host", "the SSH connection to b ended"),
        ("Connection closed by 10.0.0.1 port 22", "SSH server b closed the connection before the login"),
        ("ssh: connect to host b port 22: No route to host", "SSH server b cannot be reached"),
        ("ssh: connect to host b port 22: Connection timed out", "SSH server b cannot be reached"),
        ("ann@b: Permission denied (publickey,password).", "SSH server b refused the login"),
        ("Received disconnect from 10.0.0.1 port 22:2: Too many authentication failures", "refused the login"),
        ("Permissions 0644 for 'id' are too open. UNPROTECTED PRIVATE KEY FILE!", "others may read it"),
        ("Unable to negotiate with b port 22: no matching host key type found.", "no way of speaking"),
        ("what no row knows", "the SSH connection to b failed (ssh: what no row knows)"),
    ],
)
def test_what_ends_ssh_has_a_meaning_and_a_remedy(line: str, finding: str) -> None:
    said = why_ended(["earlier", line], bastion="b")
    assert finding in said.finding
    assert said.remedy


def test_nothing_said_is_said() -> None:
    assert why_ended([], bastion="b").finding == "the SSH connection to b failed (ssh: it said nothing)"


@pytest.mark.parametrize(
    ("reason", "finding"),
    [
        ("administratively prohibited: open failed", "does not let us through"),
        ("connect failed: Connection refused", "nothing listens there"),
        ("connect failed: Connection timed out", "cannot reach it"),
        ("connect failed: No route to host", "cannot reach it"),
        ("connect failed: Name or service not known", "does not find it"),
        ("unknown channel type: x", "did not connect us to it (ssh: unknown channel type: x)"),
    ],
)
def test_a_refusal_has_a_meaning_and_a_remedy(reason: str, finding: str) -> None:
    said = why_refused(reason, bastion="b")
    assert finding in said.finding
    assert said.remedy


def test_what_is_shown_is_cut_and_printable() -> None:
    finding = why_ended(["\x1b[31m" + "x" * 500], bastion="b").finding
    assert finding.isprintable()
    assert len(finding) < 300


def test_noise_is_told_from_words() -> None:
    assert all(map(is_noise, ["debug1: x", "OpenSSH_9.2p1", "", "Transferred: sent 1", "Killed by signal 15."]))
    assert not is_noise("Permission denied (publickey).")
