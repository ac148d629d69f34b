"""A real cluster on loopback: crash, switchover, killed supervisor, day-2 orders, nothing left."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from premortem.cluster import confs
from premortem.cluster.client import Cluster
from premortem.cluster.place import local_topology
from premortem.cluster.render import render
from premortem.cluster.state import State, load, new_secrets
from premortem.cluster.topology import Node, Topology
from premortem.cluster.units import adopt, postmaster, remains, units
from premortem.engines import haproxy, pgbouncer
from premortem.engines.errors import EngineError
from premortem.route.psycopg import Router

pytestmark = [pytest.mark.real, pytest.mark.slow]

WITHIN_S = 60.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    base = Path(tempfile.mkdtemp(prefix="premortem-test-", dir="/tmp"))
    base.chmod(0o711)
    made = Cluster(base / "cluster")
    run = None
    try:
        made.up(local_topology("test", 3, "quorum"))
        run = load(made.folder).run
        yield made
    finally:
        if (made.folder / "cluster.json").exists():
            made.destroy()
        shutil.rmtree(base)
    assert run is not None
    assert not run.exists()
    assert not _processes_of(base)


def _processes_of(folder: Path) -> list[str]:
    found = []
    for p in psutil.process_iter():
        try:
            words = " ".join(p.cmdline())
            if str(folder) in words or p.cwd().startswith(str(folder)):
                found.append(words)
        except psutil.Error:
            continue
    return found


@pytest.fixture
def state(cluster: Cluster) -> State:
    settled(cluster)
    return load(cluster.folder)


def until(what: Callable[[], Any], within_s: float = WITHIN_S) -> Any:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            found = what()
        except (EngineError, psycopg.Error):
            found = None
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {within_s:g} s")


def members(cluster: Cluster) -> Mapping[str, Mapping[str, Any]]:
    return {m["name"]: m for m in cluster.status()["members"]}  # type: ignore[attr-defined]


def settled(cluster: Cluster) -> None:
    """One leader, everybody else streams, one at least confirms commits."""

    def fine() -> bool:
        rows = list(members(cluster).values())
        roles = [m["role"] for m in rows]
        streams = [m["state"] for m in rows].count("streaming") == len(rows) - 1
        return roles.count("leader") == 1 and streams and "quorum_standby" in roles

    until(fine)


def primary(cluster: Cluster) -> str:
    return str(until(lambda: cluster.status()["primary"]))


def test_up_gives_two_dsns(state: State) -> None:
    with psycopg.connect(state.dsn(), prepare_threshold=None) as connection:
        row = connection.execute("SELECT pg_is_in_recovery(), current_user").fetchone()
        assert row == (False, "app")
    with psycopg.connect(state.dsn(replicas=True), prepare_threshold=None) as connection:
        assert connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)


def test_nobody_gets_in_without_a_password(state: State) -> None:
    for node in state.topology.servers:
        with pytest.raises(psycopg.OperationalError, match=r"password|no password"):
            psycopg.connect(
                host=node.address, port=node.postgres_port, user="postgres", connect_timeout=3
            )


def test_commits_wait_for_a_replica(cluster: Cluster, state: State) -> None:
    node = state.topology.node(primary(cluster))
    with psycopg.connect(state.server_dsn(node)) as connection:
        row = connection.execute("SHOW synchronous_standby_names").fetchone()
    assert row is not None
    assert str(row[0]).startswith("ANY 1")


def test_a_router_always_reads_its_own_writes(state: State) -> None:
    with Router(state.dsn(), state.dsn(replicas=True)) as router:
        router.write(lambda c: c.execute("CREATE TABLE IF NOT EXISTS own (id int)"))
        missed = 0
        for i in range(100):
            router.write(lambda c, i=i: c.execute("INSERT INTO own VALUES (%s)", (i,)))
            rows = router.read("SELECT count(*) FROM own WHERE id = %s", (i,), stale_s_max=5.0)
            missed += rows != [(1,)]
        assert missed == 0
        assert router.counts["replica"] > 0  # or the test would show nothing


def test_sqlalchemy_reads_its_own_writes(state: State) -> None:
    sqlalchemy = pytest.importorskip("sqlalchemy", reason="SQLAlchemy is the site's to install")
    from premortem.route.sqlalchemy import Router as SqlalchemyRouter

    def engine(dsn: str) -> Any:
        return sqlalchemy.create_engine(
            "postgresql+psycopg://",
            connect_args=conninfo_to_dict(dsn) | {"prepare_threshold": None},
        )

    primary, replicas = engine(state.dsn()), engine(state.dsn(replicas=True))
    router, on_replica = SqlalchemyRouter(primary, replicas), 0
    with router.writing() as connection:
        connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS alchemy (id int)")
    for i in range(30):
        with router.writing() as connection:
            connection.exec_driver_sql("INSERT INTO alchemy VALUES (%s)", (i,))
        with router.reading(stale_s_max=5.0) as connection:
            query = "SELECT count(*), pg_is_in_recovery() FROM alchemy WHERE id = %s"
            count, replica = connection.exec_driver_sql(query, (i,)).one()
            assert count == 1
            on_replica += replica
    assert on_replica > 0
    primary.dispose()
    replicas.dispose()


def test_django_reads_its_own_writes(state: State) -> None:
    """In a process of its own: Django's settings are one a process."""
    pytest.importorskip("django", reason="Django is the site's to install")
    done = subprocess.run(
        [sys.executable, "-c", _DJANGO, state.dsn(), state.dsn(replicas=True)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    missed, replica_reads = (int(word) for word in done.stdout.split())
    assert missed == 0
    assert replica_reads > 0


_DJANGO = """
import sys
from types import SimpleNamespace
from django.conf import settings
from psycopg.conninfo import conninfo_to_dict

def database(dsn):
    d = conninfo_to_dict(dsn)
    return {"ENGINE": "django.db.backends.postgresql", "NAME": d["dbname"], "USER": d["user"],
            "PASSWORD": d["password"], "HOST": d["host"], "PORT": d["port"],
            "DISABLE_SERVER_SIDE_CURSORS": True, "OPTIONS": {"prepare_threshold": None}}

settings.configure(
    DATABASES={"default": database(sys.argv[1]), "replica": database(sys.argv[2])},
    DATABASE_ROUTERS=["premortem.route.django.ReplicaRouter"],
    DEFAULT_AUTO_FIELD="django.db.models.AutoField")
import django
django.setup()
from django.db import connections, models, router
from django.http import HttpResponse
from premortem.route.django import ReadYourWrites, may_be_stale

class Row(models.Model):
    number = models.IntegerField()
    class Meta:
        app_label = "site"

with connections["default"].schema_editor() as editor:
    editor.create_model(Row)
missed = replica_reads = 0
cookie = {}
for i in range(30):
    def write(request):
        Row.objects.create(number=i)
        return HttpResponse()
    def read(request):
        global missed, replica_reads
        with may_be_stale(5.0):
            rows = Row.objects.filter(number=i)
            missed += not rows.exists()
            replica_reads += rows.db == "replica"
        return HttpResponse()
    response = ReadYourWrites(write)(SimpleNamespace(COOKIES=cookie))
    cookie = {k: v.value for k, v in response.cookies.items()}
    ReadYourWrites(read)(SimpleNamespace(COOKIES=cookie))
print(missed, replica_reads)
connections.close_all()
"""


def test_a_stalled_replica_is_not_read(cluster: Cluster, state: State) -> None:
    name = primary(cluster)
    senders = [
        p
        for p in remains(state.data(state.topology.node(name)))
        if "walsender" in " ".join(p.cmdline())
    ]
    with Router(state.dsn(), state.dsn(replicas=True)) as router:
        router.read("SELECT 1", stale_s_max=1.0)
        try:
            for p in senders:
                p.suspend()
            time.sleep(1.5)
            before = dict(router.counts)
            assert router.read("SELECT pg_is_in_recovery()", stale_s_max=1.0) == [(False,)]
            assert router.counts["fallback"] == before["fallback"] + 1
        finally:
            for p in senders:
                p.resume()


def test_a_crashed_primary_is_replaced_and_comes_back(cluster: Cluster, state: State) -> None:
    name = primary(cluster)
    node = state.topology.node(name)
    with psycopg.connect(state.dsn(), prepare_threshold=None, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (id int)")
        connection.execute("INSERT INTO kept VALUES (1)")
    pid = postmaster(state.data(node))
    assert pid is not None
    patroni = adopt([u for u in units(state, name) if u.kind == "patroni"])
    for victim in (pid, *(p.pid for p in patroni.values())):
        os.kill(victim, signal.SIGKILL)
    began = time.monotonic()

    def written() -> bool:
        with psycopg.connect(state.dsn(), prepare_threshold=None, autocommit=True) as connection:
            connection.execute("INSERT INTO kept VALUES (2)")
            row = connection.execute("SELECT count(*) FROM kept WHERE id = 1").fetchone()
            return row is not None and int(row[0]) >= 1

    assert until(written)
    assert time.monotonic() - began < 10.0
    settled(cluster)
    assert primary(cluster) != name


def test_patroni_alone_killed_is_started_again_and_nothing_moves(
    cluster: Cluster, state: State
) -> None:
    name = primary(cluster)
    before = postmaster(state.data(state.topology.node(name)))
    unit = [u for u in units(state, name) if u.kind == "patroni"]
    for proc in adopt(unit).values():
        os.kill(proc.pid, signal.SIGKILL)
    until(lambda: adopt(unit), 3.0)
    settled(cluster)
    assert primary(cluster) == name
    assert postmaster(state.data(state.topology.node(name))) == before


@pytest.mark.parametrize("named", [False, True])
def test_a_switchover_shows_clients_no_error(cluster: Cluster, state: State, named: bool) -> None:
    name = primary(cluster)
    target = next(n.name for n in state.topology.servers if n.name != name)
    with psycopg.connect(state.dsn(), prepare_threshold=None) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS ticks (i int)")
    worker = subprocess.Popen(
        [sys.executable, "-c", _CLIENT, state.dsn()], stdout=subprocess.PIPE, text=True
    )
    try:
        time.sleep(1.0)
        result = cluster.switchover(target if named else "")
        time.sleep(1.0)
    finally:
        worker.terminate()
        out, _ = worker.communicate()
    assert result["primary"] != name
    assert not named or result["primary"] == target
    done, failed = (int(word) for word in out.split())
    assert failed == 0
    assert done > 50


_CLIENT = """
import signal, sys, time, psycopg
done = failed = 0
def end(*_):
    print(done, failed, flush=True)
    sys.exit()
signal.signal(signal.SIGTERM, end)
c = psycopg.connect(sys.argv[1], autocommit=True, prepare_threshold=None)
while True:
    try:
        c.execute("INSERT INTO ticks VALUES (1)")
        done += 1
    except psycopg.Error:
        failed += 1
        c = psycopg.connect(sys.argv[1], autocommit=True, prepare_threshold=None)
    time.sleep(0.005)
"""


def test_a_killed_supervisor_is_back_and_adopts(cluster: Cluster, state: State) -> None:
    before = {n: p.pid for n, p in adopt(units(state)).items()}
    supervisors = _supervisors(cluster.folder)
    assert supervisors
    for p in supervisors:
        p.kill()
    until(cluster.running, 10.0)
    after = {n: p.pid for n, p in adopt(units(state)).items()}
    assert after == before
    # and it keeps what it adopted
    os.kill(after["haproxy"], signal.SIGKILL)
    until(lambda: adopt(units(state)).get("haproxy"), 5.0)
    settled(cluster)


def _supervisors(folder: Path) -> list[psutil.Process]:
    found = []
    for p in psutil.process_iter():
        try:
            words = p.cmdline()
        except psutil.Error:
            continue
        ours = "premortem.cluster.supervisor" in words and str(folder) in words
        if ours and not any(w.endswith("twin.py") for w in words):
            found.append(p)
    return found


def test_a_forgotten_pause_ends(state: State) -> None:
    state.console.pause(5.0)
    with psycopg.connect(state.dsn(), prepare_threshold=None, connect_timeout=10) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_node_is_added_and_removed(cluster: Cluster, state: State) -> None:
    assert cluster.add_node("extra")["node"] == "extra"
    assert members(cluster)["extra"]["state"] == "streaming"
    with pytest.raises(EngineError, match="already"):
        cluster.add_node("extra")
    cluster.remove_node("extra")
    assert "extra" not in members(cluster)
    assert not (cluster.folder / "extra").exists()


def test_a_replica_is_copied_afresh(cluster: Cluster, state: State) -> None:
    name = primary(cluster)
    replica = next(n.name for n in state.topology.servers if n.name != name)
    cluster.reinit(replica)
    assert members(cluster)[replica]["state"] == "streaming"
    with pytest.raises(EngineError, match="is the primary"):
        cluster.reinit(name)


def test_mistaken_orders_are_one_line(cluster: Cluster) -> None:
    for order in (
        lambda: cluster.switchover("nobody"),
        lambda: cluster.remove_node(primary(cluster)),
        lambda: cluster.logs("nothing"),
    ):
        with pytest.raises((EngineError, ValueError)) as caught:
            order()
        assert "\n" not in str(caught.value)


def test_down_keeps_the_data_and_up_finds_it(cluster: Cluster, state: State) -> None:
    with psycopg.connect(state.dsn(), prepare_threshold=None, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS lasting (id int)")
        connection.execute("INSERT INTO lasting VALUES (7)")
    cluster.down()
    assert not _processes_of(cluster.folder)
    assert cluster.status()["primary"] is None
    cluster.up()
    with psycopg.connect(state.dsn(), prepare_threshold=None) as connection:
        assert connection.execute("SELECT id FROM lasting LIMIT 1").fetchone() == (7,)


# -- the rendered files, judged by the programs themselves

REMOTE = Topology(
    "shop",
    tuple(Node(f"db{i}", f"10.0.0.{i}", zone=f"z{i}") for i in (1, 2, 3)),
    address="10.0.0.9",
)


def _written(folder: Path) -> Path:
    for file in render(REMOTE, "systemd", new_secrets()):
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text)
    return folder


def test_certificates_and_haproxy(tmp_path: Path) -> None:
    folder, program = _written(tmp_path), haproxy.find()
    if program is None or shutil.which("openssl") is None:
        pytest.skip("needs haproxy and openssl")
    subprocess.run(["sh", "make-certificates.sh"], cwd=folder, check=True, capture_output=True)
    cert = folder / "db1/etc/premortem/tls/node.crt"
    subprocess.run(["openssl", "verify", "-CAfile", folder / "ca.crt", cert], check=True)
    conf = folder / "front/etc/premortem/haproxy.cfg"
    tls = str(folder / "front/etc/premortem/tls")
    conf.write_text(conf.read_text().replace("/etc/premortem/tls", tls))
    haproxy.check(program, conf)
    conf.write_text(conf.read_text().replace("balance leastconn", "balance nonsense"))
    with pytest.raises(EngineError, match="haproxy refuses"):
        haproxy.check(program, conf)


def test_patroni_accepts_its_file(tmp_path: Path) -> None:
    """Only what this machine lacks (10.0.0.1 and PostgreSQL's folder) may be complained of."""
    conf = _written(tmp_path) / "db1/etc/premortem/patroni.yml"
    done = subprocess.run(
        [sys.executable, "-m", "patroni", "--validate-config", conf],
        capture_output=True,
        text=True,
        check=False,
    )
    said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    mine = ("restapi.listen", "postgresql.listen", "postgresql.bin_dir")
    assert [line for line in said if not line.startswith(mine)] == []


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("needs systemd-analyze")
    found = sorted(_written(tmp_path).rglob("*.service"))
    done = subprocess.run([program, "verify", *found], capture_output=True, text=True, check=False)
    said = [x for x in done.stderr.splitlines() if "is not executable" not in x]
    assert said == []


def test_pgbouncer_starts_with_its_file(tmp_path: Path) -> None:
    program = pgbouncer.find()
    if program is None:
        pytest.skip("needs pgbouncer")
    t = local_topology("t", 3, "quorum")
    users = tmp_path / "users"
    users.write_text(confs.userlist(new_secrets()))
    conf = tmp_path / "pgbouncer.ini"
    conf.write_text(confs.pgbouncer(replace(t), str(users)))
    prefix = ["setpriv", "--reuid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    if prefix:
        for path in (tmp_path, *tmp_path.parents):
            if path.is_relative_to("/tmp") and path != Path("/tmp"):
                path.chmod(path.stat().st_mode | 0o055)
        users.chmod(0o644)
        conf.chmod(0o644)
    child = subprocess.Popen([*prefix, program.path, conf], stderr=subprocess.PIPE, text=True)
    try:
        time.sleep(1.0)
        assert child.poll() is None
    finally:
        child.kill()
        _, said = child.communicate()
    assert "unrecognized" not in said
    assert "ERROR" not in said
