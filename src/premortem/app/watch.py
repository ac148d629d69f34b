"""`premortem watch`: one process that watches every configured site for months.

Every site is a watch of its own under supervision; what they find goes out through threads (the
archive, the post, the view), none of which can delay a tick. The configuration is read again on
SIGHUP or when one of its files changed; sites whose settings stayed go on untouched.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from premortem.app.config import BadConfig
from premortem.app.loop import wall_clock
from premortem.app.notify import Pager
from premortem.app.serve import Page
from premortem.app.watch_clock import Steps, notice_at_wall, tick_at_wall
from premortem.app.watch_metrics import Figures, Metrics, health
from premortem.app.watch_outlets import Outlets, Parts, Record
from premortem.app.watch_setup import Files, Setup, read_setup
from premortem.app.watch_site import Site
from premortem.app.watch_systemd import Systemd
from premortem.app.watch_view import View
from premortem.model import Event
from premortem.pipeline import Tick
from premortem.store import Store, StoreFull

__all__ = ["Daemon"]

FILES_EVERY_BEATS = 2
RESOLVERS = 64
"""Threads for name look-ups: one site's dead name server must not use up those of the others."""
REMEMBERED_S = 86_400.0
"""How far back a restarted watch looks for what people were told."""


@dataclass(slots=True)
class Daemon:
    """The whole of a running ``premortem watch``."""

    config: Path
    view: View
    only: tuple[str, ...] = ()
    record: Record | None = None
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    clock: Callable[[], float] = field(default_factory=wall_clock)
    wall: Callable[[], float] = time.time
    beat_s: float = 1.0
    """Between looks at the clock, the files and the view."""
    again: asyncio.Event = field(default_factory=asyncio.Event)
    """Set it (SIGHUP does) to have the configuration read again."""
    sites: dict[str, Site] = field(default_factory=dict)
    pager: Pager = field(default_factory=Pager)
    reloads: int = 0
    reloads_refused: int = 0
    clock_steps: int = 0
    _setup: Setup = field(init=False)
    _outlets: Outlets = field(init=False)
    _steps: Steps = field(init=False)

    async def run(self, seconds: float | None = None) -> None:
        """Watch until cancelled, or for some seconds.

        Raises :class:`BadConfig`, ``StoreError`` or ``CannotListen`` for what cannot start.
        """
        self._steps = Steps(self.clock, self.wall)
        self._steps.moved()
        self._setup = setup = read_setup(self.config, self.only, self.environment)
        parts = Parts.of(setup)
        self._restore(setup)
        self.pager.rules = setup.rules
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(RESOLVERS, "resolver"))
        self._outlets = Outlets(self.record, self._say)
        await self._outlets.open(setup, parts, self._pages())
        try:
            for name in setup.sites:
                self._start(name)
            where = "" if self.port is None else f"; /metrics on port {self.port}"
            self._say(f"watching {', '.join(self.sites)}{where}", port=self.port)
            await self._housekeeping(None if seconds is None else loop.time() + seconds)
        finally:
            for site in self.sites.values():
                await site.stop()
            await self._outlets.close()

    @property
    def port(self) -> int | None:
        """Where /metrics is, if it is anywhere."""
        return self._outlets.port

    def figures(self) -> Figures:
        """What the daemon is doing now."""
        out = self._outlets
        return Figures(
            self.clock(),
            tuple(self.sites.values()),
            [(m.site, m.kind, m.subject) for m in self.pager.open_matters()],
            out.dropped,
            out.failing,
            None if out.remote is None else out.remote.counts,
            out.posted,
            self.pager.held_back,
            self.reloads,
            self.reloads_refused,
            self.clock_steps,
        )

    # -- each second

    async def _housekeeping(self, until: float | None) -> None:
        loop, systemd = asyncio.get_running_loop(), Systemd(self.environment)
        files, beats = Files(self._setup.files), 0
        systemd.tell("READY=1")
        while until is None or loop.time() < until:
            await asyncio.sleep(self.beat_s)
            systemd.tell("WATCHDOG=1")
            self._look_at_clock()
            beats += 1
            if beats % FILES_EVERY_BEATS == 0 and files.changed():
                self.again.set()
            if self.again.is_set():
                self.again.clear()
                await self._reload()
                files.watch(self._setup.files)
            self.view.second(tuple(self.sites.values()), self.clock())
        systemd.tell("STOPPING=1")

    def _look_at_clock(self) -> None:
        change = self._steps.moved()
        if change is not None:
            self.clock_steps += 1
            way = "ahead" if change > 0 else "back"
            self._say(f"this machine's clock was set {abs(change):.0f} s {way}")

    def _take(self, site: Site, tick: Tick) -> None:
        offset_s = self._steps.offset_s
        notices = [
            notice_at_wall(n, offset_s) for n in self.pager.consider(site.name, tick.diagnosis)
        ]
        seen = tick_at_wall(tick, offset_s)
        seen = replace(seen, events=(*seen.events, *(n.event() for n in notices)))
        for notice in notices:
            self._outlets.tell(notice, seen)
        self._outlets.keep(site.name, seen)
        self.view.events(site.name, seen.events)

    def _crashed(self, site: Site, why: str, again_after_s: float) -> None:
        self._say(f"the watch ended by a bug, again in {again_after_s:g} s: {why}", site.name)

    # -- the configuration

    async def _reload(self) -> None:
        try:
            new = await asyncio.to_thread(read_setup, self.config, self.only, self.environment)
            parts = await asyncio.to_thread(Parts.of, new)
        except BadConfig as error:
            self.reloads_refused += 1
            self._say(f"the configuration is not taken, the old one stays: {error}")
            return
        old, self._setup = self._setup, new
        self.pager.rules = new.rules
        await self._change_sites(old, new)
        if not await self._outlets.change(old, new, parts):
            self._setup = replace(new, door=old.door)
        self.reloads += 1
        self._say(f"the configuration was read again; watching {', '.join(self.sites)}")

    async def _change_sites(self, old: Setup, new: Setup) -> None:
        for name in [n for n, s in old.sites.items() if new.sites.get(n) != s]:
            await self.sites.pop(name).stop()
            if name not in new.sites:
                self.pager.drop(name)
        for name in new.sites:
            if name not in self.sites:
                self._start(name)

    def _start(self, name: str) -> None:
        site = Site(self._setup.sites[name], self.clock)
        self.sites[name] = site
        site.start(self._take, self._crashed)

    def _restore(self, setup: Setup) -> None:
        """Prove that the history can be used; know from it what people were told."""
        now = self.wall()
        try:
            store = Store.open(setup.history.path)
        except StoreFull as error:
            self._say(f"{error}; the watch begins all the same")
            return
        with store:
            for site in setup.sites:
                events = store.events(site, now - REMEMBERED_S, now)
                self.pager.restore(site, [e for e in events if "page" in e.data], self.clock())

    def _pages(self) -> dict[str, Page]:
        metrics = Metrics(self.figures)
        return {
            "/metrics": Page(metrics.page),
            "/healthz": Page(lambda: health(self.figures()), guarded=False),
        }

    def _say(self, text: str, site: str = "", **data: object) -> None:
        """A remark of the daemon's own; may be called from any thread."""
        event = Event(self.wall(), "note", text, data=data)
        self.view.events(site, (event,))
