"""PostgreSQL for real: it starts, restarts, stops, and says what is wrong in one line."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from premortem.engines import _leash_child, wheel
from premortem.engines.errors import EngineError
from premortem.engines.leash import Leash
from premortem.engines.postgres import Postgres

pytestmark = pytest.mark.real

OWNER = """
import asyncio, sys
from pathlib import Path
from premortem.engines.leash import Leash
from premortem.engines.postgres import Postgres
async def main():
    with Leash() as leash:
        leash.hold_folder(Path(sys.argv[1]))
        async with Postgres.start(Path(sys.argv[1]) / "pg", leash=leash) as server:
            print(server.pid, flush=True)
            await asyncio.sleep(60)
asyncio.run(main())
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user may enter (pytest's own are 0700)."""
    path = Path(tempfile.mkdtemp(prefix="premortem-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def leash() -> Iterator[Leash]:
    with Leash() as held:
        yield held


def one(dsn: str, question: str) -> object:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(question.encode()).fetchone()
    assert row is not None
    return row[0]


async def test_a_life(folder: Path, leash: Leash) -> None:
    async with Postgres.start(folder / "pg", leash=leash, settings={"work_mem": "5MB"}) as server:
        pid = server.pid
        assert pid is not None
        assert one(server.dsn, "SHOW server_version") == "18.6"
        assert one(server.site_dsn, "SHOW max_connections") == "100"
        assert one(server.site_dsn, "SHOW work_mem") == "5MB"
        assert one(server.site_dsn, "SHOW server_encoding") == "UTF8"
        assert one(server.monitor_dsn, "SELECT count(*) FROM pg_stat_activity") != 0
        assert one(server.dsn, "SELECT count(*) >= 0 FROM pg_stat_statements") is True
        with psycopg.connect(server.site_dsn, autocommit=True) as session:
            session.execute("CREATE TABLE kept AS SELECT 7 AS n")
            await server.restart("fast")
            with pytest.raises(psycopg.OperationalError):
                session.execute("SELECT 1")
        assert server.pid not in (None, pid)
        assert one(server.site_dsn, "SELECT n FROM kept") == 7
        assert "database system is ready" in server.log_tail()
    assert server.pid is None
    assert _leash_child.start_of(pid) is None


async def test_a_password_is_wanted(folder: Path, leash: Leash) -> None:
    async with Postgres.start(folder / "pg", leash=leash) as server:
        wrong = server.site_dsn.replace(server.password, "wrong")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(wrong)


async def test_a_taken_port_is_one_line(folder: Path, leash: Leash) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(EngineError, match=rf"^port {port} on 127.0.0.1 is taken"):
            async with Postgres.start(folder / "pg", leash=leash, port=port):
                pass


async def test_a_port_lost_to_another_is_tried_again(
    folder: Path, leash: Leash, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken, socket.socket() as free:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        free.bind(("127.0.0.1", 0))
        ports = iter([taken.getsockname()[1], free.getsockname()[1]])
        free.close()
        monkeypatch.setattr("premortem.engines.postgres.free_port", lambda host: next(ports))
        async with Postgres.start(folder / "pg", leash=leash) as server:
            assert one(server.dsn, "SELECT 1") == 1


async def test_a_bad_setting_is_one_line(folder: Path, leash: Leash) -> None:
    with pytest.raises(EngineError, match=r"^PostgreSQL ended at start: .*no_such_setting"):
        async with Postgres.start(folder / "pg", leash=leash, settings={"no_such_setting": "1"}):
            pass


async def test_two_at_once_do_not_disturb_each_other(folder: Path, leash: Leash) -> None:
    async with (
        Postgres.start(folder / "a", leash=leash) as first,
        Postgres.start(folder / "b", leash=leash) as second,
    ):
        assert first.port != second.port
        await first.stop()
        assert one(second.dsn, "SELECT 1") == 1


async def test_without_postgres_in_path(
    folder: Path, leash: Leash, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(folder))
    async with Postgres.start(folder / "pg", leash=leash) as server:
        assert one(server.dsn, "SELECT 1") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands servers to another user")
async def test_an_environment_under_a_closed_home_is_copied(
    folder: Path, leash: Leash, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = wheel._installed()
    closed = folder / "root-home"
    closed.mkdir(mode=0o700)
    shutil.copytree(installed, closed / wheel.PACKAGE / "pginstall", symlinks=True)
    libraries = installed.parent.parent / f"{wheel.PACKAGE}.libs"
    shutil.copytree(libraries, closed / libraries.name)
    monkeypatch.setattr(wheel, "_installed", lambda: closed / wheel.PACKAGE / "pginstall")
    async with Postgres.start(folder / "pg", leash=leash) as server:
        assert server.home.is_relative_to(folder / "pg")
        assert one(server.dsn, "SELECT 1") == 1


def test_nothing_survives_a_killed_owner(folder: Path) -> None:
    work = folder / "work"
    work.mkdir()
    with subprocess.Popen([sys.executable, "-c", OWNER, str(work)], stdout=-1) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        start = _leash_child.start_of(pid)
        assert start is not None
        family = _leash_child.family(pid, start, _leash_child.table())
        assert len(family) > 3  # the postmaster and its background processes
        owner.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and (
        work.exists() or family.keys() & _leash_child.table().keys()
    ):
        time.sleep(0.05)
    assert not family.keys() & _leash_child.table().keys()
    assert not work.exists()
