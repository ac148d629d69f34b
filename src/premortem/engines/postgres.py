"""A real PostgreSQL of our own: initialised, started, restarted, gone with its owner."""

from __future__ import annotations

import asyncio
import secrets
import signal
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from premortem.engines._cluster_folder import give, last_words, prepare, taken_port
from premortem.engines.errors import EngineError
from premortem.engines.leash import Leash
from premortem.engines.processes import (
    Spawned,
    User,
    free_port,
    spawn,
    unprivileged_user,
)
from premortem.engines.wheel import postgres_home

__all__ = ["DEFAULTS", "Postgres"]

HOST = "127.0.0.1"
DATABASE = "site"
PORT_TRIES = 5
READY_S = 30.0
"""A start takes some 0.2 s; a crash recovery of ``max_wal_size`` some seconds."""
DEFAULTS: Mapping[str, str] = {
    "max_connections": "100",  # the server's own default, and the seeds'
    "reserved_connections": "2",  # so that the monitor still gets in when the site holds the rest
    "shared_buffers": "128MB",  # the rehearsal sites (some 100 MB) stay in memory
    "shared_preload_libraries": "pg_stat_statements",
    "random_page_cost": "1.1",  # the data is in memory; 4 is for spinning disks
    "max_parallel_workers_per_gather": "0",  # a rehearsal gives the database one core
    "max_wal_size": "256MB",
    "listen_addresses": HOST,
    "log_min_messages": "warning",
    "log_line_prefix": "%m [%p] %a ",
}

Mode = Literal["smart", "fast", "immediate"]
_SIGNALS: Mapping[Mode, signal.Signals] = {
    "smart": signal.SIGTERM,
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
}


