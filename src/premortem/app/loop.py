"""The only reader of the clock: sources are read, a step is made, what follows is carried out.

Every source runs in a task of its own, so that one that hangs delays nobody; a tick a second takes
whatever has arrived. This is also the only place where an unexpected exception is caught: a bug
in one source must not blind the others, and becomes a Reading with its error (``shelter.py`` does
the same for causes, detectors and whole watches).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from premortem.app.shelter import Shelter
from premortem.model import Action, Diagnosis, Event, History, Reading
from premortem.pipeline import Pipeline, Tick, changes
from premortem.remedies._hands import Hands, Remedy, RemedyFailed
from premortem.remedies.policy import Policy, Proposal, decide
from premortem.sources._contract import READ_BOUND_S, Source

__all__ = ["Held", "Watch", "wall_clock"]

TICK_S = 1.0
"""Saturation shows at one second; averages over minutes hide it (reference: causes, traps)."""

READING_SHARE = 0.25
"""Of a tick, how long the sources have before it: healthy ones take 2 to 50 ms. A tick at the very
moment the next readings begin would judge what is a second old."""

EFFECT_AFTER_S = 5.0
"""When an action's effect is read off: sessions and queues settle within a few seconds."""

EFFECT_METRICS = (
    "db.wait.cpu",
    "db.wait.lock",
    "db.connections.used",
    "web.in_flight",
    "web.refused_per_s",
    "user.http.first_byte_ms",
)

RESOLVED_AFTER_S = 5.0
"""Quiet for this long before an incident is called resolved: shorter would flap."""

GIVE_UP_S = 4 * READ_BOUND_S
"""A read that breaks its promise to return is ended, so that it can be tried again."""

HOLD_EVERY_S = 10.0
"""A connection for acting that broke is opened again before it is needed, not by storm."""

CLOSE_WITHIN_S = 3.0
"""Connections to a frozen server cannot be closed politely."""


def wall_clock() -> Callable[[], float]:
    """Seconds since the epoch that never step back: anchored once, then monotonic."""
    anchor = time.time() - time.monotonic()
    return lambda: anchor + time.monotonic()


class Held(Protocol):
    """A connection that is kept ready."""

    async def hold(self) -> None: ...

    async def close(self) -> None: ...


