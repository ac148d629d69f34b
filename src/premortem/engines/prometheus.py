"""Prometheus and VictoriaMetrics as one server each: found, started, told when they are ready.

Both take remote write and answer PromQL. They come from the system's packages (there is no wheel):
``apt install prometheus``, ``apt install victoria-metrics``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from premortem.engines._cluster_folder import give, last_words, prepare
from premortem.engines.errors import EngineError
from premortem.engines.leash import Leash
from premortem.engines.processes import Spawned, User, free_port, spawn, unprivileged_user
from premortem.engines.programs import Program, on_path

__all__ = ["INSTALL", "Kind", "Server", "find"]

Kind = Literal["prometheus", "victoria-metrics"]
INSTALL = {
    "prometheus": "apt install prometheus (Debian, Ubuntu)",
    "victoria-metrics": "apt install victoria-metrics (Debian, Ubuntu)",
}
READY_S = 30.0
"""Both answer within a second; a loaded machine takes longer."""
PORT_TRIES = 5


def find(kind: Kind) -> Program | None:
    """The system's program; ``None`` when there is none."""
    path = on_path(kind)
    return None if path is None else Program(path, "system")


@dataclass(frozen=True, slots=True)
class Server:
    """A running one; it ends with the ``async with`` that started it, or with its owner."""

    kind: Kind
    port: int

    @property
    def url(self) -> str:
        """Base address of the PromQL interface."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def write_url(self) -> str:
        """Where remote write goes."""
        return f"{self.url}/api/v1/write"

    @classmethod
    @asynccontextmanager
    async def start(cls, kind: Kind, folder: Path, *, leash: Leash) -> AsyncIterator[Server]:
        """Start it with its data in ``folder``. Raises ``EngineError`` with one line."""
        program = find(kind)
        if program is None:
            raise EngineError(f"{kind} is not installed: {INSTALL[kind]}")
        user = unprivileged_user()
        prepare(folder, user)
        for _ in range(PORT_TRIES):
            server = cls(kind, free_port())
            process = await spawn(
                server._command(program, folder, user),
                log=folder / "server.log",
                leash=leash,
                user=user,
                cwd=folder,
            )
            try:
                if await server._ready(process):
                    yield server
                    return
            finally:
                await process.end()
        raise EngineError(f"{kind}: no free port on 127.0.0.1 after {PORT_TRIES} tries")

    def _command(self, program: Program, folder: Path, user: User | None) -> Sequence[str]:
        address = f"127.0.0.1:{self.port}"
        if self.kind == "victoria-metrics":
            return [
                str(program.path),
                f"-storageDataPath={folder / 'data'}",
                f"-httpListenAddr={address}",
                "-retentionPeriod=1y",
                "-search.latencyOffset=0s",  # else what is younger than 30 s is not shown
                "-memory.allowedBytes=128MB",
            ]
        config = folder / "prometheus.yml"
        config.write_text("global: {scrape_interval: 15s}\n")
        give(config, user)
        return [
            str(program.path),
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={address}",
            "--web.enable-remote-write-receiver",
            "--log.level=warn",
        ]

    async def _ready(self, process: Spawned) -> bool:
        """Wait for its answer. ``False`` when the port is taken."""
        path = "/health" if self.kind == "victoria-metrics" else "/-/ready"
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            await asyncio.sleep(0.05)
            if not process.alive:
                if "address already in use" in process.log_tail(40):
                    return False
                raise EngineError(f"{self.kind} ended at once: {last_words(process)}")
            if await _answers(self.port, path):
                return True
        raise EngineError(f"{self.kind} did not answer within {READY_S:.0f} s")


async def _answers(port: int, path: str) -> bool:
    try:
        async with asyncio.timeout(1.0):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            line = await reader.readline()
            writer.transport.abort()
    except (OSError, TimeoutError):
        return False
    return b" 200 " in line