@dataclass(slots=True)
class Postgres:
    """A running server. Make one with ``async with Postgres.start(...)``.

    Three roles: ``premortem`` (superuser: the operator), ``site`` (ordinary, owns the database),
    ``monitor`` (``pg_monitor``, may use the reserved slots).
    """

    folder: Path
    home: Path
    port: int
    user: User | None
    cpus: Collection[int] | None
    settings: Mapping[str, str]
    leash: Leash
    password: str = field(repr=False)
    _server: Spawned | None = None

    @classmethod
    @asynccontextmanager
    async def start(
        cls,
        folder: Path,
        *,
        leash: Leash,
        port: int | None = None,
        cpus: Collection[int] | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Postgres]:
        """Initialise a cluster in ``folder`` (made if missing), start it, stop it at the end.

        Without ``port`` a free one is taken, and another if somebody was faster. Raises
        ``EngineError`` with one line: wheel missing, no space, no permission, port taken.
        """
        user = unprivileged_user()
        prepare(folder, user)
        home = await asyncio.to_thread(postgres_home, folder / "programs", user)
        server = cls(
            folder,
            home,
            port or 0,
            user,
            cpus,
            {**DEFAULTS, **(settings or {})},
            leash,
            secrets.token_hex(16),
        )
        await server._initialise()
        try:
            await server._open(port)
            await server._make_roles()
            yield server
        finally:
            await server.stop()

    # -- what others need to know

    @property
    def pid(self) -> int | None:
        """The postmaster's, ``None`` while stopped."""
        return self._server.pid if self._server and self._server.alive else None

    @property
    def pinned(self) -> bool:
        """Whether the server really keeps to ``cpus`` (``False`` where the system cannot)."""
        return self._server is not None and self._server.pinned

    @property
    def dsn(self) -> str:
        """The operator's (superuser), with its password: never log it."""
        return self.dsn_of("premortem")

    @property
    def site_dsn(self) -> str:
        """What a site connects with: an ordinary role, so the reserved slots stay free."""
        return self.dsn_of("site")

    @property
    def monitor_dsn(self) -> str:
        return self.dsn_of("monitor")

    def dsn_of(self, role: str, database: str = DATABASE) -> str:
        return make_conninfo(
            host=HOST, port=self.port, user=role, password=self.password, dbname=database
        )

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of the server's log."""
        return self._server.log_tail(lines) if self._server else ""

    # -- what an operator does

    async def stop(self, mode: Mode = "fast", grace_s: float = 10.0) -> None:
        """Stop the server; whoever does not go within ``grace_s`` is killed. Idempotent."""
        server, self._server = self._server, None
        if server is not None:
            await server.end(_SIGNALS[mode], grace_s)

    async def restart(self, mode: Mode = "fast", *, down_s: float = 0.0) -> None:
        """Restart as an operator does: every session is ended, what is committed stays.

        ``down_s`` keeps the server down a while (a person types, a host reboots).
        """
        await self.stop(mode)
        await asyncio.sleep(down_s)
        await self._open(self.port)

    # -- how

    async def _initialise(self) -> None:
        data, secret = self.folder / "data", self.folder / "password"
        secret.touch(0o600)
        secret.write_text(self.password)
        give(secret, self.user)
        argv = [
            str(self.home / "bin" / "initdb"),
            f"--pgdata={data}",
            "--username=premortem",
            f"--pwfile={secret}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",  # a rehearsal's data need not survive a power cut
        ]
        program = await self._spawn(argv)
        try:
            code = await asyncio.wait_for(program.process.wait(), 60.0)
        except TimeoutError as error:
            await program.end()
            raise EngineError("initdb did not finish within 60 s: is the disk slow?") from error
        finally:
            secret.unlink()
        self.leash.release(program.pid)
        if code != 0:
            raise EngineError(f"initdb failed: {last_words(program)}")
        await self._allow()

    async def _allow(self) -> None:
        """Let everybody in who knows the password, from this machine only."""
        lines = "local all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n"
        hba = self.folder / "data" / "pg_hba.conf"
        hba.write_text(lines + "local replication all scram-sha-256\n")

    async def _open(self, port: int | None) -> None:
        """Start the server on ``port``, or on a free one, and wait until it answers."""
        for _ in range(PORT_TRIES):
            self.port = port or free_port(HOST)
            if await self._try_open():
                return
            if port is not None:
                break
        raise EngineError(f"port {self.port} on {HOST} is taken: choose another or leave it free")

    async def _try_open(self) -> bool:
        """Start once. ``False`` when the port is taken."""
        settings = {
            **self.settings,
            "port": str(self.port),
            "unix_socket_directories": "",  # their paths end at 107 bytes, temporary ones do not
        }
        argv = [str(self.home / "bin" / "postgres"), "-D", str(self.folder / "data")]
        argv += [part for k, v in settings.items() for part in ("-c", f"{k}={v}")]
        self._server = await self._spawn(argv)
        try:
            return await self._ready(self._server)
        except BaseException:  # cancelled too: no server stays behind; raised again
            await self.stop("immediate")
            raise

    async def _ready(self, server: Spawned) -> bool:
        deadline = time.monotonic() + READY_S
        dsn = self.dsn_of("premortem", "postgres")
        while time.monotonic() < deadline:
            await asyncio.sleep(0.05)  # first: a server whose port is taken ends within this
            if not server.alive:
                return not taken_port(server)
            try:
                async with await psycopg.AsyncConnection.connect(dsn, connect_timeout=5):
                    return True
            except psycopg.OperationalError:
                continue
        raise EngineError(f"PostgreSQL did not answer within {READY_S:.0f} s: {last_words(server)}")

    async def _spawn(self, argv: list[str]) -> Spawned:
        return await spawn(
            argv,
            log=self.folder / "postgres.log",
            leash=self.leash,
            user=self.user,
            cpus=self.cpus,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
            cwd=self.folder,
            fast_signal=signal.SIGQUIT,
        )

    async def _make_roles(self) -> None:
        secret = sql.Literal(self.password)
        dsn = self.dsn_of("premortem", "postgres")
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            # Stretching protects weak passwords; ours has 128 random bits. At the default of 4096
            # a client that connects for every request spends 3.1 of 3.9 ms of CPU on it.
            await connection.execute("SET scram_iterations = 64")
            for role in ("site", "monitor"):
                order = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
                await connection.execute(order.format(sql.Identifier(role), secret))
            await connection.execute("GRANT pg_checkpoint TO site")  # whoever loads data ends so
            await connection.execute("GRANT pg_monitor, pg_use_reserved_connections TO monitor")
            await connection.execute(f"CREATE DATABASE {DATABASE} OWNER site")
        async with await psycopg.AsyncConnection.connect(self.dsn, autocommit=True) as connection:
            await connection.execute("CREATE EXTENSION pg_stat_statements")
