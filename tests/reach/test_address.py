from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdbmerge.errors import UsageError
from rdbmerge.reach.address import join_host_port, name_of, parse_address, parse_host_port, without_secrets

pytestmark = pytest.mark.once


def test_the_parts_of_an_address() -> None:
    written = parse_address("rediss://ann:p%40ss@[::1]:7000/0", noun="target")
    assert (written.host, written.port, written.tls) == ("::1", 7000, True)
    assert (written.has_user, written.username, written.password) == (True, "ann", "p@ss")
    assert "p@ss" not in repr(written)
    assert parse_address("unix://:pw@/run/s", noun="target").unix_path == "/run/s"
    assert not parse_address("redis://@h", noun="target").has_user


def test_a_service_is_named_with_all_its_sentinels() -> None:
    written = parse_address("rediss-sentinel://ann:pw@a,b:5,[::1]:7,a:26379/shop-1", noun="target")
    assert written.sentinels == (("a", 26379), ("b", 5), ("::1", 7))
    assert (written.service, written.tls, written.password) == ("shop-1", True, "pw")
    assert (written.host, written.cluster) == ("", False)


@pytest.mark.parametrize(
    "text",
    ["redis-sentinel://a", "redis-sentinel://a/", "redis-sentinel:///x", "redis-sentinel://a,/x", "redis-://a",
     "redis-x://a", "redis-sentinel://a/x/y", "redis-cluster://a/3"],
)  # fmt: skip
def test_what_names_no_service_and_no_cluster_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_address(text, noun="target")


def test_any_node_names_its_cluster() -> None:
    written = parse_address("redis-cluster://a:7000", noun="target")
    assert (written.host, written.port, written.cluster, written.tls) == ("a", 7000, True, False)


def test_a_refusal_says_what_the_server_is_to_us() -> None:
    with pytest.raises(UsageError, match="'ftp://h' is not a target address"):
        parse_address("ftp://h", noun="target")


@given(st.from_regex(r"[a-z0-9.-]{1,20}", fullmatch=True) | st.just("::1"), st.integers(1, 65535))
def test_what_is_joined_is_parted_again(host: str, port: int) -> None:
    if not host.startswith("-"):
        assert parse_host_port(join_host_port(host, port), "x", noun="target") == (host, port)


@given(st.text(alphabet="ab:/@.-[]", max_size=30), st.text(alphabet="ab:/@.-[]", max_size=30))
def test_two_addresses_have_two_names(one: str, two: str) -> None:
    if one.removeprefix("rediss://") != two.removeprefix("rediss://") and ":" in one + two:
        assert name_of(one) != name_of(two) or "-".join(one.rsplit(":", 1)) == "-".join(two.rsplit(":", 1))


@pytest.mark.parametrize("text", ["redis://u:s3cret@h", "u:s3cret@h", "redis://:s3cret", "redis://:s3@cret@h"])
def test_secrets_are_left_out_of_what_is_shown(text: str) -> None:
    assert "s3cret" not in without_secrets(text)
    assert "s3" not in without_secrets(text)
