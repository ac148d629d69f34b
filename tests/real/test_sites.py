"""The rehearsal sites for real: seeded, served in both modes, acknowledged writes counted."""

from __future__ import annotations

import asyncio
import http.client
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psycopg
import pytest

from premortem.drills.sites import load_data, site
from premortem.engines.leash import Leash
from premortem.engines.postgres import Postgres
from premortem.engines.processes import Spawned, free_port, spawn

pytestmark = [pytest.mark.real, pytest.mark.slow]

ROWS = {
    "shop": {"product": 60_000, "review": 240_000, "orders": 30_000},
    "game": {"player": 60_000, "score": 240_000, "match": 2_400},
}


class Visitor:
    """The load engine's user, one request at a time."""

    def __init__(self, port: int, seed: int) -> None:
        self.random = random.Random(seed)
        self.port = port
        self.acknowledged: list[object] = []

    async def get(self, path: str, *, name: str) -> Any:
        return await asyncio.to_thread(fetch, self.port, "GET", path)

    async def post(self, path: str, *, form: dict[str, str], name: str) -> Any:
        return await asyncio.to_thread(fetch, self.port, "POST", path, urlencode(form))

    async def think(self, seconds: float) -> None:
        await asyncio.sleep(0)

    def acknowledge(self, kind: str, what: object) -> None:
        self.acknowledged.append(what)


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.text = response.read().decode()

    def json(self) -> Any:
        return json.loads(self.text)


def fetch(port: int, method: str, path: str, body: str | None = None) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body)
        return Answer(connection.getresponse())
    finally:
        connection.close()


def count(dsn: str, question: str, values: object = None) -> int:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(question.encode(), values).fetchone()  # type: ignore[arg-type]
    assert row is not None
    return int(row[0])


class House:
    """A seeded database, and workers of its site."""

    def __init__(self, name: str, folder: Path, server: Postgres, leash: Leash) -> None:
        self.name, self.folder, self.server, self.leash = name, folder, server, leash
        (folder / "dsn").write_text(server.site_dsn)
        (folder / "token").write_text("secret")

    async def worker(self, port: int, *options: str) -> Spawned:
        """One more worker on ``port``; returns when somebody answers there."""
        argv = [sys.executable, "-m", "premortem.drills.sites.serve", "--site", self.name]
        argv += ["--dsn-file", str(self.folder / "dsn"), "--port", str(port), *options]
        worker = await spawn(argv, log=self.folder / f"{time.time_ns()}.log", leash=self.leash)
        for _ in range(200):
            try:
                assert (await asyncio.to_thread(fetch, port, "GET", "/health")).status == 200
            except OSError:
                await asyncio.sleep(0.05)
            else:
                return worker
        raise AssertionError(worker.log_tail())


def open_folder() -> Path:
    """A folder that every user may enter (pytest's own are 0700)."""
    folder = Path(tempfile.mkdtemp(prefix="premortem-test-"))
    folder.chmod(0o755)
    return folder


@asynccontextmanager
async def house(name: str) -> AsyncIterator[House]:
    folder = open_folder()
    try:
        with Leash() as leash:
            async with Postgres.start(folder / "pg", leash=leash) as server:
                await load_data(site(name), server.site_dsn)
                yield House(name, folder, server, leash)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("name", sorted(ROWS))
async def test_visits_are_served_and_what_was_acknowledged_is_there(name: str) -> None:
    async with house(name) as home:
        dsn = home.server.site_dsn
        for table, rows in ROWS[name].items():
            assert count(dsn, f"SELECT count(*) FROM {table}") == rows
        for options in (
            ("--mode", "connection_per_request"),
            ("--mode", "pool", "--pool-size", "3"),
            (
                "--mode",
                "pool",
                "--guard-cap",
                "4",
                "--guard-token-file",
                str(home.folder / "token"),
            ),
        ):
            port = free_port()
            worker = await home.worker(port, *options)
            visitors = [Visitor(port, seed) for seed in range(30)]
            for visitor in visitors:
                await site(name).journey(visitor)
            ids = [what for v in visitors for what in v.acknowledged]
            assert len(ids) >= 2
            counted = count(dsn, site(name).acknowledged_count_sql, {"ids": ids})
            assert counted == len(ids)
            assert count(dsn, site(name).acknowledged_count_sql, {"ids": [-1]}) == 0
            assert worker.log_tail() == ""
            await worker.end()
            assert worker.process.returncode in (0, -signal.SIGTERM)


async def test_a_worker_is_added_while_the_first_runs_and_a_dead_database_is_a_500() -> None:
    async with house("shop") as home:
        port = free_port()
        first = await home.worker(port, "--mode", "connection_per_request")
        second = await home.worker(port, "--mode", "connection_per_request")
        await first.end()
        for _ in range(100):  # until the second one listens
            try:
                assert fetch(port, "GET", "/product/77").status == 200
                break
            except OSError:
                await asyncio.sleep(0.05)
        stock = "SELECT stock FROM product WHERE id = 77"
        before = count(home.server.site_dsn, stock)
        basket = fetch(port, "POST", "/basket", "product=77&quantity=2").json()["basket"]
        order = fetch(port, "POST", "/checkout", f"basket={basket}")
        assert order.status == 201
        assert count(home.server.site_dsn, stock) == before - 2
        assert fetch(port, "POST", "/checkout", f"basket={basket}").status == 409
        assert fetch(port, "GET", "/product/999999").status == 404
        await home.server.stop()
        assert fetch(port, "GET", "/product/77").status == 500
        assert fetch(port, "GET", "/health").status == 200
        assert second.log_tail().count("\n") == 0
        await home.server.restart()
        assert fetch(port, "GET", "/product/77").status == 200
        await second.end()


async def test_the_games_leaderboard_is_ranked_and_a_score_moves_it() -> None:
    async with house("game") as home:
        port = free_port()
        await home.worker(port)
        lobby = fetch(port, "POST", "/login", "player=32").json()
        match = lobby["matches"][0]["id"]
        joined = fetch(port, "POST", f"/match/{match}/join", "")
        assert joined.json()["joined"] == lobby["matches"][0]["joined"] + 1
        kept = fetch(port, "POST", "/score", f"player=32&match={match}&points=99999")
        assert kept.status == 201
        board = fetch(port, "GET", "/leaderboard/1").text  # player 32 is in league 32 % 8 + 1
        assert "<td>1</td><td>player32</td>" in board
        assert board.count("<tr>") == 100
        assert fetch(port, "GET", "/matches/1").text.count("<tr>") == 20
