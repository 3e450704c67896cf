"""Witnesses from outside: rdbtools, a second parser; and a real server that loads the merged file.

The one door to both packages in this room, each opened only when it is asked. A witness that cannot be asked says so;
that is no difference. Knows nothing of sources.
"""

from __future__ import annotations

import datetime
import importlib
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from rdbmerge.errors import WitnessError
from rdbmerge.format.values import Logical
from rdbmerge.snapshot.segment import Segment
from rdbmerge.verify.report import Check, Witness
from rdbmerge.verify.samples import Sample, take_samples
from rdbmerge.verify.scratch import ScratchServer, Server, find_server
from rdbmerge.verify.structure import Found

_RDBTOOLS_NEWEST = 9
_RDBTOOLS_LATEST_MS = 221_925_052_800_000  # rdbtools cuts later expiries to this one
_EPOCH = datetime.datetime(1970, 1, 1)  # rdbtools gives UTC without a zone
_PATIENCE_S = 60
_CLOCK_STEP_MS = 50  # a server's notion of now within one transaction

Counts = Counter[tuple[int, str]]  # (db, logical type) -> keys


def ask(witness: Witness, merged: Segment, found: Found, *, server: Path | None = None) -> list[Check]:
    """The checks of one witness; `server` is a binary to use instead of looking for one."""
    if witness is Witness.RDBTOOLS:
        return [_ask_rdbtools(merged, found)]
    if witness is Witness.SERVER:
        return [_ask_server(merged, found, server)]
    return []


# --- rdbtools -----------------------------------------------------------------------------------------------------


def _rdbtools_check(ok: bool | None, detail: str) -> Check:
    return Check(
        name="witness rdbtools",
        ok=ok,
        proves="an independent parser reads the file to its end and finds the same numbers of keys by type and db",
        does_not_prove="that values are the right ones, or that a server loads the file",
        detail=detail,
    )


def _ask_rdbtools(merged: Segment, found: Found) -> Check:
    if found.dialect.line != "redis" or found.dialect.version > _RDBTOOLS_NEWEST:
        return _rdbtools_check(None, f"could not be asked: it reads RDB up to version 9, this is {found.dialect}")
    try:
        counted, expiries_ms = _count_with_rdbtools(merged.path)
    except WitnessError as error:
        return _rdbtools_check(None, str(error))
    here = _counts(found)
    problems = [
        f"db {db}: {counted[db, name]:,} {name} keys by rdbtools, {here[db, name]:,} counted here"
        for db, name in sorted(here.keys() | counted.keys())
        if here[db, name] != counted[db, name]
    ]
    for db, facts in sorted(found.dbs.items()):
        if facts.last_expiry_ms <= _RDBTOOLS_LATEST_MS and expiries_ms[db] != facts.expiry_sum_ms:
            problems.append(
                f"db {db}: the expiries sum up to {expiries_ms[db]} ms by rdbtools, to {facts.expiry_sum_ms} ms here"
            )
    return _rdbtools_check(not problems, "; ".join(problems) or f"{counted.total():,} keys by rdbtools too")


def _counts(found: Found) -> Counts:
    counts: Counts = Counter()
    for number, db in found.dbs.items():
        for kind, keys in db.types.items():
            counts[number, found.dialect.types[kind].logical.name.lower()] += keys
    return counts


