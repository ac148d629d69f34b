"""The rendered files, judged by the programs themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from premortem.cluster import confs
from premortem.cluster.place import local_topology
from premortem.cluster.render import render
from premortem.cluster.state import new_secrets
from premortem.cluster.topology import Node, Topology
from premortem.engines import haproxy, pgbouncer
from premortem.engines.errors import EngineError

pytestmark = [pytest.mark.real, pytest.mark.slow]

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
