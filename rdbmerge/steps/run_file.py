"""A run file becomes a `RunFile`: TOML, `${NAME}` from the environment, and every mistake with file, line and key.

All mistakes are told at once. What came from the environment is in no message.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args
from urllib.parse import quote

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from rdbmerge.errors import UsageError
from rdbmerge.steps import toml_lines
from rdbmerge.steps.config import RunFile

_VARIABLE = re.compile(r"\$(\$)?\{([A-Za-z_][A-Za-z0-9_]*)\}")
_AT_LINE = re.compile(r" \(at line (\d+), column (\d+)\)$")
_ENDS_EARLY = " (at end of document)"
_WORDS = {
    "int_type": "must be a whole number",
    "string_type": "must be text in quotes",
    "bool_type": "must be true or false",
    "list_type": "must be an array [ ... ]",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "missing": "is missing",
}

Keys = toml_lines.Path
Mistake = tuple[Keys, str]


@dataclass(slots=True)
class _Text:
    """The file as it is read."""

    path: Path
    text: str
    lines: dict[Keys, int] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)  # value of a variable -> how it is shown

    def told(self, keys: Keys, what: str) -> str:
        """A mistake with its place; what came from the environment is shown by its name."""
        for value, shown in self.secrets.items():
            what = what.replace(value, shown)
        named = ".".join(str(key) for key in keys if isinstance(key, str)) or "the file"
        return f"{self.path}:{self.line_of(keys)}: {named}: {what}"

    def line_of(self, keys: Keys) -> int:
        """Of a key, else of the table that it is missing in."""
        while keys and keys not in self.lines:
            keys = keys[:-1]
        return self.lines.get(keys, 1)


def read_run_file(path: Path, variables: Mapping[str, str]) -> RunFile:
    """The run file at `path`, with `${NAME}` standing for `variables` (the environment). `$${NAME}` is no variable.

    Raises UsageError: a file that cannot be read, and all mistakes in it, a line each.
    """
    try:
        read = _Text(path, path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise UsageError(
            f"cannot read the run file {path}: {reason}", remedy="check the path; `rdbmerge init` writes one"
        ) from error
    try:
        data = tomllib.loads(read.text)
    except tomllib.TOMLDecodeError as error:
        raise _failure(path, [_syntax(read, str(error))]) from None
    read.lines = toml_lines.key_lines(read.text)
    missing: list[Mistake] = []
    data = _substituted(data, variables, read, missing, ())
    if missing:
        raise _failure(path, [read.told(*one) for one in missing])
    try:
        found = RunFile.model_validate(data, context={"folder": path.parent.absolute()})
    except ValidationError as error:
        raise _failure(path, [read.told(*_mistake(one)) for one in error.errors(include_url=False)]) from None
    across = [*_twice(found), *_contradictions(found)]
    if across:
        raise _failure(path, [read.told(*one) for one in across])
    return found


def _failure(path: Path, lines: Sequence[str]) -> UsageError:
    remedy = "mend it; `rdbmerge init` writes an example with every key"
    if len(lines) == 1:
        return UsageError(lines[0], remedy=remedy)
    shown = "\n".join(f"  {line}" for line in sorted(lines, key=_line_number))
    return UsageError(f"{len(lines)} mistakes in {path}:\n{shown}", remedy=remedy)


def _line_number(line: str) -> int:
    number = re.search(r":(\d+): ", line)
    return int(number[1]) if number else 0


def _syntax(read: _Text, said: str) -> str:
    """What `tomllib` says, with its line in front."""
    place = _AT_LINE.search(said)
    line = int(place[1]) if place else read.text.count("\n") + 1
    what = _AT_LINE.sub("", said).removesuffix(_ENDS_EARLY)
    return f"{read.path}:{line}: not TOML: {what[:1].lower()}{what[1:]}"


def _substituted(value: Any, variables: Mapping[str, str], read: _Text, missing: list[Mistake], keys: Keys) -> Any:
    if isinstance(value, dict):
        return {key: _substituted(one, variables, read, missing, (*keys, key)) for key, one in value.items()}
    if isinstance(value, list):
        return [_substituted(one, variables, read, missing, (*keys, number)) for number, one in enumerate(value)]
    if not isinstance(value, str):
        return value

    def found(match: re.Match[str], *, within_credentials: bool = False) -> str:
        escaped, name = match.groups()
        if escaped:
            return match[0][1:]
        if name not in variables:
            missing.append((keys, f"the variable {name} is not set; export {name} before running rdbmerge"))
            return ""
        # A password that holds @ or % must not be read as a part of the address.
        shown = quote(variables[name], safe="") if within_credentials else variables[name]
        if shown:
            read.secrets[shown] = f"${{{name}}}"
        return shown

    credentials, at, place = value.rpartition("@") if "://" in value else ("", "", value)
    quoted = _VARIABLE.sub(lambda match: found(match, within_credentials=True), credentials)
    return quoted + at + _VARIABLE.sub(found, place)


def _mistake(error: ErrorDetails) -> Mistake:
    """Where it is, and what it is, in our words."""
    keys: Keys = tuple(error["loc"])
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return keys, f"is no key of this table{_suggestion(keys)}"
    if kind == "literal_error":
        return keys, f"must be {context['expected']}"
    if kind in ("greater_than_equal", "greater_than"):
        return keys, f"must be {'at least' if 'ge' in context else 'more than'} {context.get('ge', context.get('gt'))}"
    if kind == "less_than_equal":
        return keys, f"must be at most {context['le']}"
    if kind == "too_short":
        return keys, "needs at least one"
    return keys, _WORDS.get(kind, error["msg"])


def _suggestion(keys: Keys) -> str:
    known = known_keys([key for key in keys[:-1] if isinstance(key, str)])
    near = get_close_matches(str(keys[-1]), known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else f"; its keys are {', '.join(known)}"


def known_keys(tables: Sequence[str]) -> list[str]:
    """The keys of the table that these names lead to, in the order of their declaration."""
    model: type[BaseModel] = RunFile
    for name in tables:
        inside = model.model_fields.get(name)
        found = None if inside is None else next(_models(inside.annotation), None)
        if found is None:
            return []
        model = found
    return [one.alias or name for name, one in model.model_fields.items()]


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that a field may hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inside in get_args(annotation):
        yield from _models(inside)


def _twice(found: RunFile) -> Iterator[Mistake]:
    """Sources of one name or of one place."""
    seen: set[str] = set()
    for number, source in enumerate(found.source):
        server = source.server()
        place = f"file {source.file}" if server is None else f"address {server.address.removeprefix('rediss://')}"
        for key, text in (("name", f"name {source.source_name.lower()}"), ("", place)):
            if text in seen:
                what = f"another source has the {text}"
                yield ("source", number, key or text.split()[0]), f"{what}; each once, under a name of its own"
            seen.add(text)


def _contradictions(found: RunFile) -> Iterator[Mistake]:
    """Tables that do not fit each other."""
    if found.seed is not None and found.upload is None:
        yield ("seed",), "a cache is seeded from objects: say with [upload] where they go"
    several = found.merge.shard_slots() is not None
    if found.upload is not None and several and not found.upload.url.is_prefix:
        yield ("upload", "url"), "each shard's file becomes an object of its own: end it with /"
