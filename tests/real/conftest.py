"""One real cluster on loopback, for all the tests that need a running one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from premortem.cluster.client import Cluster
from premortem.cluster.place import local_topology
from premortem.cluster.state import load
from premortem.engines import pgbouncer
from tests.real._cluster import Rehearsal, cluster_folder


@pytest.fixture(scope="session")
def pooler() -> None:
    """Without a pooler a cluster runs, but a switchover cannot hold its clients."""
    if pgbouncer.find() is None:
        pytest.skip(f"PgBouncer is not installed: {pgbouncer.INSTALL}")


@pytest.fixture
def base(pooler: None) -> Iterator[Path]:
    """A folder for one cluster; nothing runs there afterwards."""
    with cluster_folder() as made:
        yield made


@pytest.fixture(scope="session")
def shared(pooler: None) -> Iterator[Rehearsal]:
    with cluster_folder() as base:
        made = Cluster(base / "cluster")
        busy = os.getloadavg()[0]
        took_s = float(str(made.up(local_topology("test", 3, "quorum"))["took_s"]))
        run = load(made.folder).run
        yield Rehearsal(made, took_s, busy)
    assert not run.exists()


@pytest.fixture
def rehearsal(shared: Rehearsal) -> Rehearsal:
    """The shared cluster, in good order; each test must leave it so that this comes back."""
    if not shared.cluster.running():
        shared.cluster.up()  # an earlier test failed half-way: it should not fail the others
    shared.settled()
    return shared
