"""The exact words for every refusal that was recorded; one row a case."""

from __future__ import annotations

import pytest

from rdbmerge.errors import HandshakeError
from rdbmerge.reach.server import show_bytes
from rdbmerge.replication.handshake import Handshake
from rdbmerge.replication.refusals import REFUSALS, find_refusal
from rdbmerge.replication.source import Source

ASK = b"+PONG\r\n" + b"+OK\r\n" * 4
CREDENTIALS = {"username": "puller", "password": "pass-word"}
WANTS_PASSWORD = "give it with the source, as redis://:password@host:port or from the environment or a file"
WRONG = "check the password of this source (and its user name, from Redis 6.0)"
UNNEEDED = "check that this is the server you mean; if so, leave its password out"
ACL = (
    "on the source: ACL SETUSER puller on ><password> +psync +replconf +ping (and +sync for servers where PSYNC is"
    " renamed, +info +time for the check that nothing was written)"
)
LINK = "wait until its link is up, or pull from the primary"
LOADING = "wait until it has loaded (INFO persistence shows loading:0)"
RENAMED = (
    "if it was renamed (rename-command in redis.conf), say so with --psync-command or --sync-command; managed services"
    " often block replication: export a backup (an RDB file) there and merge that"
)
FULL = "close idle clients or raise maxclients on the source"
PROTECTED = "pull through a tunnel that ends on the source's machine, or set a password on the source"
FORK = "look in its log: most often too little memory to fork (vm.overcommit_memory) or a full disk; then try again"

# said before, the refusal, what is found, what to do, whether waiting may help
TABLE = [
    (b"", "-NOAUTH Authentication required.", "the source wants a password", WANTS_PASSWORD, False),
    (b"", "-ERR operation not permitted", "the source wants a password", WANTS_PASSWORD, False),
    (
        b"AUTH",
        "-ERR invalid password",
        "the password is wrong, or the user does not exist or is off",
        WRONG,
        False,
    ),
    (
        b"AUTH",
        "-WRONGPASS invalid username-password pair or user is disabled.",
        "the password is wrong, or the user does not exist or is off",
        WRONG,
        False,
    ),
    (
        b"AUTH",
        "-ERR Client sent AUTH, but no password is set",
        "a password was given, but the source has none",
        UNNEEDED,
        False,
    ),
    (
        b"AUTH",
        "-ERR AUTH <password> called without any password configured for the default user. Are you sure?",
        "a password was given, but the source has none",
        UNNEEDED,
        False,
    ),
    (
        b"AUTH",
        "-ERR wrong number of arguments for 'auth' command",
        "the source knows no user names (it is older than Redis 6.0)",
        "give the password alone, without a user name",
        False,
    ),
    (
        ASK,
        "-NOPERM User puller has no permissions to run the 'psync' command",
        "the user puller may not run PSYNC",
        ACL,
        False,
    ),
    (
        ASK,
        "-NOMASTERLINK Can't SYNC while not connected with my master",
        "the source is a replica that has lost its own primary",
        LINK,
        True,
    ),
    (
        ASK + b"-ERR unknown command 'PSYNC'\r\n",
        "-ERR Can't SYNC while not connected with my master",
        "the source is a replica that has lost its own primary",
        LINK,
        True,
    ),
    (
        b"",
        "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        "the source is a replica whose primary is down, and it does not serve stale data",
        LINK,
        True,
    ),
    (
        b"",
        "-ERR link with MASTER is down and slave-serve-stale-data is set to no",
        "the source is a replica whose primary is down, and it does not serve stale data",
        LINK,
        True,
    ),
    (b"", "-LOADING Redis is loading the dataset in memory", "the source is still loading its data", LOADING, True),
    (b"", "-ERR max number of clients reached", "the source takes no more clients", FULL, False),
    (
        b"",
        "-DENIED Redis is running in protected mode because protected mode is enabled",
        "the source is in protected mode: without a password it answers only on its loopback address",
        PROTECTED,
        False,
    ),
    (
        ASK + b"-ERR unknown command 'PSYNC'\r\n",
        "-ERR unknown command 'SYNC'",
        "the source knows no PSYNC or SYNC: the command was renamed or is blocked",
        RENAMED,
        False,
    ),
    (
        ASK,
        "-ERR wrong number of arguments for 'psync' command",
        "the source's PSYNC takes other arguments",
        "if it is SYNC under another name, give it with --sync-command and not --psync-command",
        False,
    ),
    (
        ASK,
        "-ERR Command disallowed by policy",
        "the source does not allow PSYNC",
        "managed services often block replication: export a backup (an RDB file) there and merge that",
        False,
    ),
    (
        ASK,
        "-ERR SYNC and PSYNC are invalid with pending output",
        "the source had not sent all its replies when PSYNC came; something between joins requests",
        "connect to the server itself, not through a proxy",
        False,
    ),
    (ASK, "-ERR Unable to perform background save", "the source could not start a snapshot", FORK, False),
    (
        ASK,
        "-ERR something new",
        "the source refused PSYNC",
        "look in the source's log and in the manual of that service",
        False,
    ),
]


@pytest.mark.parametrize(("before", "line", "finding", "remedy", "retryable"), TABLE, ids=[row[1] for row in TABLE])
def test_a_refusal_says_what_it_means_and_what_to_do(
    before: bytes, line: str, finding: str, remedy: str, retryable: bool
) -> None:
    handshake = Handshake(Source(host="10.0.0.1", name="orders", **CREDENTIALS))  # type: ignore[arg-type]
    if before != b"AUTH":
        handshake.feed(b"+OK\r\n" + before)
    with pytest.raises(HandshakeError) as failure:
        handshake.feed(line.encode() + b"\r\n")
    assert str(failure.value) == f"orders (10.0.0.1:6379): {finding} ({line})"
    assert failure.value.remedy == remedy
    assert failure.value.retryable is retryable
    assert failure.value.exit_code == 30


def test_every_row_is_tested() -> None:
    lines = [row[1].encode() for row in TABLE]
    assert {find_refusal(line, syncing=True) for line in lines} == {*REFUSALS, None}


def test_rights_that_only_matter_for_the_sync_do_not_decide_before() -> None:
    assert find_refusal(b"-NOPERM x", syncing=False) is None
    assert find_refusal(b"-NOPERM x", syncing=True) is not None


def test_the_default_user_is_named_where_none_was_given() -> None:
    handshake = Handshake(Source(host="h"))
    with pytest.raises(HandshakeError, match="the user default may not run PSYNC"):
        handshake.feed(ASK + b"-NOPERM x\r\n")


def test_bytes_are_shown_escaped_cut_and_without_secrets() -> None:
    source = Source(host="h", password="pass-word")
    assert show_bytes(b"a\r\n\xff pass-word", server=source) == "a\\x0d\\x0a\\xff ***"
    assert show_bytes(b"x" * 500, server=source) == "x" * 200 + "... (500 bytes)"
