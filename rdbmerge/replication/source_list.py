"""The list of sources that a user keeps in a file: one a line, comments, names, secrets from outside.

Takes lines and a mapping of variables; reads neither the file nor the environment itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Unpack

from rdbmerge.errors import UsageError
from rdbmerge.replication.source import Source, SourceOptions

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_NAMED = re.compile(r"([^=/@:\[\]\s]+)\s*=\s*(.+)")
_WAY = re.compile(r"(.*\S)\s+ssh=(\S+)")
_COMMENT = re.compile(r"(?:^|\s)#.*")


def read_sources(
    lines: Iterable[str],
    *,
    variables: Mapping[str, str],
    origin: str = "sources file",
    **options: Unpack[SourceOptions],
) -> list[Source]:
    """The sources of a list, in its order.

    Args:
        lines: `address` or `name=address` each (see `Source.parse`), with ` ssh=[user@]host` after it where one is on
            the way; blank lines and ` # comments` are skipped.
        variables: what `${VAR}` stands for (the environment). Within user and password the value is taken as it
            is, with no percent-decoding.
        origin: a name for messages.
        options: defaults for every source.

    Raises:
        UsageError: with the number of the line: not an address, a variable that is not set, a name or an address
            that an earlier line has already.
    """
    found: list[Source] = []
    first_line: dict[tuple[str, str], int] = {}
    for number, line in enumerate(lines, start=1):
        text = _COMMENT.sub("", line).strip()
        if not text:
            continue
        place = f"{origin}, line {number}"
        try:
            source = _parse_line(text, variables, options)
        except UsageError as error:
            raise UsageError(f"{place}: {error}", remedy=error.remedy) from None
        for key in (("name", source.name.lower()), ("address", source.address.removeprefix("rediss://"))):
            if key in first_line:
                raise UsageError(
                    f"{place}: the {key[0]} {key[1]} is on line {first_line[key]} already",
                    remedy="each server once, each under a name of its own",
                )
            first_line[key] = number
        found.append(source)
    return found


def _parse_line(text: str, variables: Mapping[str, str], options: SourceOptions) -> Source:
    way = _WAY.fullmatch(text)
    if way:
        text, options = way[1], {**options, "ssh": _expand(way[2], variables)}
    named = _NAMED.fullmatch(text)
    if named:
        options = {**options, "name": named[1]}
    credentials, at, place = (named[2] if named else text).rpartition("@")
    # Credentials are expanded after parsing: a password that holds @ or % must not be read as part of the address.
    source = Source.parse(credentials + at + _expand(place, variables), **options)
    if not at:
        return source
    user, password = source.username, source.password
    return replace(
        source,
        username=None if user is None else _expand(user, variables),
        password=None if password is None else _expand(password, variables),
    )


def _expand(text: str, variables: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        if match[1] not in variables:
            raise UsageError(f"the variable {match[1]} is not set", remedy=f"export {match[1]} before running rdbmerge")
        return variables[match[1]]

    return _VARIABLE.sub(value, text)
