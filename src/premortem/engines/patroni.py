"""Patroni: how to run it, and its REST interface."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import shutil
import sys
import sysconfig
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

from premortem.engines.errors import EngineError
from premortem.engines.processes import User, reachable, unprivileged_user

__all__ = ["Launch", "Patroni", "launch", "members"]


@dataclass(frozen=True, slots=True)
class Launch:
    """How Patroni (and with it PostgreSQL, which refuses root) is started here."""

    prefix: tuple[str, ...]
    """Put before the interpreter."""
    interpreter: str
    env: Mapping[str, str]
    user: User | None
    """Whom to become; ``None``: nobody else."""
    warning: str = ""

    def command(self, config: Path) -> list[str]:
        return [*self.prefix, self.interpreter, "-m", "patroni", str(config)]


def launch() -> Launch:
    """Find an interpreter that the unprivileged user can run. Raises ``EngineError``.

    As an ordinary user this is our own. As root it is ours if it is not under a closed folder,
    else the system's of the same version, else ours inside a user namespace (rehearsals only).
    """
    library = _site_packages()
    user = unprivileged_user()
    env = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C.UTF-8", "PYTHONUNBUFFERED": "1"}
    if added := os.environ.get("PYTHONPATH"):  # what we were found by, Patroni may be too
        env["PYTHONPATH"] = added
    own = Path(sys.executable)
    if all(reachable(p, user) for p in (own, Path(sysconfig.get_path("stdlib")), library)):
        return Launch((), str(own), env, user)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    other = shutil.which(f"python{version}", path=env["PATH"])
    if other and reachable(Path(other), user) and reachable(library, user):
        return Launch((), other, env | {"PYTHONPATH": str(library)}, user)
    unshare = shutil.which("unshare")
    if unshare is None:
        raise EngineError(
            f"PostgreSQL refuses root and {user.name if user else 'nobody'} cannot reach {own}: "
            "run as an ordinary user, or install outside a closed home folder"
        )
    prefix = (unshare, "--user", "--map-user=65534", "--map-group=65534", "--")
    warning = "PostgreSQL runs in a user namespace with root's files: for rehearsals only"
    return Launch(prefix, str(own), env, None, warning)


def _site_packages() -> Path:
    spec = importlib.util.find_spec("patroni")
    if spec is None or spec.origin is None:
        raise EngineError("Patroni is not installed: pip install 'premortem[cluster]'")
    return Path(spec.origin).parent.parent


@dataclass(frozen=True, slots=True)
class Patroni:
    """One node's REST interface."""

    url: str
    password: str = field(repr=False, default="")
    within_s: float = 1.0

    def answers(self, path: str) -> bool:
        """Whether ``path`` (``/primary``, ``/replica``, ``/liveness`` …) gives 200."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=self.within_s) as answer:
                return bool(answer.status == 200)
        except (OSError, HTTPException):
            return False

    def cluster(self) -> Mapping[str, object]:
        """What this node knows of all members: role, state, lag. Raises ``EngineError``."""
        return _object(self._ask("GET", "/cluster"))

    def switchover(self, leader: str, candidate: str, within_s: float) -> str:
        """Ask for a switchover and wait for Patroni's own word on it."""
        body = {"leader": leader, "candidate": candidate}
        return self._ask("POST", "/switchover", body, within_s)

    def restart(self, within_s: float = 60.0) -> str:
        """Restart the node's PostgreSQL, not its Patroni."""
        return self._ask("POST", "/restart", {}, within_s)

    def reinitialize(self) -> str:
        """Throw a replica's data away and copy it afresh."""
        return self._ask("POST", "/reinitialize", {"force": True}, 10.0)

    def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        within_s: float | None = None,
    ) -> str:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, method=method)
        request.add_header("Content-Type", "application/json")
        token = base64.b64encode(f"premortem:{self.password}".encode()).decode()
        request.add_header("Authorization", f"Basic {token}")
        try:
            with urllib.request.urlopen(request, timeout=within_s or self.within_s) as answer:
                return str(answer.read(1_000_000).decode())
        except urllib.error.HTTPError as error:
            words = error.read(1000).decode(errors="replace").strip()
            raise EngineError(f"Patroni refuses {path}: {words or error.code}") from error
        except (OSError, HTTPException) as error:
            raise EngineError(f"Patroni at {self.url} does not answer: {error}") from error


def _object(text: str) -> Mapping[str, object]:
    try:
        said = json.loads(text)
    except ValueError as error:
        raise EngineError(f"Patroni said something else than JSON: {text[:80]!r}") from error
    if not isinstance(said, dict):
        raise EngineError("Patroni said something else than an object")
    return said


def members(cluster: Mapping[str, object]) -> Sequence[Mapping[str, object]]:
    """The rows of ``Patroni.cluster``."""
    rows = cluster.get("members", [])
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
