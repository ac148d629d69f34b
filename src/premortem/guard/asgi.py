"""The guard as ASGI middleware: reads the clock, performs what the gate decides, counts.

One guard belongs to one process and one event loop; with several worker processes each keeps its
own count of cap ÷ processes.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

from premortem.guard.call import App, Call, Receive, Scope, Send
from premortem.guard.endpoints import PREFIX, answer
from premortem.guard.gate import Gate
from premortem.guard.limit import WINDOW_S, Aimd
from premortem.guard.observer import Observer, Outcome
from premortem.guard.queue import Entry, Patience
from premortem.guard.refusal import Refusal
from premortem.guard.settings import Settings, change

if TYPE_CHECKING:
    import asyncio

__all__ = ["Guard"]

TICK_S = 0.05
"""How often the loop's lag is measured: a stall of 50 ms cannot fall between two looks."""

CLIENT_HEADER = b"x-client-id"
DEADLINE_HEADER = b"x-premortem-deadline-ms"


class Guard:
    """Wraps an ASGI application and lets in what it can serve; the rest is refused at once.

    ``pool`` is a connection pool (see ``pools.py``) or a callable that returns ``pool.*`` metrics;
    ``classify`` maps a scope to the name of a class, or to None to leave it to the routes.
    Raises ``TypeError`` when the pool is of no known kind.
    """

    def __init__(
        self,
        app: App,
        settings: Settings,
        pool: Any = None,
        classify: Callable[[Scope], str | None] | None = None,
    ) -> None:
        self.app = app
        self.settings = settings
        self._classify = classify
        self._seen = Observer(pool)
        self._kinds = {c.name: c.share for c in settings.classes}
        self._gate = Gate(settings.cap_of_process, self._kinds, Patience())
        self._limit = float(settings.cap_of_process)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._cancelled: type[BaseException] = GeneratorExit  # until there is a loop
        self._tick: asyncio.TimerHandle | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_s = 0.0
        self._window_ends_s = 0.0
        self._configure(monotonic())

    # -- the three kinds of ASGI scopes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            self._start()
            try:
                await self.app(scope, receive, send)
            finally:
                self.stop()
        else:
            await self.app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        loop = self._start()
        if path.startswith(PREFIX):
            await answer(self, scope, receive, send)
            return
        if path.startswith(self.settings.exempt_prefixes):
            await self.app(scope, receive, send)
            return
        now = monotonic()
        entry = self._entry(scope, now)
        call = Call(entry, receive, send, loop, self._answered)
        self._act(self._gate.arrive(entry, now), now)
        try:
            if entry.state == "waiting":
                await call.decided(self._gone)
            if entry.state == "refused":
                await self._refusal.send(scope, send)
            elif entry.state == "admitted" and not call.gone:
                await self._serve(call, scope)
        except self._cancelled:
            call.gone = True  # some servers cancel the application when the client leaves
            raise
        finally:
            self._end(call)

    def _entry(self, scope: Scope, now: float) -> Entry:
        settings = self.settings
        patience_s = settings.deadline_ms / 1000
        client = scope.get("client")
        who: object = client[0] if client else None
        for name, value in scope["headers"]:
            if name == CLIENT_HEADER:
                who = value
            elif name == DEADLINE_HEADER:
                patience_s = min(patience_s, _patience_s(value))
        what = (who, scope["method"], scope["path"], scope.get("query_string"))
        self._seen.asked(what, now)
        return Entry(self._kind(scope), now, now + patience_s)

    def _kind(self, scope: Scope) -> str:
        name = self._classify(scope) if self._classify is not None else None
        if name in self._kinds:
            return name
        for route in self.settings.routes:
            if route.method in ("*", scope["method"]) and scope["path"].startswith(route.prefix):
                return route.name
        return self.settings.default_class

    async def _serve(self, call: Call, scope: Scope) -> None:
        self._seen.entered(call.entry, self._gate.in_flight)
        scope["premortem.guard"] = self
        await self.app(scope, call.receive, call.send)
        call.finished = True

    def _answered(self, call: Call) -> float:
        """The response begins; returns how many seconds after its arrival."""
        now = monotonic()
        self._seen.answered(call.entry, now, self.settings.slow_ms)
        return now - call.entry.arrived_s

    # -- performing decisions

    def _act(self, decided: list[Entry], now: float) -> None:
        for entry in decided:
            call: Call = entry.ticket  # type: ignore[assignment]
            call.wake()
        if len(self._gate.queue):
            self._set_alarm(now)

    def _gone(self, call: Call) -> None:
        if call.entry.state != "waiting":
            return  # its slot is in use until the application has returned
        now = monotonic()
        decided = self._gate.end(call.entry, now)
        call.wake()
        self._act(decided, now)

    def _end(self, call: Call) -> None:
        now = monotonic()
        entry = call.entry
        admitted = entry.state == "admitted"
        self._act(self._gate.end(entry, now), now)
        call.close()
        self._seen.ended(entry, _outcome(call, admitted), now)

    def _set_alarm(self, now: float) -> None:
        due = self._gate.due(now)
        if due is None or self._loop is None:
            return
        if self._alarm is not None:
            if self._alarm_s <= due:
                return
            self._alarm.cancel()
        self._alarm_s = due
        self._alarm = self._loop.call_later(max(0.0, due - now), self._on_alarm)

    def _on_alarm(self) -> None:
        self._alarm = None
        now = monotonic()
        self._act(self._gate.drain(now), now)

    # -- the clockwork

    def _start(self) -> asyncio.AbstractEventLoop:
        """The running loop, with the clockwork on it."""
        import asyncio  # noqa: PLC0415 - the server has it; without it the guard imports in 20 ms

        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self.stop()
            self._loop, self._cancelled = loop, asyncio.CancelledError
            self._plan_tick(monotonic())
        return loop

    def stop(self) -> None:
        """Take the clockwork off the loop; the next request puts it on again."""
        for timer in (self._tick, self._alarm):
            if timer is not None:
                timer.cancel()
        self._loop = self._tick = self._alarm = None

    def _plan_tick(self, now: float) -> None:
        if self._loop is not None:
            self._tick = self._loop.call_later(TICK_S, self._on_tick, now + TICK_S)

    def _on_tick(self, due: float) -> None:
        now = monotonic()
        try:
            self._seen.lagged(now - due, now)
            self._seen.look_at_pool(now)
            if now >= self._window_ends_s:
                self._adapt(now)
        finally:
            self._plan_tick(now)

    def _adapt(self, now: float) -> None:
        window = self._seen.close_window(now, self.settings.slow_ms, self._gate.in_flight)
        self._window_ends_s = now + WINDOW_S
        cap = self.settings.cap_of_process
        if self.settings.adaptive:
            self._limit = Aimd(cap, self.settings.floor_ratio).after(self._limit, window)
        else:
            self._limit = float(cap)
        self._act(self._gate.resize(cap, self._limit, now), now)

    # -- looking in and turning knobs

    def values(self) -> dict[str, float]:
        """All ``web.*`` and, with a pool, ``pool.*`` metrics of the last second."""
        return {
            "web.in_flight": float(self._gate.in_flight),
            "web.in_flight_limit": float(self._gate.limit),
            "web.queue_length": float(len(self._gate.queue)),
            **self._seen.values(monotonic()),
        }

    def change(self, wanted: object) -> dict[str, object]:
        """Change settings while the site runs; the answer holds what undoes it.

        Raises ``ValueError`` with one line when a setting is unknown, fixed or out of range.
        """
        self.settings, old = change(self.settings, wanted)
        now = monotonic()
        self._configure(now)
        return {"old": old, "new": {name: getattr(self.settings, name) for name in old}}

    def _configure(self, now: float) -> None:
        settings = self.settings
        self._refusal = Refusal(settings.retry_after_min_s, settings.retry_after_max_s)
        patience = Patience(
            settings.queue_max,
            settings.queue_timeout_ms / 1000,
            settings.queue_interval_ms / 1000,
            settings.queue_standing_timeout_ms / 1000,
        )
        self._gate.queue.be_patient(patience)
        cap = settings.cap_of_process
        at_cap = self._limit >= self._gate.cap or not settings.adaptive
        self._limit = float(cap) if at_cap else min(self._limit, float(cap))
        self._act(self._gate.resize(cap, self._limit, now), now)

    def downstream(self) -> Downstream:
        """Put around a call to another service, so that its slowness is not taken for ours."""
        return Downstream(self._seen)


class Downstream:
    """Context manager that times one call to another service."""

    def __init__(self, seen: Observer) -> None:
        self._seen = seen

    def __enter__(self) -> None:
        self._seen.called(self, monotonic())

    def __exit__(self, *_: object) -> None:
        self._seen.returned(self, monotonic())


def _outcome(call: Call, admitted: bool) -> Outcome:
    if call.entry.state == "refused":
        return "refused"
    if call.gone or not admitted:
        return "abandoned"
    return "served" if call.finished and 0 < call.status < 500 else "errors"


def _patience_s(header: bytes) -> float:
    """Milliseconds a caller still waits; what is no number above 0 means nothing."""
    return int(header) / 1000 if header.isdigit() and len(header) < 10 else float("inf")
