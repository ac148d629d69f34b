"""Where the helpers' programs are: what the system has, else what a wheel brought."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Program", "on_path", "version_of", "wheel_file"]

SYSTEM_PLACES = ("/usr/sbin", "/usr/local/sbin", "/sbin", "/opt/homebrew/bin")
"""Where packages put servers, and what an ordinary user's PATH leaves out."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program that was found, where it comes from, and what its user should know of it."""

    path: Path
    origin: str
    version: tuple[int, ...] = ()
    warning: str = ""


def on_path(name: str) -> Path | None:
    """The system's own ``name``; programs of our virtual environment do not count."""
    ours = Path(sys.prefix).resolve()
    folders = [*os.environ.get("PATH", os.defpath).split(os.pathsep), *SYSTEM_PLACES]
    foreign = [f for f in folders if f and not Path(f).resolve().is_relative_to(ours)]
    found = shutil.which(name, path=os.pathsep.join(foreign))
    return Path(found) if found else None


def wheel_file(package: str, inside: str) -> Path | None:
    """A file that an installed package brought; the package itself is not imported."""
    spec = importlib.util.find_spec(package)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(place) / inside
        if path.is_file():
            return path
    return None


def version_of(path: Path, flag: str, read: Callable[[str], str]) -> tuple[int, ...]:
    """The version a program says of itself; empty when it does not say."""
    try:
        said = subprocess.run(
            [path, flag], capture_output=True, text=True, timeout=10, check=False
        ).stdout
        return tuple(int(part) for part in read(said).split(".") if part.isdigit())
    except (OSError, subprocess.TimeoutExpired, IndexError):
        return ()
