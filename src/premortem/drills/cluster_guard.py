"""Removes a rehearsal's cluster when its owner ends, also by ``kill -9``.

``python -m premortem.drills.cluster_guard FOLDER`` reads its standard input to the end, which comes
when the owner closes it or dies. A cluster is meant to outlive whoever started it (its supervisor
has a twin that starts it again), so a leash on its processes would not do: it is destroyed in the
order that `premortem cluster destroy` keeps. Then ``FOLDER`` and the owner's namespaces go.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from premortem.cluster.client import Cluster
from premortem.drills import cluster_hosts
from premortem.engines.errors import EngineError

__all__ = ["CLUSTER", "clean_up", "guarded", "main"]

CLUSTER = "cluster"
"""The cluster's own folder, inside the guarded one."""
CLOSE_S = 60.0
"""Destroying takes a second; a loaded machine may take many times that."""


@contextmanager
def guarded(folder: Path) -> Iterator[None]:
    """Hold ``folder``, the cluster in it and our namespaces: whatever happens, they go."""
    child = subprocess.Popen(
        [sys.executable, "-m", __name__, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
    )
    try:
        yield
    except BaseException:  # cancelled too: it is cleaned up all the same; raised again
        _closed(child)  # what went wrong says more than that it takes long to clean up
        raise
    if not _closed(child):
        raise EngineError(f"the rehearsal's cluster is still being removed: {folder}")


def _closed(child: subprocess.Popen[bytes]) -> bool:
    """Let the guard clean up; whether it ended in time. It goes on: a killed one leaves things."""
    assert child.stdin is not None
    child.stdin.close()
    try:
        child.wait(CLOSE_S)
    except subprocess.TimeoutExpired:
        return False
    return True


def clean_up(folder: Path, owner: int) -> None:
    """Remove what is left of the cluster, its folder and the owner's namespaces."""
    home = folder / CLUSTER
    if (home / "cluster.json").exists():
        try:
            Cluster(home).destroy()
        except EngineError:
            Cluster(home).destroy()  # a supervisor's twin may just have started it again
    shutil.rmtree(folder, ignore_errors=True)
    cluster_hosts.remove(owner)


def main() -> int:
    """Wait for the owner's end, then clean up."""
    owner, folder = cluster_hosts.parent(), Path(sys.argv[1])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # only the owner's end ends this process
    sys.stdin.buffer.read()
    clean_up(folder, owner)
    return 0


if __name__ == "__main__":
    sys.exit(main())
