"""What `ssh` says, what it means, and what the user can do: one row a case. Pure.

Knows the words of OpenSSH 7 to 10 in English (it is run with LC_ALL=C). What no row knows is shown as ssh said it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Said:
    """Why it did not go on, and what to do."""

    finding: str
    remedy: str


_BY_HAND = "run `ssh {bastion}` by hand until it works without a question"
_NETWORK = "check its name and port, the route and the firewall"

# What ends the connection to the SSH server, or keeps it from coming about; the first row that matches a line counts.
_ENDS: tuple[tuple[str, str, str], ...] = (
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED|host key for .* has changed",
        "SSH server {bastion}: its host key has CHANGED since it was noted in known_hosts",
        "make sure that it is the right machine; then remove the old key with `ssh-keygen -R` and connect by hand once",
    ),
    (
        r"Host key verification failed|host key is known for",
        "SSH server {bastion}: its host key is not known",
        "connect with `ssh {bastion}` by hand once and compare the fingerprint; it is then noted in known_hosts",
    ),
    (
        r"Permission denied \(|Too many authentication failures|No more authentication methods",
        "SSH server {bastion} refused the login ({line})",
        "check user and key: " + _BY_HAND + "; load a key that has a passphrase into ssh-agent first",
    ),
    (
        r"UNPROTECTED PRIVATE KEY FILE|bad permissions",
        "ssh does not use the private key, for others may read it",
        "chmod 600 the key's file",
    ),
    (
        r"Could not resolve hostname",
        "SSH server {bastion}: host name not found ({line})",
        "check the spelling, the Host lines of your SSH configuration, and the DNS of this machine",
    ),
    (r"connect to host .*Connection refused", "SSH server {bastion}: connection refused ({line})", _NETWORK),
    (
        r"connect to (?:host|address) .*(?:timed out|No route|unreachable)|timed out during banner exchange",
        "SSH server {bastion} cannot be reached ({line})",
        _NETWORK,
    ),
    (
        r"Bad configuration option|bad configuration options|Can't open user config|Bad owner or permissions",
        "ssh cannot read its configuration ({line})",
        "mend that file; `ssh -G {bastion}` shows what it makes of it",
    ),
    (
        r"Timeout, server .* not responding|Broken pipe|Connection reset by|closed by remote|Connection to .* closed",
        "the SSH connection to {bastion} ended ({line})",
        "look whether that machine and the network to it are up, then run the same command again",
    ),
    (
        r"Connection closed by|kex_exchange_identification|Connection timed out",
        "SSH server {bastion} closed the connection before the login ({line})",
        "it may take no more connections (MaxStartups) or not let this address in: look in its log",
    ),
    (
        r"no matching .* found",
        "SSH server {bastion}: no way of speaking that both know ({line})",
        "allow one of what it offers in your SSH configuration",
    ),
)

# Why the SSH server did not connect us to the target (RFC 4254, 5.1, and what sshd adds).
_REFUSALS: tuple[tuple[str, str, str], ...] = (
    (
        r"administratively prohibited",
        "SSH server {bastion} does not let us through to it ({line})",
        "on the SSH server: allow it with AllowTcpForwarding and PermitOpen, and check that it can resolve the name",
    ),
    (
        r"Connection refused",
        "SSH server {bastion} got: connection refused: nothing listens there ({line})",
        "check the port, and that the server's `bind` allows the SSH server; the address is as seen from there",
    ),
    (
        r"timed out|No route|unreachable",
        "SSH server {bastion} cannot reach it ({line})",
        "check the firewall or security group between the two; the address is as seen from the SSH server",
    ),
    (
        r"not known|resolve|No address|No such file",
        "SSH server {bastion} does not find it ({line})",
        "check the spelling; the name or path is looked up on the SSH server",
    ),
)
_REFUSED = ("SSH server {bastion} did not connect us to it ({line})", "look in the log of the SSH server")
_NOISE = re.compile(
    r"debug\d: |OpenSSH_|Authenticated to |Authenticated using |Transferred: |Bytes per second|Warning: Permanently|"
    r"Killed by signal|Pseudo-terminal|@@@|\s*$"
)
_SHOWN_CHARACTERS = 200


def is_noise(line: str) -> bool:
    """Whether a line tells nothing of a failure."""
    return bool(_NOISE.match(line))


def why_ended(lines: Sequence[str], *, bastion: str) -> Said:
    """Why `ssh` ended, from the last lines that it said."""
    for pattern, finding, remedy in _ENDS:
        for line in lines:
            if re.search(pattern, line):
                return _said(finding, remedy, line, bastion)
    last = lines[-1] if lines else "it said nothing"
    return _said("the SSH connection to {bastion} failed ({line})", _BY_HAND, last, bastion)


def why_refused(reason: str, *, bastion: str) -> Said:
    """Why the SSH server did not open the way to a target."""
    for pattern, finding, remedy in _REFUSALS:
        if re.search(pattern, reason):
            return _said(finding, remedy, reason, bastion)
    return _said(*_REFUSED, reason, bastion)


def _said(finding: str, remedy: str, line: str, bastion: str) -> Said:
    shown = "".join(character if character.isprintable() else "?" for character in line.strip())[:_SHOWN_CHARACTERS]
    words = {"bastion": bastion, "line": f"ssh: {shown.removeprefix('ssh: ')}"}
    return Said(finding.format(**words), remedy.format(**words))
