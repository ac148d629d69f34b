"""What of a site is on this machine: its addresses, its web processes, its database."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

import psutil

__all__ = ["has_address", "pids_of", "postmaster_of"]

LOOK_AGAIN_S = 15.0
"""Listing all processes costs some ms on a busy machine; web servers restart seldom."""


def has_address(host: str) -> bool:
    """Whether ``host`` is this machine, as far as can be said without asking a name server.

    >>> has_address("127.0.0.1"), has_address("db.example")
    (True, False)
    """
    if host in ("localhost", "::1", socket.gethostname()) or host.startswith("127."):
        return True
    return any(a.address == host for addresses in psutil.net_if_addrs().values() for a in addresses)


def pids_of(name: str) -> Callable[[], tuple[int, ...]]:
    """A function that names the processes called ``name`` now, those that run its script too.

    ``uvicorn`` finds both ``/usr/bin/uvicorn …`` and ``python3 /srv/venv/bin/uvicorn …``. Children
    are not listed: whoever measures adds them.
    """
    known: tuple[int, ...] = ()
    looked_at = float("-inf")

    def find() -> tuple[int, ...]:
        nonlocal known, looked_at
        now = time.monotonic()
        if now - looked_at > LOOK_AGAIN_S or not all(map(psutil.pid_exists, known)):
            looked_at = now
            known = _called(name)
        return known

    return find


def _called(name: str) -> tuple[int, ...]:
    found = {
        p.pid: p.info["ppid"]
        for p in psutil.process_iter(["name", "cmdline", "ppid"])
        if p.info["name"] == name
        or any(Path(part).name == name for part in (p.info["cmdline"] or ())[:3])
    }
    return tuple(sorted(pid for pid, parent in found.items() if parent not in found))


def postmaster_of(folder: Path) -> int | None:
    """The server's first process, from the file it keeps; ``None`` when it is not running."""
    try:
        return int((folder / "postmaster.pid").read_text().split(maxsplit=1)[0])
    except (OSError, ValueError, IndexError):
        return None
