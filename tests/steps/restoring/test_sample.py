"""A sample tells a target that was emptied from one that clients have changed."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from rdbbytes import entry, rdb, select
from realservers import need, running
from restoring import now_ms, restored

from rdbmerge.errors import StoppedError

pytestmark = pytest.mark.once


def half_done(server: Any, path: Path) -> None:
    stop = threading.Event()

    def tell(status: Any) -> None:
        if status.phase == "restore" and status.done_bytes:
            stop.set()

    with pytest.raises(StoppedError):
        restored(server, path, stop=stop, progress=tell, connections=1)


@pytest.mark.parametrize(("deleted", "anew"), [(0.0, 0), (0.25, 0), (0.9, 1)])
def test_what_clients_deleted_is_no_loss_but_most_of_it_is(deleted: float, anew: int, tmp_path: Path) -> None:
    path, soon = tmp_path / "a.rdb", now_ms() + 1_500
    body = [
        select(db) + b"".join(
            entry(b"k%d" % n, expire_at_ms=soon if n % 3 == 0 else None) for n in range(1_000)
        )
        for db in range(6)
    ]  # fmt: skip
    path.write_bytes(rdb(9, *body))
    with running(need("redis-7.0")) as server:
        half_done(server, path)
        while now_ms() <= soon:  # what has expired since is not missed
            threading.Event().wait(0.05)
        for db in range(6):
            with server.client(db) as client:
                keys = sorted(key for key in client.scan_iter() if int(key[1:]) % 100 < 100 * deleted)
                if keys:
                    client.delete(*keys)
        report = restored(server, path)
    assert (report.begun_anew, report.resumed) == (anew, True)
