"""What runs: one unit a process, found again by the very words it was started with."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from premortem.cluster.state import State
from premortem.cluster.topology import Node
from premortem.engines import haproxy
from premortem.engines.errors import EngineError
from premortem.engines.processes import User

__all__ = [
    "FRONT",
    "Proc",
    "Unit",
    "adopt",
    "kill_all",
    "postmaster",
    "remains",
    "spawn",
    "units",
]

Kind = Literal["etcd", "patroni", "haproxy", "pgbouncer"]
FRONT = "front"
"""The pretended host of proxy and pooler."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One process to keep running."""

    name: str
    kind: Kind
    host: str
    argv: Sequence[str]
    env: Mapping[str, str]
    user: User | None
    log: Path

    @property
    def words(self) -> list[str]:
        """The command line once it runs: what it is recognised by after we were gone."""
        argv = list(self.argv)
        return argv[argv.index("--") + 1 :] if "--" in argv else argv


def units(state: State, host: str | None = None) -> list[Unit]:
    """Every unit, or those of one host."""
    found = [*_front(state), *(u for n in state.topology.nodes for u in _node(state, n))]
    return [u for u in found if host in (None, u.host)]


def _node(state: State, n: Node) -> Iterator[Unit]:
    env, user, home = state.launch.env, state.launch.user, state.home(n)
    if n.etcd:
        conf = str(home / "etcd.yml")
        argv = [str(state.etcd.path), "--config-file", conf]
        yield Unit(f"etcd-{n.name}", "etcd", n.name, argv, env, user, home / "etcd.log")
    if n.postgres:
        conf = str(home / "patroni.yml")
        argv = state.launch.command(Path(conf))
        marked = {**env, MARK: str(state.data(n))}
        log = home / "patroni.log"
        yield Unit(f"patroni-{n.name}", "patroni", n.name, argv, marked, user, log)


def _front(state: State) -> Iterator[Unit]:
    env, user = state.launch.env, state.launch.user
    if state.haproxy is not None:
        conf = state.front / "haproxy.cfg"
        argv = haproxy.command(state.haproxy, conf)
        log = state.front / "haproxy.log"
        yield Unit("haproxy", "haproxy", FRONT, argv, env, user, log)
    if state.pgbouncer is not None:
        conf = state.front / "pgbouncer.ini"
        argv = [*state.launch.prefix, str(state.pgbouncer.path), str(conf)]
        log = state.front / "pgbouncer.log"
        yield Unit("pgbouncer", "pgbouncer", FRONT, argv, env, user, log)


@dataclass(slots=True)
class Proc:
    """A running process, our child or an adopted one."""

    pid: int
    created: float
    child: subprocess.Popen[bytes] | None = None

    def alive(self) -> bool:
        if self.child is not None:
            return self.child.poll() is None
        try:
            seen = psutil.Process(self.pid)
            return seen.create_time() == self.created and seen.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def signal(self, number: signal.Signals, *, group: bool = False) -> None:
        if self.alive():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if group and os.getpgid(self.pid) == self.pid:
                    os.killpg(self.pid, number)
                else:
                    os.kill(self.pid, number)


def spawn(unit: Unit, argv: Sequence[str] | None = None) -> Proc:
    """Start the unit in a session of its own. Raises ``EngineError``."""
    try:
        with unit.log.open("ab") as output:
            child = subprocess.Popen(
                argv or unit.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(unit.env),
                cwd="/",
                start_new_session=True,
                user=unit.user.uid if unit.user else None,
                group=unit.user.gid if unit.user else None,
                extra_groups=[] if unit.user else None,
            )
    except OSError as error:
        raise EngineError(f"cannot start {unit.name}: {error}") from error
    try:
        created = psutil.Process(child.pid).create_time()
    except psutil.NoSuchProcess:
        created = 0.0
    return Proc(child.pid, created, child)


def adopt(wanted: Sequence[Unit]) -> dict[str, Proc]:
    """Units that already run, by name: what a killed supervisor left behind."""
    found: dict[str, Proc] = {}
    for p in sorted(psutil.process_iter(), key=lambda p: p.pid):
        with contextlib.suppress(psutil.Error):
            cmdline = p.cmdline()
            if not cmdline or p.status() == psutil.STATUS_ZOMBIE:
                continue
            for u in wanted:
                if cmdline[: len(u.words)] == u.words:
                    found.setdefault(u.name, Proc(p.pid, p.create_time()))
    return found


MARK = "PREMORTEM_DATA"
SERVERS = ("postgres", "pg_", "initdb", "python")
"""What Patroni starts in a data folder; somebody's editor there is none of our business."""


def remains(data: Path) -> list[psutil.Process]:
    """Every process of the server in this data folder, and every one that may yet start it.

    All of PostgreSQL's processes have the data folder as working directory, also those whose
    postmaster died before them, so none that could still write is missed. Patroni and the helper
    by which it starts a server carry our mark in their environment: a Patroni that is killed in
    that moment leaves a helper behind, and the helper a server.
    """
    found = [p for p in psutil.process_iter() if _belongs(p, str(data))]
    return [p for p in found if p.pid != os.getpid()]


def _belongs(p: psutil.Process, place: str) -> bool:
    try:
        if not p.name().startswith(SERVERS) or p.status() == psutil.STATUS_ZOMBIE:
            return False
        if p.cwd() == place or any(place in word for word in p.cmdline()):
            return True
        return p.name().startswith("python") and p.environ().get(MARK) == place
    except psutil.Error:
        return False


def postmaster(data: Path) -> int | None:
    """The postmaster that the data folder names, if it lives and works there."""
    try:
        pid = int((data / "postmaster.pid").read_text().split("\n", 1)[0])
        p = psutil.Process(pid)
        here = p.cwd() == str(data) and p.status() != psutil.STATUS_ZOMBIE
    except (OSError, ValueError, psutil.Error):
        return None
    return pid if here else None


def kill_all(processes: Sequence[psutil.Process], within_s: float = 2.0) -> list[psutil.Process]:
    """SIGKILL them; those that are still there after ``within_s``."""
    for p in processes:
        with contextlib.suppress(psutil.Error):
            p.kill()
    deadline = time.monotonic() + within_s
    left = list(processes)
    while left and time.monotonic() < deadline:
        left = [p for p in left if _lives(p)]
        if left:
            time.sleep(0.005)
    return left


def _lives(p: psutil.Process) -> bool:
    try:
        return p.is_running() and p.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
