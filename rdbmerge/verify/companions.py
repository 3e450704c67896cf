"""What stands beside the keys: which function libraries and module data should be in the merged file, and which are.

One library a name, one record a module and place; equal ones are one, different ones go by the policy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from rdbmerge.format.records import Function, ModuleAux
from rdbmerge.format.strings import read_string
from rdbmerge.plan.model import Policy, Rules, Unsupported
from rdbmerge.plan.profile import TargetProfile
from rdbmerge.verify.origin import Origin
from rdbmerge.verify.report import Check
from rdbmerge.verify.structure import Found

K = TypeVar("K")


def companion_checks(
    found: Found, view: memoryview, origins: Sequence[Origin], rules: Rules, profile: TargetProfile | None
) -> list[Check]:
    """Libraries and module data of the merged file against those of the sources; none where the target knows none."""
    there = {library.name: library.code for library in found.libraries}
    policy = rules.on_conflict
    held_data = _held(_module_data(origins), profile is None or profile.module_data)
    module_data, module_quarrels = _settle(held_data, policy)
    if rules.on_unsupported is Unsupported.FAIL and profile is not None:
        module_quarrels += [f"{profile.name} loads no modules"] * (len(held_data) < len(_module_data(origins)))
    data_there = {(data.module, data.before_keys): bytes(view[data.start : data.end]) for data in found.module_data}
    return [
        library_check(there, origins, rules, profile, holder="the merged file", doubt="that a server accepts the code"),
        _compare(
            "module data", module_quarrels, module_data, data_there,
            "data that modules keep beside the keys was copied byte by byte, once a module",
            "that a server has the module, or that the module understands keys of several sources with it",
        ),
    ]  # fmt: skip


def library_check(
    there: Mapping[bytes, bytes],
    origins: Sequence[Origin],
    rules: Rules,
    profile: TargetProfile | None,
    *,
    holder: str,
    doubt: str,
) -> Check:
    """Function libraries (name -> code) of a holder against those of the sources."""
    held_libraries = _held(_libraries(origins), profile is None or profile.functions)
    libraries, quarrels = _settle(held_libraries, rules.on_conflict)
    if rules.on_unsupported is Unsupported.FAIL and profile is not None:
        quarrels += [f"{profile.name} has no functions"] * (len(held_libraries) < len(_libraries(origins)))
    return _compare(
        "function libraries", quarrels, libraries, there,
        f"{holder} holds each function library of the sources once, with the code of the one that wins", doubt,
    )  # fmt: skip


def _held(holders: dict[K, list[bytes]], can_be: bool) -> dict[K, list[bytes]]:
    return holders if can_be else {}


def _libraries(origins: Sequence[Origin]) -> dict[bytes, list[bytes]]:
    holders: dict[bytes, list[bytes]] = {}
    for origin in origins:
        for library in origin.index.facts.libraries:
            function = _function_at(origin, library.offset)
            holders.setdefault(function.name, []).append(function.code)
    return holders


def _function_at(origin: Origin, offset: int) -> Function:
    code, _ = read_string(origin.segment.view, offset + 1)
    return Function(library_name(code), code, offset)


def library_name(code: bytes) -> bytes:
    """The name that a library's first line gives it."""
    head = code.split(b"\n", 1)[0].split()
    return next((word[5:] for word in head if word.startswith(b"name=")), b"")


def _module_data(origins: Sequence[Origin]) -> dict[tuple[str, bool], list[bytes]]:
    holders: dict[tuple[str, bool], list[bytes]] = {}
    for origin in origins:
        for data in origin.index.facts.module_data:
            record = ModuleAux(data.module, data.before_keys, data.start, data.end)
            raw = bytes(origin.segment.view[record.start : record.end])
            holders.setdefault((record.module, record.before_keys), []).append(raw)
    return holders


def _settle(holders: Mapping[K, Sequence[bytes]], policy: Policy) -> tuple[dict[K, bytes], list[str]]:
    """What should be there, and what the policy cannot settle."""
    expected, quarrels = {}, []
    for name, contents in holders.items():
        expected[name] = contents[-1] if policy is Policy.LAST else contents[0]
        if len(set(contents)) > 1 and policy in (Policy.FAIL, Policy.LONGEST_TTL):
            quarrels.append(f"{_show(name)} differs between sources, and {policy} cannot choose")
    return expected, quarrels


def _compare(
    name: str, quarrels: list[str], expected: Mapping[K, bytes], there: Mapping[K, bytes], proves: str, does_not: str
) -> Check:
    problems = list(quarrels)
    problems += [f"{_show(key)} is missing" for key in expected if key not in there]
    problems += [f"{_show(key)} is in no source" for key in there if key not in expected]
    problems += [
        f"{_show(key)} is not the one that wins" for key in expected if there.get(key, expected[key]) != expected[key]
    ]
    return Check(
        name=name, ok=not problems, proves=proves, does_not_prove=does_not,
        detail="; ".join(problems) or f"{len(there)} found",
    )  # fmt: skip


def _show(name: object) -> str:
    if isinstance(name, bytes):
        return repr(name.decode("utf-8", "backslashreplace"))
    module, before_keys = name if isinstance(name, tuple) else (name, True)
    return f"{module} ({'before' if before_keys else 'after'} the keys)"