@dataclass(slots=True)
class Watch:
    """One site under watch."""

    sources: Sequence[Source]
    pipeline: Pipeline
    policy: Policy = field(default_factory=Policy)
    remedies: Mapping[str, Remedy] = field(default_factory=dict)
    hands: Hands = field(default_factory=Hands)
    held: Sequence[Held] = ()
    """Connections for acting: opened at the start, closed at the end."""
    clock: Callable[[], float] = field(default_factory=wall_clock)
    tick_s: float = field(default_factory=lambda: TICK_S)
    step_s: float = 0.0
    """What the latest step of the pipeline took."""
    shelter: Shelter = field(default_factory=Shelter)
    _told_bugs: set[str] = field(default_factory=set)
    _arrived: deque[Reading] = field(default_factory=lambda: deque(maxlen=10_000))
    _pending: deque[Event] = field(default_factory=lambda: deque(maxlen=1_000))
    _done: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=100))
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _named_at: float | None = None
    _quiet_since: float | None = None

    async def ticks(self, until: float | None = None) -> AsyncGenerator[Tick, None]:
        """Yield a :class:`Tick` every ``tick_s`` until ``until`` (epoch seconds) or for ever.

        Closing the generator stops the sources and closes their connections.
        """
        before: Diagnosis | None = None
        self.pipeline = self.shelter.over(self.pipeline)
        for source in self.sources:
            self._spawn(self._read_forever(source))
        for connection in self.held:
            self._spawn(self._hold_forever(connection))
        try:
            at = self.clock() - (1.0 - READING_SHARE) * self.tick_s
            while until is None or at < until:
                at += self.tick_s
                await asyncio.sleep(max(0.0, at - self.clock()))
                now = self.clock()
                if now > at + 10 * self.tick_s:  # suspended: do not replay the gap tick by tick
                    at = now
                tick = self._step(now, before)
                before = tick.diagnosis
                yield tick
        finally:
            await self._stop()

    def _step(self, now: float, before: Diagnosis | None) -> Tick:
        readings = tuple(self._arrived)
        self._arrived.clear()
        begun = time.perf_counter()
        diagnosis = self.pipeline.step(now, readings)
        self.step_s = time.perf_counter() - begun
        events = changes(before, diagnosis)
        self._tell_bugs()
        self._consider(diagnosis)
        events += self._resolution(diagnosis)
        events = [*self._pending, *events]
        self._pending.clear()
        return Tick(now, readings, diagnosis, tuple(events))

    async def _read_forever(self, source: Source) -> None:
        due = self.clock()
        while True:
            now = self.clock()
            try:
                async with asyncio.timeout(GIVE_UP_S):
                    reading = await source.read(now)
            except TimeoutError:
                text = f"no answer within {GIVE_UP_S:g} s"
                reading = Reading(source.name, source.target, now, error=text)
            except Exception as error:  # noqa: BLE001 - see the module's first paragraph
                text = f"{type(error).__name__} in {source.name}: {error}"
                reading = Reading(source.name, source.target, now, error=text)
            self._arrived.append(reading)
            due = max(due + source.interval_s, self.clock() - source.interval_s)
            await asyncio.sleep(max(0.0, due - self.clock()))

    async def _hold_forever(self, connection: Held) -> None:
        while True:
            await connection.hold()
            await asyncio.sleep(HOLD_EVERY_S)

    def _tell_bugs(self) -> None:
        for name, text in self.shelter.bugs.items():
            if name not in self._told_bugs:
                self._told_bugs.add(name)
                self._say("note", f"bug in {name}, it is left out: {text}", bug=name)

    # -- acting

    def _consider(self, diagnosis: Diagnosis) -> None:
        for proposal in decide(diagnosis, tuple(self._done), self.policy):
            self._done.append((diagnosis.at, proposal.remedy))
            remedy = self.remedies.get(proposal.remedy)
            if proposal.apply and remedy is not None:
                self._spawn(self._apply(proposal, remedy))
            else:
                self._say(
                    "proposed",
                    f"{proposal.remedy} for {proposal.cause} ({proposal.why})",
                    remedy=proposal.remedy,
                    cause=proposal.cause,
                    why=proposal.why,
                )

    async def _apply(self, proposal: Proposal, remedy: Remedy) -> None:
        history = self.pipeline.history
        before = _snapshot(history)
        try:
            action = await remedy.apply(self.hands, history)
        except RemedyFailed as error:
            self._say(
                "effect", f"{proposal.remedy} could not be applied: {error}", remedy=proposal.remedy
            )
            return
        if action is None:
            self._say("effect", f"{proposal.remedy}: nothing to do", remedy=proposal.remedy)
            return
        self._say("acted", action.text, **_action_data(action))
        await asyncio.sleep(EFFECT_AFTER_S)
        after = _snapshot(history)
        moved = {m: [before[m], after[m]] for m in EFFECT_METRICS if m in before and m in after}
        words = "; ".join(f"{m} {old:.3g} → {new:.3g}" for m, (old, new) in moved.items())
        self._say(
            "effect",
            f"{EFFECT_AFTER_S:g} s after {proposal.remedy}: {words or 'nothing measured'}",
            remedy=proposal.remedy,
            after_s=EFFECT_AFTER_S,
            moved=moved,
        )

    def _resolution(self, diagnosis: Diagnosis) -> list[Event]:
        if diagnosis.cause is not None:
            self._named_at = self._named_at or diagnosis.at
            self._quiet_since = None
            return []
        if self._named_at is None:
            return []
        self._quiet_since = self._quiet_since or diagnosis.at
        if diagnosis.at - self._quiet_since < RESOLVED_AFTER_S:
            return []
        lasted = self._quiet_since - self._named_at
        self._named_at = self._quiet_since = None
        return [
            Event(
                diagnosis.at,
                "resolved",
                f"no cause has held for {RESOLVED_AFTER_S:g} s; one had held for {lasted:.0f} s",
                data={"lasted_s": round(lasted, 1), "quiet_s": RESOLVED_AFTER_S},
            )
        ]

    def _say(self, kind: str, text: str, **data: object) -> None:
        self._pending.append(Event(self.clock(), kind, text, data=data))

    # -- tasks

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _stop(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        kept: tuple[Source | Held, ...] = (*self.sources, *self.held)
        closing = [asyncio.ensure_future(k.close()) for k in kept]
        if closing:
            _, late = await asyncio.wait(closing, timeout=CLOSE_WITHIN_S)
            for task in late:
                task.cancel()
        await asyncio.gather(*closing, return_exceptions=True)


def _snapshot(history: History) -> dict[str, float]:
    found = {m: history.mean(m, 3.0) for m in EFFECT_METRICS if m in history.metrics}
    return {m: round(v, 3) for m, v in found.items() if v is not None}


def _action_data(action: Action) -> dict[str, object]:
    return {
        "remedy": action.remedy,
        "target": action.target,
        "undo": action.undo,
        **action.data,
    }
