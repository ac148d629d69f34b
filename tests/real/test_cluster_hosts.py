"""The rendered systemd set, run as plain processes on three hosts (network namespaces) with
addresses of their own: SCRAM, TLS and certificates as a reader of its README would have them."""

from __future__ import annotations

import json
import os
import re
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

import psutil
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from benchmarks._netns import NET, Host, hosts
from premortem.cluster.confs import Secrets
from premortem.cluster.render import render
from premortem.cluster.state import new_secrets
from premortem.cluster.topology import Node, Postgres, Topology
from premortem.engines import patroni
from tests.real._cluster import processes_of, until

pytestmark = [pytest.mark.real, pytest.mark.slow]

MACHINES = ("db1", "db2", "db3")
FRONT = f"{NET}.1"
READY_S = 90.0
"""25 s on an idle machine: each server is copied by pg_basebackup over TLS."""


def _servers() -> int:
    """The newest PostgreSQL of the distribution; the wheel's has no TLS."""
    found = [int(p.parent.name) for p in Path("/usr/lib/postgresql").glob("*/bin")]
    if not found:
        pytest.skip("needs the distribution's PostgreSQL (apt install postgresql): TLS")
    return max(found)


@dataclass
class Site:
    """What was rendered, where it was put, and what runs of it."""

    folder: Path
    topology: Topology
    secrets: Secrets
    how: patroni.Launch
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def write(self) -> None:
        """Each machine's files, as if ``folder/NAME`` were its root."""
        for file in render(self.topology, "systemd", self.secrets):
            path = self.folder / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.rooted(file.path.split("/")[0], file.text))
        make = ["sh", "make-certificates.sh"]
        subprocess.run(make, cwd=self.folder, check=True, capture_output=True)
        for name in MACHINES:
            (self.folder / name / "run").mkdir()
            (self.folder / name / "var").mkdir()
        for place, folders, files in os.walk(self.folder):
            for name in (".", *folders, *files):
                self.give(Path(place) / name)
            os.chmod(place, 0o711 if Path(place) == self.folder else 0o700)  # noqa: PTH101

    def give(self, path: Path) -> None:
        if self.how.user is not None:
            os.chown(path, self.how.user.uid, self.how.user.gid)

    def rooted(self, machine: str, text: str) -> str:
        if machine not in (*MACHINES, "front"):
            return text
        root = self.folder / machine
        text = text.replace("/etc/premortem", f"{root}/etc/premortem")
        return text.replace("/var/lib/premortem", f"{root}/var").replace(
            "/run/premortem", f"{root}/run"
        )

    def start(self, machine: str, unit: str, space: str = "") -> None:
        """The unit's own ExecStart, as an ordinary user, in the machine's namespace."""
        service = self.folder / machine / f"etc/systemd/system/premortem-{unit}.service"
        found = re.search(r"^ExecStart=(.*)$", service.read_text(), re.MULTILINE)
        assert found is not None
        words = found[1].split()
        if words[0] == "/opt/premortem/bin/patroni":
            words[:1] = [self.how.interpreter, "-m", "patroni"]
        inside = ["ip", "netns", "exec", space] if space else []
        become = []
        if self.how.user is not None:
            uid, gid = self.how.user.uid, self.how.user.gid
            become = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups"]
        with (self.folder / f"{machine}-{unit}.log").open("wb") as log:
            self.running[f"{machine}-{unit}"] = subprocess.Popen(
                [*inside, *become, *words], stdout=log, stderr=log, env=dict(self.how.env), cwd="/"
            )

    def dsn(self, user: str, password: str, port: int, **more: str) -> str:
        secure = {"sslmode": "verify-ca", "sslrootcert": str(self.folder / "ca.crt")}
        return make_conninfo(
            host=FRONT,
            port=port,
            user=user,
            password=password,
            connect_timeout=3,
            **{"dbname": "app", **secure, **more},
        )

    def end(self) -> None:
        for child in self.running.values():
            child.terminate()
        for child in self.running.values():
            try:
                child.wait(10.0)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        for p in psutil.process_iter():
            try:
                if p.cwd().startswith(str(self.folder)):
                    p.kill()
            except psutil.Error:
                continue


