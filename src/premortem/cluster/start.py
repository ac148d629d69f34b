"""How a supervisor is started so that it outlives who started it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

__all__ = ["command", "launch"]


def command(folder: Path, host: str | None) -> list[str]:
    """How a supervisor is started."""
    words = [sys.executable, "-m", "premortem.cluster.supervisor", str(folder)]
    return words if host is None else [*words, "--host", host]


_LAUNCHED: list[subprocess.Popen[bytes]] = []
"""Supervisors started here. They outlive us on purpose: nobody waits for them, and Python would
warn of a child that was forgotten."""


def launch(folder: Path, host: str | None, prefix: tuple[str, ...] = ()) -> int:
    """Start a supervisor that outlives us; its pid."""
    with (folder / "supervisor.log").open("ab") as log:
        child = subprocess.Popen(
            [*prefix, *command(folder, host)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )
    _LAUNCHED.append(child)
    return child.pid
