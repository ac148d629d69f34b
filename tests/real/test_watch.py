"""``premortem watch`` itself, a process like any user's, beside a real PostgreSQL and a site."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest

from premortem.engines.leash import Leash
from premortem.engines.postgres import Postgres as Server
from premortem.recording import parse
from premortem.store import Store

pytestmark = pytest.mark.real

PREMORTEM = Path(sys.executable).with_name("premortem")
M = "db.connections.used"


class Site(ThreadingHTTPServer):
    """A site that answers 200, and whom a page is sent to."""

    daemon_threads = True

    def __init__(self) -> None:
        self.got: list[dict[str, str]] = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def titles(self) -> list[str]:
        return [m["title"] for m in self.got]


class Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def do_POST(self) -> None:
        self.server.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    folder = tmp_path_factory.mktemp("watched")
    for path in (folder, folder.parent, folder.parent.parent):
        path.chmod(0o755)  # the server's own user must be able to enter
    with Leash() as leash:
        async with Server.start(Path(folder) / "server", leash=leash) as server:
            yield server


class Watching:
    """A started ``premortem watch --json``: what it has said so far, and its page."""

    def __init__(self, folder: Path, *more: str) -> None:
        argv = [str(PREMORTEM), "watch", "--json", *more]
        self.process = subprocess.Popen(
            argv, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.lines: list[str] = []
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as out:
            self.lines.extend(out)

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in list(self.lines)]

    def said(self, words: str) -> int:
        return sum(words in e["text"] for e in self.events())

    async def until(self, what: Callable[[], object], within_s: float) -> None:
        deadline = time.monotonic() + within_s
        while not what():
            assert self.process.poll() is None and time.monotonic() < deadline, "".join(
                self.lines[-15:]
            )
            await asyncio.sleep(0.1)

    async def hears(self, words: str, within_s: float = 40.0) -> None:
        await self.until(lambda: self.said(words), within_s)

    def page(self, path: str = "/metrics") -> tuple[int, str]:
        port = next(e["data"]["port"] for e in self.events() if "port" in e["data"])
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def figure(self, name: str) -> float:
        found = [line for line in self.page()[1].splitlines() if line.startswith(name)]
        return float(found[0].rpartition(" ")[2]) if found else float("nan")

    def end(self, number: int = signal.SIGTERM, within_s: float = 15.0) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


@contextlib.contextmanager
def watching(folder: Path, *more: str) -> Iterator[Watching]:
    watch = Watching(folder, *more)
    try:
        yield watch
    finally:
        if watch.process.poll() is None:
            watch.process.kill()
            watch.process.wait()
        watch.reader.join()


def configure(folder: Path, dsn: str, site: Site, more: str = "") -> Path:
    (folder / "urls").write_text(f"json://{site.address}/\n")
    (folder / "shop.dsn").write_text(dsn + "\n")
    path = folder / "premortem.toml"
    path.write_text(
        f'[site.shop]\nurl = "http://{site.address}/"\ndsn_file = "shop.dsn"\n'
        '[watch]\nlisten = "127.0.0.1:0"\n'
        f'[notify]\nurls_file = "urls"\nresolve_after_s = 3\n{more}'
    )
    return path


def frozen(server: Server) -> contextlib.AbstractContextManager[None]:
    @contextlib.contextmanager
    def stop() -> Iterator[None]:
        assert server.pid is not None
        os.kill(server.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(server.pid, signal.SIGCONT)

    return stop()


def down(state: str) -> str:
    return f'premortem_verdict{{cause="database_down",site="shop",state="{state}"}}'


async def test_a_frozen_database_is_named_told_once_and_its_end_is_told(
    server: Server, site: Site, tmp_path: Path
) -> None:
    """Also over a kill -9 of the watch amid it: nothing kept is lost, nothing told twice."""
    configure(tmp_path, server.monitor_dsn, site)
    with watching(tmp_path, "--record", "r.jsonl") as watch:
        await watch.hears("watching shop")
        await watch.until(lambda: watch.figure(down("ruled_out")) == 1, 40)
        with frozen(server):
            begun = time.time()
            await watch.hears("cause named: database_down")
            named = next(e["at"] for e in watch.events() if "cause named" in e["text"])
            assert named - begun < 15
            await watch.until(lambda: site.got, 40)
            assert watch.page("/healthz") == (200, "ok: 1 watched\n")  # it sees all the same
            watch.end(signal.SIGKILL)
            with watching(tmp_path, "--record", "r.jsonl") as again:
                await again.hears("cause named: database_down")
                await asyncio.sleep(6)
                assert site.titles() == ["shop: database_down (database)"]
                os.kill(server.pid or 0, signal.SIGCONT)
                await again.until(lambda: len(site.got) == 2, 60)
                assert again.said("page resolved: database_down") == 1
                assert again.end() == 0
                assert not (tmp_path / "premortem.db-wal").exists()  # closed in order
    assert site.titles()[1] == "shop: database_down is over"
    assert all(len(m["message"].splitlines()) == 5 for m in site.got)
    assert "connections are refused" not in site.got[0]["message"]  # frozen, not gone
    with Store.open(tmp_path / "premortem.db", read_only=True) as store:
        kept = store.series("shop", M, begun - 60, time.time()).at
        told = [e.text for e in store.events("shop", begun - 60, time.time())]
    assert kept[0] < begun < kept[-1]
    assert [t for t in told if t.startswith("page")] == [
        "page opened: database_down",
        "page resolved: database_down",
    ]
    recorded = [r.at for r in parse((tmp_path / "r.jsonl").read_text().splitlines())]
    assert recorded[0] < begun and recorded[-1] - recorded[0] > 10


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(folder: Path) -> None:
    with contextlib.suppress(OSError), (folder / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


async def goes_blind_and_sees_again(
    watch: Watching, server: Server, site: Site, full: Callable[[], None], room: Callable[[], None]
) -> None:
    """The watch sees and tells while nothing can be written, says so once, and writes again."""
    await watch.hears("watching shop")
    await watch.until(lambda: watch.figure(down("ruled_out")) == 1, 40)
    full()
    await watch.hears("history cannot be written, the watch goes on")
    with frozen(server):
        await watch.until(lambda: site.titles() == ["shop: database_down (database)"], 60)
    await asyncio.sleep(6)
    assert watch.said("cannot be written") == 1
    assert watch.figure('premortem_dropped_ticks_total{place="history"}') > 5
    assert watch.page("/healthz")[0] == 200
    room()
    await watch.hears("history is written again")
    assert watch.figure('premortem_write_failing{place="history"}') == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk takes root")
async def test_a_full_disk(server: Server, site: Site, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        configure(tmp_path, server.monitor_dsn, site, f'[history]\npath = "{disk}/h.db"\n')
        with watching(tmp_path) as watch:
            await goes_blind_and_sees_again(
                watch, server, site, lambda: fill(disk), (disk / "filler").unlink
            )
            assert watch.end() == 0
        with Store.open(disk / "h.db", read_only=True) as store:
            assert store.series("shop", M, time.time() - 20, time.time()).at[-1] > time.time() - 20


async def test_a_file_that_may_not_grow(server: Server, site: Site, tmp_path: Path) -> None:
    """The same without root: a limit on the size of files, which the kernel enforces."""
    configure(tmp_path, server.monitor_dsn, site)
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    with watching(tmp_path) as watch:

        def limit(soft: int) -> Callable[[], None]:
            bounds = (soft, hard)
            return lambda: resource.prlimit(watch.process.pid, resource.RLIMIT_FSIZE, bounds)

        await goes_blind_and_sees_again(watch, server, site, limit(4096), limit(hard))
        assert watch.end() == 0


async def test_the_configuration_is_read_again_on_sighup(
    server: Server, site: Site, tmp_path: Path
) -> None:
    path = configure(tmp_path, server.monitor_dsn, site)
    good = path.read_text()
    with watching(tmp_path) as watch:
        await watch.hears("watching shop")
        await watch.until(lambda: watch.figure('premortem_ticks_total{site="shop"}') > 3, 40)
        path.write_text(good + "[site.shop]\n")
        watch.process.send_signal(signal.SIGHUP)
        await watch.hears("the configuration is not taken, the old one stays")
        assert watch.figure("premortem_reloads_refused_total") >= 1
        path.write_text(good + f'[site.game]\nurl = "http://{site.address}/game"\n')
        watch.process.send_signal(signal.SIGHUP)
        await watch.hears("the configuration was read again; watching shop, game")
        await watch.until(lambda: watch.figure('premortem_ticks_total{site="game"}') > 2, 40)
        assert watch.figure('premortem_ticks_total{site="shop"}') > 5  # it was not started again
        rows = await _sql(server, "select count(*) from pg_stat_activity "
                          "where application_name = 'premortem'")  # fmt: skip
        assert rows == 1
        assert watch.end() == 0


async def _sql(server: Server, query: str) -> Any:
    async with await psycopg.AsyncConnection.connect(server.dsn, autocommit=True) as conn:
        cursor = await conn.execute(query.encode())
        row = await cursor.fetchone() if cursor.description else None
        return row[0] if row else None


async def test_a_database_without_a_free_slot_is_seen_through_the_held_connection(
    server: Server, site: Site, tmp_path: Path
) -> None:
    configure(tmp_path, server.monitor_dsn, site)
    async with contextlib.AsyncExitStack() as stack:
        with watching(tmp_path) as watch:
            await watch.hears("watching shop")
            await watch.until(lambda: watch.figure(down("ruled_out")) == 1, 40)
            with contextlib.suppress(psycopg.OperationalError):
                while True:
                    conn = await psycopg.AsyncConnection.connect(server.site_dsn, autocommit=True)
                    await stack.enter_async_context(conn)
            await watch.hears("cause named: connection_exhaustion")
            await watch.until(lambda: site.got, 40)
            assert site.titles()[0] == "shop: connection_exhaustion (database)"
            assert watch.end() == 0


async def test_an_allowed_remedy_frees_the_queue_behind_a_lock(
    server: Server, site: Site, tmp_path: Path
) -> None:
    configure(
        tmp_path, server.monitor_dsn, site, '[policy]\nact = true\nallow = ["cancel_blocker"]\n'
    )
    await _sql(server, "grant pg_signal_backend to monitor")
    async with contextlib.AsyncExitStack() as stack:

        async def session() -> psycopg.AsyncConnection[tuple[Any, ...]]:
            conn = await psycopg.AsyncConnection.connect(server.site_dsn, autocommit=True)
            return await stack.enter_async_context(conn)

        first = await session()
        await first.execute("create table stock (n int); ")
        await first.execute("insert into stock values (1)")
        with watching(tmp_path) as watch:
            await watch.hears("watching shop")
            await watch.until(lambda: watch.figure(down("ruled_out")) == 1, 40)
            await first.execute("begin")
            await first.execute("update stock set n = 2")
            waiting = [
                asyncio.create_task((await session()).execute("update stock set n = n + 1"))
                for _ in range(8)
            ]
            await watch.hears("cause named: lock_contention")
            await watch.until(lambda: any(e["kind"] == "acted" for e in watch.events()), 40)
            async with asyncio.timeout(20):
                await asyncio.gather(*waiting)
            assert await _sql(server, "select n from stock") == 9  # the blocker was rolled back
            assert watch.end() == 0
        with contextlib.suppress(psycopg.OperationalError):
            await first.execute("select 1")


async def test_a_network_that_hangs_delays_no_step(site: Site, tmp_path: Path) -> None:
    """A server that accepts and never says a word, as database and as site, beside a good one."""
    silent = socket.create_server(("127.0.0.1", 0), backlog=512)
    port = silent.getsockname()[1]
    hangs = (
        f'[site.hangs]\nurl = "http://127.0.0.1:{port}/"\n'
        f'dsn = "host=127.0.0.1 port={port} user=x dbname=y"\n'
    )
    configure(tmp_path, f"host=127.0.0.1 port={port} user=x dbname=y", site, hangs)
    with silent, watching(tmp_path) as watch:
        await watch.hears("watching shop, hangs")
        await watch.hears("cause named: database_down")
        before = watch.figure('premortem_ticks_total{site="hangs"}'), time.monotonic()
        await asyncio.sleep(8)
        after = watch.figure('premortem_ticks_total{site="hangs"}'), time.monotonic()
        assert (after[0] - before[0]) / (after[1] - before[1]) > 0.9
        assert watch.end() == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[site", "not TOML"),
        ('[site.a]\nurl = "http://a/"\n[watch]\nlisten = "0.0.0.0:0"\n', "token_file"),
        ('[site.a]\nurl = "http://a/"\n[notify]\nurls_file = "none"\n', "No such file"),
        ('[site.a]\nurl = "http://a/"\n[causes.gremlins]\nx = 1\n', "no such cause"),
    ],
)
def test_a_bad_configuration_gets_one_line_and_exit_2(
    text: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / "premortem.toml").write_text(text)
    found = subprocess.run(
        [PREMORTEM, "watch"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert (found.returncode, found.stdout, found.stderr.count("\n")) == (2, "", 1)
    assert words in found.stderr
