"""A cluster's folder and log: is there room, may its user enter, what did the server say last."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from premortem.engines.errors import EngineError
from premortem.engines.processes import Spawned, User, reachable

__all__ = ["give", "last_words", "prepare", "taken_port"]

SPACE_BYTES = 1_000_000_000
"""Free space wanted before initdb: 40 MB programs, 40 MB cluster, 150 MB site, 3 x 256 MB WAL."""


def prepare(folder: Path, user: User | None) -> None:
    """Make the folders, see that there is space, and give them to who runs the server.

    Raises ``EngineError`` with one line for whatever stands in the way.
    """
    try:
        for path in (folder, folder / "socket"):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            give(path, user)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise EngineError(f"cannot use {folder}: {error.strerror}") from error
    if free < SPACE_BYTES:
        raise EngineError(
            f"{folder} has {free / 1e6:.0f} MB free, {SPACE_BYTES / 1e6:.0f} MB are needed:"
            " free some or choose another folder"
        )
    if (folder / "data").exists():
        raise EngineError(f"{folder} already holds a cluster: choose an empty folder")
    if not reachable(folder, user):
        raise EngineError(f"{folder} cannot be entered by {user.name if user else 'us'}")


def give(path: Path, user: User | None) -> None:
    """Make ``user`` the owner of ``path``."""
    if user is not None:
        os.chown(path, user.uid, user.gid)


def last_words(server: Spawned) -> str:
    """The line of the log that says why, without its prefix."""
    lines = server.log_tail(40).splitlines()
    telling = [x for x in lines if any(w in x for w in ("FATAL", "PANIC", "error:", "ERROR"))]
    return (telling or lines or ["no output"])[-1].strip()


def taken_port(server: Spawned) -> bool:
    """Whether the dead ``server`` found its port taken. Raises for any other reason."""
    if "Address already in use" in server.log_tail(40):
        return True
    raise EngineError(f"PostgreSQL ended at start: {last_words(server)}")