def _count_with_rdbtools(path: Path) -> tuple[Counts, Counter[int]]:
    """Keys by db and type, and the sum of expiries by db; counted by a process of its own, which may come to grief.

    Raises WitnessError when it does.
    """
    done = subprocess.run(
        [sys.executable, "-m", __name__, str(path)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        words = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        raise WitnessError(f"could not be asked: rdbtools gave up: {words[-1]}")
    said: dict[str, list[list[Any]]] = json.loads(done.stdout)
    counts: Counts = Counter({(db, name): keys for db, name, keys in said["keys"]})
    return counts, Counter(dict(said["expiries_ms"]))


def count_and_tell(path: str) -> None:
    """What the other process does: JSON on stdout, or the parser's own traceback on stderr."""
    rdbtools: Any = importlib.import_module("rdbtools")
    counts: Counts = Counter()
    expiries_ms: Counter[int] = Counter()

    class Count(rdbtools.RdbCallback):  # type: ignore[misc]
        db = 0

        def start_database(self, db_number: int) -> None:
            self.db = db_number

        def book(self, name: str, expiry: datetime.datetime | None) -> None:
            counts[self.db, name] += 1
            if expiry is not None:
                expiries_ms[self.db] += (expiry - _EPOCH) // datetime.timedelta(milliseconds=1)

        def set(self, key: object, value: object, expiry: Any, info: object) -> None:
            self.book("string", expiry)

        def start_hash(self, key: object, length: int, expiry: Any, info: object) -> None:
            self.book("hash", expiry)

        def start_set(self, key: object, cardinality: int, expiry: Any, info: object) -> None:
            self.book("set", expiry)

        def start_list(self, key: object, expiry: Any, info: object) -> None:
            self.book("list", expiry)

        def start_sorted_set(self, key: object, length: int, expiry: Any, info: object) -> None:
            self.book("zset", expiry)

        def start_stream(self, key: object, listpacks_count: int, expiry: Any, info: object) -> None:
            self.book("stream", expiry)

        def start_module(self, key: object, module_name: str, expiry: Any, info: object) -> bool:
            if key is not None:  # None: data beside the keys
                self.book("module", expiry)
            return False

    rdbtools.RdbParser(Count(None)).parse(path)
    keys = [[db, name, count] for (db, name), count in counts.items()]
    json.dump({"keys": keys, "expiries_ms": list(expiries_ms.items())}, sys.stdout)


# --- a server -----------------------------------------------------------------------------------------------------


def _server_check(ok: bool | None, detail: str) -> Check:
    return Check(
        name="witness server",
        ok=ok,
        proves="a server loads the whole file; keys and expiries per db, some types and expiries, libraries agree",
        does_not_prove="every value, or that the target is of the same version",
        detail=detail,
    )


def _ask_server(merged: Segment, found: Found, path: Path | None) -> Check:
    server = find_server(found.dialect, path)
    if server is None:
        return _server_check(
            None,
            f"could not be asked: no server here loads {found.dialect}; install one"
            " (pip install 'rdbmerge[servers]') or name it with --witness-server",
        )
    databases = max([16, *(db + 1 for db in found.dbs)])
    redis: Any = importlib.import_module("redis")
    with ScratchServer(server, merged.path.resolve(), databases=databases) as scratch:
        client = redis.Redis(unix_socket_path=str(scratch.socket), protocol=2, socket_timeout=_PATIENCE_S)
        try:
            if not scratch.wait_until_loaded(lambda: _loaded(client)):
                return _server_check(False, f"{server} refused the file; its words: {scratch.last_words()}")
            problems = list(_differences(client, merged, found, server))
        except redis.RedisError as error:
            return _server_check(None, f"could not be asked: {server} answered {error}")
    keys = sum(db.keys for db in found.dbs.values())
    return _server_check(not problems, "; ".join(problems[:20]) or f"{server} loaded {keys:,} keys")


def _loaded(client: Any) -> bool:
    """Whether the server answers and has loaded its file."""
    redis: Any = importlib.import_module("redis")
    try:
        return int(client.info("persistence")["loading"]) == 0
    except (redis.ConnectionError, redis.TimeoutError, redis.exceptions.BusyLoadingError):
        return False


def _differences(client: Any, merged: Segment, found: Found, server: Server) -> list[str]:
    problems = []
    there = {int(name[2:]): (facts["keys"], facts["expires"]) for name, facts in client.info("keyspace").items()}
    here = {number: (db.keys, db.expires) for number, db in found.dbs.items() if db.keys}
    for number in sorted(there.keys() | here.keys()):
        if there.get(number) != here.get(number):
            problems.append(
                f"db {number}: (keys, expiries) {there.get(number)} in {server}, {here.get(number)} in the file"
            )
    seconds, micros = client.time()
    now_ms = seconds * 1_000 + micros // 1_000
    for sample in take_samples(merged, found, alive_after_ms=now_ms + 60_000):
        problems += _ask_sample(client, sample)
    if found.libraries:
        names = {dict(zip(one[::2], one[1::2], strict=False))[b"library_name"] for one in client.function_list()}
        missing = [library.name for library in found.libraries if library.name not in names]
        problems += [f"function library {name!r} is not in {server}" for name in missing]
    return problems


def _ask_sample(client: Any, sample: Sample) -> list[str]:
    """Type and expiry by commands that every server has; by a transaction, so that both clocks are read as one."""
    pipe = client.pipeline(transaction=True)
    pipe.execute_command("SELECT", sample.db)
    _, kind, pttl, (seconds, micros) = pipe.type(sample.key).pttl(sample.key).time().execute()
    if kind.decode() != sample.type_name and sample.logical not in (Logical.MODULE, Logical.ARRAY):
        return [f"{sample}: {kind.decode()} in the server, {sample.type_name} in the file"]
    at_ms = None if pttl < 0 else seconds * 1_000 + micros // 1_000 + pttl
    if (at_ms is None) != (sample.expire_at_ms is None):
        return [f"{sample}: PTTL {pttl} in the server, expiry {sample.expire_at_ms} in the file"]
    if at_ms is not None and sample.expire_at_ms is not None and abs(at_ms - sample.expire_at_ms) > _CLOCK_STEP_MS:
        return [f"{sample}: expires {at_ms} in the server, {sample.expire_at_ms} in the file"]
    return []


if __name__ == "__main__":
    count_and_tell(sys.argv[1])
