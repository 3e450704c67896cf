"""Whether what is in a server is what was sent: by meaning, whatever form the server gives it."""

from __future__ import annotations

from pathlib import Path

import pytest
from rdbbytes import entry, rdb, select
from realservers import ServerBinary, each_server, need, running
from restoring import copied, now_ms, restored
from rows import only_batch

from rdbmerge.format.columns import Columns
from rdbmerge.format.dump import dump
from rdbmerge.format.emit import Change, Emission
from rdbmerge.plan.fitting import loader_of
from rdbmerge.plan.model import Rules, Unsupported
from rdbmerge.plan.profile import find_profile
from rdbmerge.snapshot.segment import Segment
from rdbmerge.steps.restoring.doubt import same_value

pytestmark = pytest.mark.once

GOLDEN = Path(__file__).parents[3] / "fixtures" / "rdb"
CASES = {
    "redis-2.8": "7.0.15", "redis-5.0": "5.0.14", "redis-7.0": "7.4.1", "redis-8.2": "8.2.3", "valkey-8.1": "2.8.24",
    "valkey-9.1": "valkey-9.1.2",
}  # fmt: skip


@each_server(lambda binary: binary.name in CASES)
def test_everything_is_known_again_after_it_was_restored_and_nothing_else(binary: ServerBinary, tmp_path: Path) -> None:
    path = copied(GOLDEN / CASES[binary.name] / "all_types.rdb", tmp_path)
    rules = Rules(drop_expired=False, ttl_offset_ms=10**12, on_unsupported=Unsupported.STRIP)
    profile = find_profile(binary.name)
    known, mistaken = 0, list[bytes]()
    with running(binary) as server, Segment(path) as segment, server.client(raw=True) as client:
        restored(server, path, rules=rules)
        change = Change(dialect=segment.dialect, ttl_offset_ms=10**12, loader=loader_of(profile))
        for batch in segment.walk():
            if not isinstance(batch, Columns) or batch.db:
                continue
            emission = Emission(segment.view, batch, change)
            dumps = [client.dump(batch.key(segment.view, row)) for row in range(batch.rows)]
            for row, data in enumerate(dumps):
                if data is None:  # what the server cannot hold
                    continue
                assert same_value(emission, row, data, now_ms=now_ms()), batch.key(segment.view, row)
                known += 1
            others = [data for data in dumps if data is not None][::6]
            mistaken += [
                batch.key(segment.view, row)
                for row, data in enumerate(dumps)
                if data is not None and sum(same_value(emission, row, other, now_ms=now_ms()) for other in others) > 4
            ]
    assert known > 100
    assert not mistaken, "few values of this file are equal"


@pytest.mark.parametrize("other", [b"2", b"", b"11"])
def test_another_value_or_type_is_not_the_same(other: bytes) -> None:
    view, batch, dialect = only_batch(rdb(9, select(0), entry(b"k", b"1")))
    emission = Emission(view, batch, Change(dialect=dialect))
    assert same_value(emission, 0, dump(0, b"\xc0\x01"), now_ms=0), "a number is its text"
    assert not same_value(emission, 0, dump(0, bytes([len(other)]) + other), now_ms=0)
    assert not same_value(emission, 0, dump(1, b"\x01\x011"), now_ms=0)
    assert not same_value(emission, 0, dump(28, b"\x00"), now_ms=0)


def test_an_expiry_that_differs_makes_a_key_another_ones(tmp_path: Path) -> None:
    path, at_ms = tmp_path / "a.rdb", now_ms() + 3_600_000
    path.write_bytes(rdb(9, select(0), *(entry(b"k%d" % n, b"v", expire_at_ms=at_ms) for n in range(3)), entry(b"no")))
    with running(need("redis-7.0")) as server, server.client() as client:
        client.set("stranger", "1")
        client.set("k0", "v", pxat=at_ms)
        client.set("k1", "v", pxat=at_ms + 60_000)
        client.set("k2", "v")
        client.set("no", "v", pxat=at_ms)
        (tmp_path / "a.rdb.restore.json").touch()
        # As if a run had been killed: everything is in doubt.
        begun(path, server, tmp_path)
        report = restored(server, path, on_busy="skip")
        assert (report.restored, report.ledger.total().skipped) == (1, 3)


def begun(path: Path, server: object, folder: Path) -> None:
    """What a run leaves that was killed before it heard anything."""
    from rdbmerge.steps import restore as steps

    kept = steps.Parts.run
    steps.Parts.run = lambda *_: (_ for _ in ()).throw(KeyboardInterrupt())  # type: ignore[method-assign]
    try:
        with pytest.raises(KeyboardInterrupt):
            restored(server, path, on_busy="skip")  # type: ignore[arg-type]
    finally:
        steps.Parts.run = kept  # type: ignore[method-assign]
    assert [one.name for one in folder.iterdir() if one.name.endswith("restore.json")]
