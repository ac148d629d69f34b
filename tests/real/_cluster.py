"""What the tests of the cluster ask of a running one."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg

from premortem.cluster.client import Cluster
from premortem.cluster.state import State, load
from premortem.engines.errors import EngineError

WITHIN_S = 60.0


_GUARDIAN = """
import shutil, sys
from pathlib import Path
from premortem.cluster.client import Cluster
base = Path(sys.stdin.readline().strip())
sys.stdin.read()
if (base / "cluster" / "cluster.json").exists():
    Cluster(base / "cluster").destroy()
shutil.rmtree(base, ignore_errors=True)
"""


@contextmanager
def cluster_folder() -> Iterator[Path]:
    """A folder that the servers' user may pass, for one cluster in ``cluster``.

    A cluster is made to outlive whoever started it. So a child waits for the end of a pipe that
    only this process holds: killed tests leave no cluster either.
    """
    base = Path(tempfile.mkdtemp(prefix="premortem-test-", dir="/tmp"))
    base.chmod(0o711)
    guardian = subprocess.Popen(
        [sys.executable, "-c", _GUARDIAN], stdin=subprocess.PIPE, start_new_session=True, text=True
    )
    assert guardian.stdin is not None
    guardian.stdin.write(f"{base}\n")
    guardian.stdin.flush()
    try:
        yield base
    finally:
        if (base / "cluster" / "cluster.json").exists():
            Cluster(base / "cluster").destroy()
        shutil.rmtree(base)
        guardian.communicate()
    assert not processes_of(base)


def until(what: Callable[[], Any], within_s: float = WITHIN_S) -> Any:
    """What it says once it says something; a server that does not answer yet says nothing."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            found = what()
        except (EngineError, psycopg.Error, OSError):
            found = None
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {within_s:g} s")


def processes_of(folder: Path) -> list[str]:
    """The command lines that name the folder or work in it."""
    found = []
    for p in psutil.process_iter():
        try:
            words = " ".join(p.cmdline())
            if str(folder) in words or p.cwd().startswith(str(folder)):
                found.append(words)
        except psutil.Error:
            continue
    return found


def supervisors(folder: Path, *, twins: bool = False) -> list[psutil.Process]:
    """Those that look after this folder, and, if asked, the twins that would start them again."""
    found = []
    for p in psutil.process_iter():
        try:
            words = p.cmdline()
        except psutil.Error:
            continue
        ours = "premortem.cluster.supervisor" in words and str(folder) in words
        if ours and (twins or not any(w.endswith("twin.py") for w in words)):
            found.append(p)
    return found


@dataclass(frozen=True)
class Rehearsal:
    """A running cluster and what its tests ask of it."""

    cluster: Cluster
    took_s: float
    """From nothing to ready."""
    load: float
    """The machine's load of the last minute before that, in processes."""

    @property
    def folder(self) -> Path:
        return self.cluster.folder

    @property
    def state(self) -> State:
        return load(self.folder)

    def until(self, what: Callable[[], Any], within_s: float = WITHIN_S) -> Any:
        return until(what, within_s)

    def members(self) -> Mapping[str, Mapping[str, Any]]:
        return {m["name"]: m for m in self.cluster.status()["members"]}  # type: ignore[attr-defined]

    def primary(self) -> str:
        return str(until(lambda: self.cluster.status()["primary"]))

    def replica(self) -> str:
        return next(n.name for n in self.state.topology.servers if n.name != self.primary())

    def processes(self) -> list[str]:
        return processes_of(self.folder)

    def execute(self, *orders: str) -> list[Any]:
        """Run them as the site would; the rows of the last one, if it has any."""
        with psycopg.connect(
            self.state.dsn(), prepare_threshold=None, autocommit=True
        ) as connection:
            for order in orders:
                cursor = connection.execute(order.encode())
            return cursor.fetchall() if cursor.description else []

    def settled(self) -> None:
        """One leader, everybody else streams, one at least confirms commits."""

        def fine() -> bool:
            rows = list(self.members().values())
            roles = [m["role"] for m in rows]
            streams = [m["state"] for m in rows].count("streaming") == len(rows) - 1
            return roles.count("leader") == 1 and streams and "quorum_standby" in roles

        until(fine)
