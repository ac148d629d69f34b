"""The doctor on real servers: what lacks is told, and what it prints mends it."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from premortem.app.cli import app
from premortem.app.doctor import Checkup, Patient, examine
from premortem.engines.leash import Leash
from premortem.engines.postgres import Postgres as Server
from premortem.guard import Guard, Settings

pytestmark = pytest.mark.real

PRESSURE = Path("/proc/pressure/cpu").exists()


@pytest.fixture
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    folder = tmp_path_factory.mktemp("doctor")
    for path in (folder, folder.parent, folder.parent.parent):
        path.chmod(0o755)  # the server's own user must be able to enter
    with Leash() as leash:
        async with Server.start(Path(folder) / "server", leash=leash) as server:
            yield server


async def checkup_of(dsn: str) -> Checkup:
    return await asyncio.to_thread(examine, Patient(dsn=dsn))


def lacks(checkup: Checkup) -> set[str]:
    """Of the database only: this machine may have no PSI."""
    return {f.name for f in checkup.lacks} - {"pressure (PSI)"}


async def run(server: Server, text: str, restart: bool = False) -> None:
    """What the doctor printed, line by line, as an administrator would paste it."""
    async with await psycopg.AsyncConnection.connect(server.dsn, autocommit=True) as admin:
        for line in text.splitlines():
            if not line.startswith("--"):
                await admin.execute(line.encode())
    if restart:
        await server.restart()


async def test_what_it_prints_mends_what_it_found(server: Server) -> None:
    before = await checkup_of(server.site_dsn)
    assert lacks(before) == {"role", "track_io_timing", "reserved connection"}
    assert before.unreachable == ()
    await run(server, before.sql)
    assert lacks(await checkup_of(server.site_dsn)) == set()


async def test_a_server_without_pg_stat_statements_and_reserved_slots(server: Server) -> None:
    server.settings = {
        k: v
        for k, v in server.settings.items()
        if k not in ("shared_preload_libraries", "reserved_connections")
    }
    await run(server, "ALTER SYSTEM SET shared_preload_libraries = auto_explain", restart=True)
    await run(server, "DROP EXTENSION pg_stat_statements")
    before = await checkup_of(server.monitor_dsn)
    assert lacks(before) == {"pg_stat_statements", "track_io_timing", "reserved connection"}
    assert "shared_preload_libraries = auto_explain, pg_stat_statements;" in before.sql
    await run(server, before.sql, restart=True)
    assert lacks(await checkup_of(server.monitor_dsn)) == set()


async def test_a_superuser_is_told_to_step_back(server: Server) -> None:
    assert "role" in lacks(await checkup_of(server.dsn))


async def test_a_wrong_password_and_full_slots_are_told(server: Server) -> None:
    wrong = await checkup_of(server.monitor_dsn.replace(server.password, "wrong"))
    assert "password authentication failed" in wrong.unreachable[0]
    assert "wrong" not in str(wrong)


async def test_the_command_says_it_to_people_and_machines(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    def command(*more: str) -> tuple[int, str]:
        code = app(["doctor", "--dsn", server.site_dsn, *more], exit_on_error=False)
        return code, capsys.readouterr().out

    code, text = await asyncio.to_thread(command)
    assert code == 1
    assert 'GRANT pg_monitor TO "site";' in text.splitlines()
    assert server.password not in text
    code, text = await asyncio.to_thread(command, "--json")
    assert code == 1
    assert "role" in json.loads(text)["lacks"]
    await run(server, json.loads(text)["sql"])
    if PRESSURE:
        assert (await asyncio.to_thread(command))[0] == 0


async def hello(_: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


@asynccontextmanager
async def serving(app: object) -> AsyncIterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none"))  # type: ignore[arg-type]
    running = asyncio.create_task(server.serve([listener]))
    try:
        while not server.started:  # noqa: ASYNC110 - uvicorn offers a flag, no event
            await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/any"
    finally:
        server.should_exit = True
        await running
        listener.close()


@pytest.mark.parametrize(
    ("guarded", "given", "lack"),
    [(False, "", "no guard"), (True, "", None), (True, "right", None), (True, "other", "refuses")],
)
async def test_the_guard_is_missing_there_or_another_ones(
    guarded: bool, given: str, lack: str | None
) -> None:
    site: object = Starlette(routes=[Route("/{rest:path}", hello)])
    if guarded:
        site = Guard(site, Settings(cap=4, token="right"))
    async with serving(site) as url:
        found = await asyncio.to_thread(examine, Patient(url=url, guard_token=given))
    told = [f.text for f in found.lacks if f.name == "guard"]
    assert len(told) == (lack is not None)
    assert lack is None or lack in told[0]
    assert {"page", "site clock"} <= {f.name for f in found.findings if f.there}
