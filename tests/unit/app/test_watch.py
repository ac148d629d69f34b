"""The daemon with sources that reach nothing: start, reload, crash, pages, views, the command."""

import asyncio
import io
import json
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from premortem.app.cli import _guarded
from premortem.app.config import BadConfig
from premortem.app.remote_write import Counts
from premortem.app.watch import Daemon
from premortem.app.watch_metrics import Figures, Metrics
from premortem.app.watch_outlets import CannotListen, Record
from premortem.app.watch_setup import Files, read_setup
from premortem.app.watch_site import Site
from premortem.app.watch_systemd import Systemd
from premortem.app.watch_view import JsonLines, Lines, Screen, event_line, wanted
from premortem.model import Diagnosis, Event, Verdict
from premortem.pipeline import Tick

SITES = """
[history]
path = "{folder}/h.db"
[watch]
listen = "127.0.0.1:0"
[site.shop]
url = "http://127.0.0.1:9/"
"""
GAME = '[site.game]\nurl = "http://127.0.0.1:9/game"\n'


class Told:
    """A view that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.seconds = 0

    def events(self, site: str, events: Sequence[Event]) -> None:
        self.lines += [f"{site}: {e.text}" for e in events]

    def second(self, sites: Sequence[Site], now: float) -> None:
        self.seconds += 1

    def close(self) -> None: ...

    def __contains__(self, words: str) -> bool:
        return any(words in line for line in self.lines)


def write(folder: Path, more: str = "", base: str = SITES) -> Path:
    path = folder / "premortem.toml"
    path.write_text(base.format(folder=folder) + more)
    return path


@asynccontextmanager
async def running(path: Path, **more: Any) -> AsyncIterator[tuple[Daemon, Told]]:
    view = Told()
    daemon = Daemon(path, view, environment={}, beat_s=0.03, **more)
    task = asyncio.create_task(daemon.run())
    try:
        await until(lambda: task.done() or "watching" in view)
        if task.done():
            task.result()
        yield daemon, view
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(what: Callable[[], bool], within_s: float = 5.0) -> None:
    async with asyncio.timeout(within_s):
        while not what():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("premortem.app.loop.TICK_S", 0.05)


async def test_a_changed_file_changes_only_the_sites_that_changed(tmp_path: Path) -> None:
    path = write(tmp_path)
    async with running(path) as (daemon, view):
        shop = daemon.sites["shop"]
        await until(lambda: shop.ticks > 1)
        write(tmp_path, GAME)
        await until(lambda: daemon.reloads == 1)
        assert set(daemon.sites) == {"shop", "game"}
        assert daemon.sites["shop"] is shop
        write(tmp_path, GAME + "[site.shop.guard]\ncap = 3\n")
        await until(lambda: daemon.reloads == 2)
        assert daemon.sites["shop"] is not shop
        write(tmp_path)
        await until(lambda: daemon.reloads == 3)
        assert set(daemon.sites) == {"shop"}
        assert "the configuration was read again; watching shop" in view


async def test_a_bad_configuration_is_refused_in_one_line_and_the_old_one_stays(
    tmp_path: Path,
) -> None:
    async with running(write(tmp_path)) as (daemon, view):
        shop = daemon.sites["shop"]
        write(tmp_path, "[site.shop]\nulr = 3\n")
        daemon.again.set()
        await until(lambda: daemon.reloads_refused > 0)
        before = shop.ticks
        await until(lambda: shop.ticks > before)
        assert daemon.sites["shop"] is shop
        assert "the configuration is not taken, the old one stays" in view
        write(tmp_path, '[notify]\nurls_file = "/nowhere"\n')
        await until(lambda: daemon.reloads_refused > 1)


async def test_the_page_follows_the_configuration_and_stays_when_it_cannot(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        async with running(write(tmp_path)) as (daemon, view):
            port = taken.getsockname()[1]
            write(tmp_path, base=SITES.replace("127.0.0.1:0", f"127.0.0.1:{port}"))
            await until(lambda: "Address already in use; the page stays where it was" in view)
            assert daemon.port
            write(tmp_path, base=SITES.replace("127.0.0.1:0", ""))
            await until(lambda: daemon.port is None)


async def test_a_site_that_crashes_does_not_end_the_others(tmp_path: Path) -> None:
    async with running(write(tmp_path, GAME)) as (daemon, view):
        shop, game = daemon.sites["shop"], daemon.sites["game"]
        await until(lambda: shop.ticks > 1 and game.ticks > 1)
        assert shop._watch is not None
        shop._watch.clock = lambda: 1 / 0  # type: ignore[assignment, return-value]
        await until(lambda: shop.crashes == 1)
        assert "shop: the watch ended by a bug, again in 1 s: ZeroDivisionError" in view
        seen, before = game.ticks, shop.ticks
        await until(lambda: game.ticks > seen + 3)
        await until(lambda: shop.ticks > before)  # and it is back
        text = Metrics(daemon.figures).page().text
        assert 'premortem_crashes_total{site="shop"} 1.0' in text
        assert 'premortem_crashes_total{site="game"} 0.0' in text


async def test_trouble_is_told_once_and_remembered_over_a_restart(tmp_path: Path) -> None:
    more = '[site.db]\ndsn = "host=127.0.0.1 port=9 user=x dbname=y"\n[notify]\nhold_s = 0\n'
    path = write(tmp_path, more)
    opened = "page opened: database_down"
    async with running(path, only=("db",)) as (daemon, view):
        await until(lambda: opened in view)
        assert [m.subject for m in daemon.pager.open_matters()] == ["database_down"]
        text = Metrics(daemon.figures).page().text
        assert 'premortem_open{kind="page",site="db",subject="database_down"} 1.0' in text
        assert 'premortem_verdict{cause="database_down",site="db",state="confirmed"} 1.0' in text
        assert 'premortem_diagnosis{cause="database_down",site="db",tier="database"} 1.0' in text
    async with running(path, only=("db",)) as (daemon, view):
        await until(lambda: "cause named: database_down" in view)
        seen = daemon.sites["db"].ticks
        await until(lambda: daemon.sites["db"].ticks > seen + 5)
        assert opened not in view


async def test_a_clock_that_is_set_is_told(tmp_path: Path) -> None:
    import time

    ahead = [0.0]
    async with running(write(tmp_path), wall=lambda: time.time() + ahead[0]) as (daemon, view):
        await until(lambda: daemon.sites["shop"].ticks > 1)
        ahead[0] = 3600.0
        await until(lambda: "this machine's clock was set 3600 s ahead" in view)
        ahead[0] = 0.0
        await until(lambda: "this machine's clock was set 3600 s back" in view)
        assert daemon.clock_steps == 2


async def test_readings_go_on_to_the_fleets_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The receiver is away: what waits is counted, and the watch goes on."""
    monkeypatch.setattr("premortem.app.remote_write.CLOSE_S", 0.1)
    remote = 'remote_write = "http://127.0.0.1:9/api/v1/write"\n'
    path = write(tmp_path, base=SITES.replace("[watch]", remote + "[watch]"))
    async with running(path) as (daemon, view):
        await until(lambda: 'premortem_remote_write_readings_total{result="sent"} 0.0'
                    in Metrics(daemon.figures).page().text)  # fmt: skip
        await until(lambda: daemon.sites["shop"].ticks > 3)
        write(tmp_path, base=SITES.replace("[watch]", remote.replace("http", "gopher") + "[watch]"))
        await until(lambda: daemon.reloads_refused == 1)
        assert "[history] remote_write: " in view


