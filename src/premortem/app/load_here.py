"""Who listens on a port of this machine: so that a local site needs no configuration to be seen."""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil

__all__ = ["listeners"]

LOOK_AGAIN_S = 15.0
"""Looking through all sockets takes some ms; servers restart seldom."""


def listeners(port: int) -> Callable[[], tuple[int, ...]]:
    """A function that names the first processes of who listens on ``port`` now.

    Workers that inherited the socket are left out, as whoever measures adds children. Nobody is
    named where the system does not tell us (the processes of others, unless we are root).
    """
    known: tuple[int, ...] = ()
    looked_at = float("-inf")

    def find() -> tuple[int, ...]:
        nonlocal known, looked_at
        now = time.monotonic()
        if now - looked_at > LOOK_AGAIN_S or not all(map(psutil.pid_exists, known)):
            looked_at, known = now, _listening(port)
        return known

    return find


def _listening(port: int) -> tuple[int, ...]:
    try:
        found = {
            c.pid
            for c in psutil.net_connections("tcp")
            if c.status == psutil.CONN_LISTEN and c.pid is not None and c.laddr
            if c.laddr.port == port
        }
    except psutil.AccessDenied:
        return ()
    return tuple(sorted(pid for pid in found if _parent(pid) not in found))


def _parent(pid: int) -> int | None:
    try:
        return psutil.Process(pid).ppid()
    except psutil.NoSuchProcess:
        return None
