"""Up, down, destroy; a second cluster, taken ports, a full disk, an ordinary user."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import premortem
from premortem.cluster.client import Cluster
from premortem.cluster.place import local_topology
from premortem.cluster.state import load
from premortem.cluster.topology import Pool, Topology
from premortem.engines import patroni
from premortem.engines.errors import EngineError
from tests.real._cluster import Rehearsal, processes_of

pytestmark = [pytest.mark.real, pytest.mark.slow]

UP_S_MAX = 15.0
"""Promised; some 9 s on an idle machine."""


def single(name: str = "second") -> Topology:
    return local_topology(name, 1, "off", etcd_members=1)


def test_up_takes_no_longer_than_promised(rehearsal: Rehearsal) -> None:
    share = max(1.0, rehearsal.load / (os.cpu_count() or 1))  # of a busy machine it gets less
    assert 0.0 < rehearsal.took_s <= UP_S_MAX * share


def test_a_second_cluster_beside_the_first(rehearsal: Rehearsal, base: Path) -> None:
    second = Cluster(base / "cluster")
    status = second.up(single())
    assert status["primary"] == "node1"
    run = load(second.folder).run
    second.destroy()
    assert not second.folder.exists()
    assert not run.exists()
    assert processes_of(base) == []
    rehearsal.settled()


def test_ports_that_are_taken_are_named(rehearsal: Rehearsal, base: Path) -> None:
    taken = rehearsal.state.topology.app_port
    with pytest.raises(EngineError, match=f"taken by another program: 127.0.0.1:{taken}"):
        Cluster(base / "cluster").up(replace(single(), app_port=taken))
    assert not (base / "cluster").exists()


def test_a_topology_that_would_bite_is_not_started(base: Path) -> None:
    bad = replace(single(), pools=(Pool(size=500),))
    with pytest.raises(EngineError, match="pool_sum"):
        Cluster(base / "cluster").up(bad)
    assert not (base / "cluster").exists()


@pytest.fixture
def small_disk(base: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    place = base / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "none", str(place)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("this machine does not let us mount")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_refused_before_anything_is_written(small_disk: Path) -> None:
    with pytest.raises(EngineError, match=r"MB free, 1 servers need 400 MB"):
        Cluster(small_disk / "cluster").up(single())
    assert list(small_disk.iterdir()) == []


START = "import sys; from premortem.app.cli import main; sys.exit(main())"


def test_an_ordinary_user_needs_no_root(base: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("the other tests run as an ordinary user already")
    how, who = patroni.launch(), pwd.getpwnam("daemon")
    if how.prefix:
        pytest.skip("no Python of this version here that an ordinary user may run")
    home = base / "home"
    home.mkdir()
    os.chown(home, who.pw_uid, who.pw_gid)

    library = [how.env.get("PYTHONPATH", ""), str(Path(premortem.__file__).parents[1])]

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        become = ["setpriv", f"--reuid={who.pw_uid}", f"--regid={who.pw_gid}", "--clear-groups"]
        command = [how.interpreter, "-c", START, "cluster", *words]
        return subprocess.run(
            [*become, *command, "--folder", str(home / "cluster")],
            env={
                **how.env,
                "HOME": str(home),
                "TMPDIR": str(home),
                "PYTHONPATH": ":".join(library),
            },
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )

    try:
        up = run("up", "--nodes", "1", "--json")
        assert up.returncode == 0, up.stderr
        assert json.loads(up.stdout)["primary"] == "node1"
    finally:
        gone = run("destroy", "--yes")
    assert gone.returncode == 0, gone.stderr
    assert processes_of(home) == []
    shutil.rmtree(home)


def test_down_keeps_the_data_and_up_finds_it(rehearsal: Rehearsal) -> None:
    rehearsal.execute(
        "CREATE TABLE IF NOT EXISTS lasting (id int)", "INSERT INTO lasting VALUES (7)"
    )
    rehearsal.cluster.down()
    assert not rehearsal.processes()
    assert rehearsal.cluster.status()["primary"] is None
    rehearsal.cluster.up()
    assert rehearsal.execute("SELECT id FROM lasting LIMIT 1") == [(7,)]