async def test_an_address_that_is_taken_is_told_at_the_start(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        path = write(tmp_path, base=SITES.replace("127.0.0.1:0", f"127.0.0.1:{port}"))
        with pytest.raises(CannotListen, match="Address already in use"):
            async with running(path):
                pass


def test_only_some_sites_may_be_chosen(tmp_path: Path) -> None:
    path = write(tmp_path, GAME)
    assert set(read_setup(path, ("game",), {}).sites) == {"game"}
    with pytest.raises(BadConfig, match="it has: shop, game"):
        read_setup(path, ("zoo",), {})
    empty = write(tmp_path, base="")
    with pytest.raises(BadConfig, match="nothing to watch"):
        read_setup(empty, (), {})


def test_a_file_is_changed_when_it_has_come_to_rest(tmp_path: Path) -> None:
    path = tmp_path / "f"
    files = Files((path, tmp_path / "other"))
    assert not files.changed()
    path.write_text("a")
    assert [files.changed(), files.changed(), files.changed()] == [False, True, False]
    os.utime(path, ns=(1, 1))
    assert not files.changed()
    os.utime(path, ns=(2, 2))
    assert [files.changed(), files.changed()] == [False, True]


def test_systemd_is_told_when_it_asks() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0premortem-test-{os.getpid()}")
        told = Systemd({"NOTIFY_SOCKET": f"@premortem-test-{os.getpid()}"})
        told.tell("READY=1")
        assert manager.recv(100) == b"READY=1"
    told.tell("WATCHDOG=1")  # it has gone: nothing happens
    Systemd({}).tell("READY=1")


# -- views

CONFIRMED = Verdict("db_io", "database", "confirmed", "reads\nwait")
RULED_OUT = Verdict("web_cpu", "web", "ruled_out", "idle")
HELD = Diagnosis(9.0, (CONFIRMED, RULED_OUT), (), "db_io", "database")


def verdict(state: str) -> Event:
    return Event(9.25, "verdict", f"db_io: {state}", data={"state": state})


def test_lines_leave_out_what_is_ruled_out_and_json_leaves_out_nothing() -> None:
    lines, objects = io.StringIO(), io.StringIO()
    for view in (Lines(lines), JsonLines(objects)):
        view.events("shop", [verdict("ruled_out"), verdict("confirmed")])
        view.close()
    assert lines.getvalue() == "1970-01-01T00:00:09.250Z shop verdict: db_io: confirmed\n"
    found = [json.loads(line) for line in objects.getvalue().splitlines()]
    assert [f["data"]["state"] for f in found] == ["ruled_out", "confirmed"]
    assert (found[0]["time"], found[0]["site"]) == ("1970-01-01T00:00:09.250+00:00", "shop")


def test_one_event_is_one_line() -> None:
    assert "\n" not in event_line("", Event(0.0, "note", "two\nlines"))
    assert wanted(Event(0.0, "note", "x"))


def test_a_reader_that_has_gone_does_not_end_the_watch() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "w", buffering=1) as out:
        view = Lines(out)
        view.events("shop", [verdict("confirmed")] * 3)
        view.close()
        with pytest.raises(BrokenPipeError):
            out.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())


