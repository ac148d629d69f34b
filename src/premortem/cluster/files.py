"""A cluster's files on this machine: every program's configuration, and their removal."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from premortem.cluster import confs, yaml
from premortem.cluster.state import State, write_closed
from premortem.cluster.topology import Topology
from premortem.engines import haproxy
from premortem.engines.errors import EngineError
from premortem.engines.processes import User

__all__ = ["make_run_folder", "remove", "write_files"]

TEMP_CHARS_MAX = 50
"""Leaves 57 of 107 for ``/premortem-xxxxxxxx/NODE/.s.PGSQL.31999.lock``."""


def make_run_folder() -> Path:
    """A folder with a short name, for sockets; it gets one folder a server.

    A socket's path may have 107 bytes, so a long ``TMPDIR`` is passed over for ``/tmp``. Raises
    ``EngineError``.
    """
    wanted = tempfile.gettempdir()
    place = wanted if len(wanted) <= TEMP_CHARS_MAX else "/tmp"
    try:
        run = Path(tempfile.mkdtemp(prefix="premortem-", dir=place))
        run.chmod(0o711)
    except OSError as error:
        raise EngineError(
            f"cannot use {place} for sockets: {error.strerror}: set TMPDIR"
        ) from error
    return run


def write_files(state: State) -> None:
    """Write every program's configuration. Raises ``EngineError`` (no space, no permission)."""
    user = state.launch.user
    try:
        _folders(state)
        for n in state.topology.nodes:
            home, places = state.home(n), state.places(n)
            if n.etcd:
                text = yaml.dump(confs.etcd(_no_tls(state.topology), n, places))
                write_closed(home / "etcd.yml", text, user)
            if n.postgres:
                conf = confs.patroni(_no_tls(state.topology), n, state.secrets, places)
                write_closed(home / "patroni.yml", yaml.dump(conf), user)
        _front(state)
    except OSError as error:
        raise EngineError(f"cannot write to {state.folder}: {error.strerror}") from error


def _front(state: State) -> None:
    user, t = state.launch.user, _no_tls(state.topology)
    write_closed(state.front / "haproxy.cfg", confs.haproxy(t), user)
    write_closed(state.front / "userlist.txt", confs.userlist(state.secrets), user)
    text = confs.pgbouncer(t, str(state.front / "userlist.txt"))
    write_closed(state.front / "pgbouncer.ini", text, user)
    if state.haproxy is not None:
        haproxy.check(state.haproxy, state.front / "haproxy.cfg")


def _no_tls(t: Topology) -> Topology:
    """The embedded PostgreSQL has no TLS, and on this machine nothing leaves it."""
    return replace(t, postgres=replace(t.postgres, tls=False))


def _folders(state: State) -> None:
    state.folder.mkdir(parents=True, exist_ok=True)
    state.folder.chmod(0o711)  # the servers' user passes through, and lists nothing
    nodes = state.topology.nodes
    homes, sockets = [state.home(n) for n in nodes], [state.run / n.name for n in nodes]
    for path in (state.front, *homes, *sockets):
        path.mkdir(exist_ok=True, mode=0o700)
        _give(path, state.launch.user)


def _give(path: Path, user: User | None) -> None:
    if user is not None:
        os.chown(path, user.uid, user.gid)


def remove(state: State) -> None:
    """Delete everything the cluster ever wrote."""
    shutil.rmtree(state.folder, ignore_errors=True)
    shutil.rmtree(state.run, ignore_errors=True)
