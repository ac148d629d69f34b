"""One site under watch, for as long as the daemon lives: started, restarted, and what it shows."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field

from premortem.app.assemble import SiteSettings, configured_sources, new_pipeline, remedies
from premortem.app.loop import Watch
from premortem.app.shelter import supervised
from premortem.app.sql_hand import SqlHand
from premortem.model import Event
from premortem.pipeline import Tick
from premortem.remedies._hands import Hands

__all__ = ["Site", "make_watch"]

EVENTS_SHOWN = 50


def make_watch(settings: SiteSettings, clock: Callable[[], float]) -> Watch:
    """The watch of a configured site. It acts only where the policy allows it."""
    guard = settings.site.guard
    url = settings.guard_url
    sql = SqlHand.to(settings.dsn) if settings.policy.act and settings.dsn else None
    return Watch(
        configured_sources(settings),
        new_pipeline(settings.thresholds),
        policy=settings.policy,
        remedies=remedies() if settings.policy.act else {},
        hands=Hands(url, settings.guard_token if url else None, sql, guard.cap),
        held=() if sql is None else (sql,),
        clock=clock,
    )


@dataclass(slots=True)
class Site:
    """A supervised watch and its figures."""

    settings: SiteSettings
    clock: Callable[[], float]
    make: Callable[[SiteSettings, Callable[[], float]], Watch] = make_watch
    last: Tick | None = None
    ticks: int = 0
    crashes: int = 0
    steps_s: float = 0.0
    """Sum of what the steps of the pipeline took."""
    step_s: float = 0.0
    heard: dict[tuple[str, str], float] = field(default_factory=dict)
    """(source, target) → when it last read without an error."""
    errors: dict[tuple[str, str], int] = field(default_factory=dict)
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=EVENTS_SHOWN))
    _watch: Watch | None = None
    _task: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        return self.settings.name

    def start(
        self, take: Callable[[Site, Tick], None], crashed: Callable[[Site, str, float], None]
    ) -> None:
        """Watch from now on; ``take`` is called with each tick."""

        def begin() -> AsyncGenerator[Tick, None]:
            self._watch = self.make(self.settings, self.clock)
            return self._watch.ticks()

        def note(tick: Tick) -> None:
            self._note(tick)
            take(self, tick)

        def count(why: str, again_after_s: float) -> None:
            self.crashes += 1
            crashed(self, why, again_after_s)

        self._task = asyncio.create_task(supervised(begin, note, count), name=self.name)

    async def stop(self) -> None:
        """End the watch and close its connections."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def bugs(self) -> int:
        """Parts left out because of a bug."""
        return 0 if self._watch is None else len(self._watch.shelter.bugs)

    def _note(self, tick: Tick) -> None:
        self.last = tick
        self.ticks += 1
        if self._watch is not None:
            self.step_s = self._watch.step_s
            self.steps_s += self.step_s
        self.events.extend(tick.events)
        for reading in tick.readings:
            key = (reading.source, reading.target)
            if reading.error is None:
                self.heard[key] = reading.at
                self.errors.setdefault(key, 0)
            else:
                self.errors[key] = self.errors.get(key, 0) + 1
