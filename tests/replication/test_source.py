from __future__ import annotations

import pytest

from rdbmerge.errors import UsageError
from rdbmerge.replication.source import Source


@pytest.mark.parametrize(
    ("text", "host", "port", "address", "name"),
    [
        ("cache-1", "cache-1", 6379, "cache-1:6379", "cache-1-6379"),
        ("10.0.0.1:6380", "10.0.0.1", 6380, "10.0.0.1:6380", "10.0.0.1-6380"),
        (" Cache_1.Example:1 ", "cache_1.example", 1, "cache_1.example:1", "cache_1.example-1"),
        ("redis://10.0.0.1", "10.0.0.1", 6379, "10.0.0.1:6379", "10.0.0.1-6379"),
        ("redis://10.0.0.1:7000/0", "10.0.0.1", 7000, "10.0.0.1:7000", "10.0.0.1-7000"),
        ("REDISS://h:7000/", "h", 7000, "rediss://h:7000", "h-7000"),
    ],
)
def test_an_address_is_understood(text: str, host: str, port: int, address: str, name: str) -> None:
    source = Source.parse(text)
    assert (source.host, source.port, source.address, source.name) == (host, port, address, name)
    assert source.tls == address.startswith("rediss")
    assert Source.parse(source.address) == source


@pytest.mark.parametrize("text", ["[::1]:6380", "redis://[::1]:6380/0", "redis://u:p@[::1]:6380"])
def test_an_ipv6_address_stands_in_brackets(text: str) -> None:
    source = Source.parse(text)
    assert (source.host, source.port, source.address) == ("::1", 6380, "[::1]:6380")
    assert source.name.endswith(tuple("0123456789abcdef"))
    assert ":" not in source.name


@pytest.mark.parametrize("text", ["unix:///run/redis.sock", "unix://u:p%40@/run/redis.sock"])
def test_a_unix_socket_is_a_source(text: str) -> None:
    source = Source.parse(text)
    assert (source.unix_path, source.address, source.host_key) == (
        "/run/redis.sock",
        "unix:///run/redis.sock",
        "localhost",
    )
    assert source.password == ("p@" if "@" in text else None)


@pytest.mark.parametrize(
    ("text", "user", "password"),
    [
        ("redis://:secret@h", None, "secret"),
        ("redis://ann:s%3Acret%2F@h", "ann", "s:cret/"),
        ("redis://ann:not@encoded@h:1", "ann", "not@encoded"),
        ("redis://ann:@h", "ann", ""),
    ],
)
def test_credentials_are_decoded(text: str, user: str | None, password: str) -> None:
    source = Source.parse(text)
    assert (source.username, source.password) == (user, password)


def test_what_the_address_says_comes_before_the_options() -> None:
    source = Source.parse("redis://:own@h", username="ann", password="common")
    assert (source.username, source.password) == (None, "own")
    source = Source.parse("redis://ann@h", password="common")
    assert (source.username, source.password) == ("ann", "common")
    assert Source.parse("h", password="common").password == "common"


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("", "'' is not a source address: no host in it"),
        ("h:", "'h:' is not a source address: the port must be 1 to 65535"),
        ("h:0", "'h:0' is not a source address: the port must be 1 to 65535"),
        ("h:65536", "'h:65536' is not a source address: the port must be 1 to 65535"),
        ("h:6379x", "'h:6379x' is not a source address: the port must be 1 to 65535"),
        ("::1", "'::1' is not a source address: an IPv6 address needs brackets"),
        ("[::1", "'[::1' is not a source address: not [ipv6]:port"),
        ("[::1]6379", "'[::1]6379' is not a source address: not [ipv6]:port"),
        ("a b:1", "'a b:1' is not a source address: no host in it"),
        ("-oProxyCommand=x", "'-oProxyCommand=x' is not a source address: no host in it"),
        ("/run/redis.sock", "'/run/redis.sock' is not a source address: no host in it"),
        ("http://h", "'http://h' is not a source address: unknown scheme"),
        ("unix://run/redis.sock", "'unix://run/redis.sock' is not a source address: unix:// needs an absolute path"),
        ("redis://h/3", "'redis://h/3' names a db, but always all dbs of a server are meant"),
        ("redis://h?db=3", "'redis://h?db=3' is not a source address: ? and # are not understood"),
        ("redis://ann@h", "source h-6379: a user name, but no password"),
    ],
)
def test_another_address_is_refused_and_the_remedy_says_how_to_write_it(text: str, finding: str) -> None:
    with pytest.raises(UsageError) as refused:
        Source.parse(text)
    assert str(refused.value) == finding
    assert refused.value.remedy


@pytest.mark.parametrize("text", ["redis://u:s3cret@h:x", "redis://:s3cret", "u:s3cret@h:x", "ftp://u:s3cret@h/"])
def test_a_refused_address_does_not_show_its_password(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        Source.parse(text)
    assert "s3cret" not in str(refused.value) + refused.value.remedy


def test_a_password_is_not_in_the_repr() -> None:
    source = Source.parse("redis://u:s3cret@h")
    assert "s3cret" not in repr(source) + str(source) + source.address + source.place + source.name


def test_two_addresses_have_two_names_and_one_address_one() -> None:
    texts = ["unix:///a/b", "unix:///a-b", "[::1]:1", "[1::]:1", "h:1", "h:11", "h-1:1", "unix:///" + "x" * 300]
    names = [Source.parse(text).name for text in texts]
    assert len(set(names)) == len(names)
    assert max(len(name) for name in names) <= 100
    assert Source.parse("H:1").name == Source.parse("redis://h:1").name


def test_ports_of_one_machine_count_as_one_host() -> None:
    keys = {Source.parse(text).host_key for text in ("h:1", "H:2", "rediss://h:3")}
    assert keys == {"h"}
    assert {Source.parse(text).host_key for text in ("localhost:1", "127.0.0.1", "[::1]:5", "unix:///s")} == {
        "localhost"
    }


def test_a_message_begins_with_the_name_only_if_it_adds_something() -> None:
    assert Source.parse("h:1").place == "h:1"
    assert Source.parse("h:1", name="orders").place == "orders (h:1)"


@pytest.mark.parametrize("name", ["../x", "a/b", ".", "-x", "a b", "x" * 101])
def test_a_name_that_is_no_file_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name of a source"):
        Source.parse("h", name=name)


@pytest.mark.parametrize(
    ("text", "options", "finding"),
    [
        ("h", {"tls_ca": "ca.pem"}, "TLS files are given, but TLS is off"),
        ("rediss://h", {"tls_key": "k.pem"}, "a TLS key without its certificate"),
        ("unix:///s", {"tls": True}, "no TLS over a unix socket"),
        ("h", {"psync_command": "a b"}, "cannot be the name of a command"),
        ("h", {"sync_command": ""}, "cannot be the name of a command"),
    ],
)
def test_options_that_contradict_each_other_are_refused(text: str, options: dict[str, object], finding: str) -> None:
    with pytest.raises(UsageError, match=finding):
        Source.parse(text, **options)  # type: ignore[arg-type]