def test_the_screen_shows_the_worst_sites_ledger(tmp_path: Path) -> None:
    setup = read_setup(write(tmp_path, GAME), (), {})
    sites = [Site(s, lambda: 9.0) for s in setup.sites.values()]
    sites[0].last = Tick(9.0, (), Diagnosis(9.0, ()), ())
    sites[1].last = Tick(9.0, (), HELD, ())
    out = io.StringIO()
    view = Screen(Console(file=out, force_terminal=True, width=100, no_color=True))
    view.events("game", [verdict("confirmed")])
    view.second(sites, 9.0)
    view.close()
    text = out.getvalue()
    assert "ledger of game" in text
    assert "db_io (database)" in text
    assert text.index("game") < text.index("shop")  # the worst first


# -- the command


def test_init_writes_a_configuration_that_check_accepts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _guarded(["watch", "--init"]) == 0
    assert _guarded(["watch", "--check"]) == 0
    assert "premortem.toml is fine: shop; 0 addresses to tell" in capsys.readouterr().out
    assert _guarded(["watch", "--init"]) == 2
    assert "is there already; it stays as it is" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["premortem.toml"]


def test_every_setting_of_the_written_configuration_is_one(tmp_path: Path) -> None:
    """The lines behind a # hold the defaults: without the # they change nothing but files."""
    from importlib.resources import files

    from premortem.app.config import load_config

    text = files("premortem.app").joinpath("premortem.toml").read_text()
    path = tmp_path / "all.toml"
    bare = [
        line[2:] if line.startswith("# ") and ("=" in line or line.startswith("# [")) else line
        for line in text.splitlines()
    ]
    path.write_text("\n".join(bare))
    known = load_config(path)
    assert known.site["shop"].patroni.members()
    assert known.notify.model_dump(exclude={"urls_file"}) == type(known.notify)().model_dump(
        exclude={"urls_file"}
    )
    assert known.watch.listen == type(known.watch)().listen
    assert known.history.max_mb == type(known.history)().max_mb


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("--config", "/nowhere.toml"), "No such file"),
        (("--seconds", "0"), "--seconds"),
        (("--record-mb", "0"), "--record-mb"),
        (("--init", "--config", "/nowhere/x.toml"), "No such file"),
    ],
)
def test_bad_usage_gets_one_line(
    argv: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _guarded(["watch", *argv]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1


def test_a_recording_per_site() -> None:
    record = Record(Path("/x/r.jsonl"))
    assert record.of("shop", alone=True) == Path("/x/r.jsonl")
    assert record.of("shop", alone=False) == Path("/x/r-shop.jsonl")


def test_the_documentation_holds_the_configuration_that_init_writes() -> None:
    from importlib.resources import files

    page = Path(__file__).parents[3] / "docs" / "watch.md"
    text = files("premortem.app").joinpath("premortem.toml").read_text()
    assert f"```toml\n{text}```" in page.read_text()


def test_the_documentation_names_every_metric() -> None:
    counts = Counts()
    posted = {"1:json": (0, 0, 0, 0)}
    figures = Figures(1.0, (), (("s", "page", "x"),), {"history": 0}, (), counts, posted)
    text = Metrics(lambda: figures).page().text
    named = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE premortem")}
    page = (Path(__file__).parents[3] / "docs" / "watch.md").read_text()
    assert len(named) > 20
    assert {n for n in named if f"`{n}" not in page} == set()
