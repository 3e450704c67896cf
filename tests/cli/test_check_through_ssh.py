"""check reaches what pull reaches: through SSH, by sentinels, as a cluster."""

from __future__ import annotations

import pytest
from cli.running import run
from clusters import running_cluster, running_sentinel
from realservers import free_port, need, running
from sshserver import need_sshd, ssh_server

pytestmark = pytest.mark.once


def test_sources_that_hide_are_looked_at() -> None:
    need_sshd()
    binary = need("redis-6.2")
    with (
        ssh_server() as bastion,
        running(binary) as server,
        running_sentinel(binary, {"shop": server}) as sentinel,
        running_cluster(binary) as cluster,
    ):
        ssh = ("--ssh", "bastion", "--ssh-config", bastion.config)
        node = f"big=redis-cluster://127.0.0.1:{cluster.primaries[0].port}"
        result = run("check", f"redis-sentinel://127.0.0.1:{sentinel.port}/shop", node, *ssh)
        assert result.exit_code == 0, result.stdout + result.stderr
        assert "FAILED" not in result.stdout
        assert bastion.log.count("Accepted publickey") == 1
        result = run("check", f"cart=127.0.0.1:{free_port()}", *ssh)
    assert result.exit_code == 30
    assert "SSH server bastion got: connection refused: nothing listens there" in result.stdout + result.stderr
