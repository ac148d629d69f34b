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
from premortem.guard.front import Downstream, Front
from premortem.guard.observer import Outcome
from premortem.guard.queue import Entry
from premortem.guard.settings import Settings

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
        self._classify = classify
        self._front = Front(settings, pool, monotonic())
        self._gate, self._seen = self._front.gate, self._front.seen
        self._loop: asyncio.AbstractEventLoop | None = None
        self._cancelled: type[BaseException] = GeneratorExit  # until there is a loop
        self._tick: asyncio.TimerHandle | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_s = 0.0

    @property
    def settings(self) -> Settings:
        """What the guard was told last."""
        return self._front.settings

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
                await self._front.refusal.send(scope, send)
            elif entry.state == "admitted" and not call.gone:
                await self._serve(call, scope)
        except self._cancelled:
            call.gone = True  # some servers cancel the application when the client leaves
            raise
        finally:
            self._end(call)

    def _entry(self, scope: Scope, now: float) -> Entry:
        client = scope.get("client")
        who: object = client[0] if client else None
        patience: bytes | None = None
        for name, value in scope["headers"]:
            if name == CLIENT_HEADER:
                who = value
            elif name == DEADLINE_HEADER:
                patience = value
        front, method, path = self._front, scope["method"], scope["path"]
        self._seen.asked((who, method, path, scope.get("query_string")), now)
        named = self._classify(scope) if self._classify is not None else None
        return Entry(front.kind(named, method, path), now, front.deadline_s(now, patience))

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
            self._act(self._front.adapt(now), now)
        finally:
            self._plan_tick(now)

    # -- looking in and turning knobs

    def values(self) -> dict[str, float]:
        """All ``web.*`` and, with a pool, ``pool.*`` metrics of the last second."""
        return self._front.values(monotonic())

    def change(self, wanted: object) -> dict[str, object]:
        """Change settings while the site runs; the answer holds what undoes it.

        Raises ``ValueError`` with one line when a setting is unknown, fixed or out of range.
        """
        now = monotonic()
        answer, decided = self._front.change(wanted, now)
        self._act(decided, now)
        return answer

    def downstream(self) -> Downstream:
        """Put around a call to another service, so that its slowness is not taken for ours."""
        return Downstream(self._seen)


def _outcome(call: Call, admitted: bool) -> Outcome:
    if call.entry.state == "refused":
        return "refused"
    if call.gone or not admitted:
        return "abandoned"
    return "served" if call.finished and 0 < call.status < 500 else "errors"