@contextmanager
def site(base: Path) -> Iterator[tuple[Site, dict[str, Host]]]:
    with hosts(list(MACHINES)) as made:
        t = Topology(
            "shop",
            tuple(Node(name, made[name].address, zone=name) for name in MACHINES),
            address=FRONT,
            postgres=Postgres(version=_servers()),
        )
        it = Site(base / "s", t, new_secrets(), patroni.launch())
        it.write()
        try:
            for name in MACHINES:
                it.start(name, "etcd", made[name].space)
                it.start(name, "patroni", made[name].space)
            it.start("front", "haproxy")
            it.start("front", "pgbouncer")
            yield it, made
        finally:
            it.end()


def test_three_hosts_with_scram_and_tls(base: Path) -> None:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2")
    if not all(map(shutil.which, ("haproxy", "pgbouncer", "openssl", "etcd"))):
        pytest.skip("needs haproxy, pgbouncer, openssl and etcd where the units call them")
    with site(base) as (it, _):
        root = it.dsn("postgres", it.secrets.superuser, it.topology.primary_port, dbname="postgres")
        until(lambda: _do(root, "SELECT 1"), READY_S)
        _do(root, f"CREATE ROLE app LOGIN PASSWORD '{it.secrets.app}'")  # step 5 of the README
        _do(root, "CREATE DATABASE app OWNER app")
        app = it.dsn("app", it.secrets.app, it.topology.app_port)
        until(lambda: _do(app, "CREATE TABLE IF NOT EXISTS kept AS SELECT 7 AS id"), 10.0)
        assert _do(app, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == [(True,)]
        kind = "SELECT left(rolpassword, 13) FROM pg_authid WHERE rolname = 'app'"
        assert _do(root, kind) == [("SCRAM-SHA-256",)]
        _closed(it)
        until(lambda: _roles(it).count("quorum_standby") == 2, READY_S)
        before = _primary(root)
        machine = next(n.name for n in it.topology.nodes if n.address == before)
        it.running[f"{machine}-patroni"].terminate()  # systemctl stop premortem-patroni
        until(lambda: _primary(root) != before, 30.0)
        assert until(lambda: _do(app, "INSERT INTO kept VALUES (8) RETURNING id"), 10.0) == [(8,)]
        assert _do(app, "SELECT min(id) FROM kept") == [(7,)]
    time.sleep(0.2)
    assert processes_of(base) == []


def _closed(it: Site) -> None:
    """Neither without TLS, nor with another password, nor by somebody else's certificate."""
    app, ports = it.secrets.app, (it.topology.app_port, it.topology.primary_port)
    for port in ports:
        with pytest.raises(psycopg.OperationalError, match=r"SSL|encryption|pg_hba"):
            _do(it.dsn("app", app, port, sslmode="disable"), "SELECT 1")
        with pytest.raises(psycopg.OperationalError, match=r"password|SASL"):
            _do(it.dsn("app", "guessed", port), "SELECT 1")


def _roles(it: Site) -> list[str]:
    """What Patroni itself says of the members, asked over TLS with our own authority."""
    trusted = ssl.create_default_context(cafile=str(it.folder / "ca.crt"))
    address = it.topology.nodes[0].address
    with urlopen(f"https://{address}:8008/cluster", timeout=3.0, context=trusted) as answer:
        return [m["role"] for m in json.load(answer)["members"]]


def _primary(root: str) -> str:
    return str(_do(root, "SELECT host(inet_server_addr())")[0][0])


def _do(dsn: str, order: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn, autocommit=True, prepare_threshold=None) as connection:
        cursor = connection.execute(order.encode())
        return cursor.fetchall() if cursor.description else [()]
