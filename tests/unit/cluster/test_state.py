"""The folder's memory, ports and DSNs, without starting anything."""

from __future__ import annotations

import socket
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest

from premortem.cluster.client import Cluster
from premortem.cluster.place import free_ports, local_topology
from premortem.cluster.state import State, load, new_secrets, save
from premortem.cluster.units import FRONT, units
from premortem.engines.errors import EngineError
from premortem.engines.patroni import Launch
from premortem.engines.processes import User
from premortem.engines.programs import Program


def make(folder: Path, **changes: object) -> State:
    state = State(
        folder,
        folder / "run",
        local_topology("t", 3, "quorum"),
        new_secrets(),
        Launch((), "/usr/bin/python3", {"PATH": "/bin"}, User(65534, 65534, "nobody")),
        Path("/pg/bin"),
        Program(Path("/usr/bin/etcd"), "system", (3, 4, 23)),
        Program(Path("/usr/sbin/haproxy"), "system", (2, 6)),
        Program(Path("/usr/sbin/pgbouncer"), "system", (1, 18)),
    )
    return replace(state, **changes)  # type: ignore[arg-type]


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    state = make(tmp_path)
    save(state)
    assert load(tmp_path) == state
    assert (tmp_path / "cluster.json").stat().st_mode & 0o077 == 0


def test_no_cluster_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no cluster in"):
        load(tmp_path)


def test_a_broken_memory_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "cluster.json").write_text("{")
    with pytest.raises(EngineError, match="cannot read"):
        load(tmp_path)


def test_dsns(tmp_path: Path) -> None:
    pooled = make(tmp_path)
    t = pooled.topology
    assert f"port={t.app_port}" in pooled.dsn()
    assert "dbname=app_ro" in pooled.dsn(replicas=True)
    proxied = make(tmp_path, topology=t, pgbouncer=None)
    assert f"port={t.primary_port}" in proxied.dsn()
    assert f"port={t.replica_port}" in proxied.dsn(replicas=True)
    bare = make(tmp_path, topology=t, pgbouncer=None, haproxy=None)
    assert "target_session_attrs=read-write" in bare.dsn()
    assert bare.dsn().count("127.0.0.1") == 3


def test_units_of_all_and_of_one_host(tmp_path: Path) -> None:
    state = make(tmp_path)
    assert len(units(state)) == 8
    assert {u.kind for u in units(state, FRONT)} == {"haproxy", "pgbouncer"}
    assert {u.name for u in units(state, "node2")} == {"etcd-node2", "patroni-node2"}


def test_words_leave_the_namespace_prefix_out(tmp_path: Path) -> None:
    how = Launch(("unshare", "--user", "--"), "python3", {}, None)
    patroni = next(u for u in units(make(tmp_path, launch=how)) if u.kind == "patroni")
    assert patroni.words[:3] == ["python3", "-m", "patroni"]


def test_free_ports_are_free_and_different() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert all(20000 <= p < 32000 for p in ports)


def test_a_taken_port_is_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(EngineError, match=f"port {port} is taken"):
            local_topology("t", 3, "quorum", port=port)


def test_ports_taken_since_are_one_line(tmp_path: Path) -> None:
    t = local_topology("t", 3, "quorum")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", t.app_port))
        taken.listen()
        with pytest.raises(EngineError, match=f"taken by another program: 127.0.0.1:{t.app_port}"):
            Cluster(tmp_path / "c").up(t)
    assert not (tmp_path / "c").exists()


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    with pytest.raises(EngineError, match="not empty"):
        Cluster(tmp_path).up(local_topology("t", 3, "quorum"))
    assert (tmp_path / "mine").read_text() == "x"


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")(10**10, 10**10, 5 * 10**6)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(EngineError, match="5 MB free, 3 servers need 1200 MB"):
        Cluster(tmp_path / "c").up(local_topology("t", 3, "quorum"))
    assert not (tmp_path / "c").exists()


def test_a_refused_topology_starts_nothing(tmp_path: Path) -> None:
    bad = replace(local_topology("t", 3, "quorum"), sync="off", no_loss=True)
    with pytest.raises(EngineError, match="no_loss"):
        Cluster(tmp_path / "c").up(bad)
    assert not (tmp_path / "c").exists()


def test_two_nodes_get_a_third_vote() -> None:
    t = local_topology("t", 2, "quorum")
    assert (len(t.servers), len(t.voters)) == (2, 3)


def test_secrets_are_fresh() -> None:
    assert new_secrets() != new_secrets()
    assert len(new_secrets().app) == 32
