"""What a clock that is set does to a watch: to its judgement nothing, to what it writes the truth.

The watch's own time is anchored once and then monotonic, so that an hour that the machine's clock
jumps over is no hour of silence, and an hour that it lives twice is no hour of blindness. What
leaves the watch (recordings, history, messages) carries the machine's time: its difference from
the watch's own is added on the way out. A step ahead leaves a gap in the history; after a step
back the hour that is lived twice holds the means of both.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from premortem.app.notify import Notice
from premortem.model import Diagnosis, Event
from premortem.pipeline import Tick

__all__ = ["Steps", "notice_at_wall", "tick_at_wall"]

STEP_S = 1.0
"""NTP slews what is smaller, and both clocks alike; it steps what is greater (chrony: makestep)."""

_TIMES = frozenset({"at", "since", "began"})


@dataclass(slots=True)
class Steps:
    """How far the machine's clock has moved from the watch's own."""

    own: Callable[[], float]
    wall: Callable[[], float] = time.time
    offset_s: float = 0.0

    def moved(self) -> float | None:
        """Look once; by how many seconds the clock was set since the last look, if it was."""
        difference = self.wall() - self.own()
        change = difference - self.offset_s
        if abs(change) < STEP_S:
            return None
        self.offset_s = difference
        return change


def tick_at_wall(tick: Tick, offset_s: float) -> Tick:
    """The tick as the machine's clock tells it."""
    if not offset_s:
        return tick
    return Tick(
        tick.now + offset_s,
        tuple(replace(r, at=r.at + offset_s) for r in tick.readings),
        _diagnosis(tick.diagnosis, offset_s),
        tuple(event_at_wall(e, offset_s) for e in tick.events),
    )


def notice_at_wall(notice: Notice, offset_s: float) -> Notice:
    """The notice as the machine's clock tells it."""
    return replace(notice, at=notice.at + offset_s, began=notice.began + offset_s)


def event_at_wall(event: Event, offset_s: float) -> Event:
    """The event, with the times in its data."""
    data = {key: _moved(key, value, offset_s) for key, value in event.data.items()}
    return replace(event, at=event.at + offset_s, data=data)


def _diagnosis(diagnosis: Diagnosis, offset_s: float) -> Diagnosis:
    ledger = tuple(
        replace(v, evidence=tuple(replace(e, since=e.since + offset_s) for e in v.evidence))
        for v in diagnosis.ledger
    )
    signals = tuple(replace(s, since=s.since + offset_s) for s in diagnosis.signals)
    return replace(diagnosis, at=diagnosis.at + offset_s, ledger=ledger, signals=signals)


def _moved(key: str, value: object, offset_s: float) -> object:
    if isinstance(value, Mapping):
        return {k: _moved(str(k), v, offset_s) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_moved("", v, offset_s) for v in value]
    if key in _TIMES and isinstance(value, int | float):
        return value + offset_s
    return value
