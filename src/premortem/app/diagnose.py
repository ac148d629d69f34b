"""`premortem diagnose`: is it the network, the web servers or the database?"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from premortem.app.assemble import new_pipeline, site_sources
from premortem.app.loop import Watch
from premortem.model import Diagnosis, Event, Reading, Verdict
from premortem.pipeline import Pipeline, Tick, changes
from premortem.recording import BadRecording, by_tick, parse

__all__ = ["Target", "live_ticks", "read_recording", "replay", "replay_readings", "summary"]


def read_recording(path: Path) -> TextIO:
    """Open a recording. Raises :class:`BadRecording` with one line when it cannot be read."""
    try:
        return path.open(encoding="utf-8", errors="replace")
    except OSError as error:
        raise BadRecording(f"{path}: {os.strerror(error.errno or 0)}") from None


def replay(lines: Iterable[str], pipeline: Pipeline) -> Iterator[Tick]:
    """Run a recording through the pipeline, tick by tick, as if it were live."""
    return replay_readings(parse(lines), pipeline)


def replay_readings(found: Iterable[Reading], pipeline: Pipeline) -> Iterator[Tick]:
    """The same for readings from elsewhere, oldest first."""
    before: Diagnosis | None = None
    for now, readings in by_tick(found):
        diagnosis = pipeline.step(now, readings)
        yield Tick(now, tuple(readings), diagnosis, tuple(changes(before, diagnosis)))
        before = diagnosis


@dataclass(frozen=True, slots=True)
class Target:
    """What to look at: a site, its database, the guard inside it; each may be missing."""

    url: str | None = None
    dsn: str | None = None
    guard_url: str | None = None
    guard_token: str = field(default="", repr=False)
    db_cores: int | None = None
    thresholds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


async def live_ticks(
    target: Target, seconds: float, clock: Callable[[], float]
) -> AsyncGenerator[Tick, None]:
    """Watch a live site for ``seconds``. Touches nothing."""
    sources = site_sources(
        url=target.url,
        dsn=target.dsn,
        guard_url=target.guard_url,
        guard_token=target.guard_token,
        db_cores=target.db_cores,
    )
    watch = Watch(sources, new_pipeline(target.thresholds), clock=clock)
    async with aclosing(watch.ticks(until=clock() + seconds)) as ticks:
        async for tick in ticks:
            yield tick


def summary(ticks: Iterable[Tick]) -> dict[str, Any]:
    """What a stretch of ticks amounts to: the first cause named, the last ledger, all changes.

    ``cause`` and ``tier`` are those that held for the most ticks, so that a passing effect of
    the end (a restart, a recovery) does not speak for the whole.
    """
    events: list[Event] = []
    held: dict[tuple[str, str], int] = {}
    last: Diagnosis | None = None
    named: Diagnosis | None = None
    start: float | None = None
    for tick in ticks:
        start = tick.now if start is None else start
        events.extend(tick.events)
        last = tick.diagnosis
        if last.cause and last.tier:
            key = (last.cause, last.tier)
            held[key] = held.get(key, 0) + 1
            named = named or last
    cause, tier = max(held, key=lambda k: held[k]) if held else (None, None)
    return {
        "cause": cause,
        "tier": tier,
        "named_at": None if named is None else named.at,
        "named_after_s": None if named is None or start is None else round(named.at - start, 1),
        "ruled_out": [] if named is None else list(named.ruled_out_tiers()),
        "remedies": [] if named is None else list(named.remedies),
        "ledger": [] if last is None else [verdict_dict(v) for v in (named or last).ledger],
        "ledger_at_end": [] if last is None else [verdict_dict(v) for v in last.ledger],
        "changes": [event_dict(e) for e in events],
    }


def verdict_dict(verdict: Verdict) -> dict[str, Any]:
    """A verdict for machines."""
    return {
        "cause": verdict.cause,
        "tier": verdict.tier,
        "state": verdict.state,
        "because": verdict.because,
        "check": verdict.check,
        "evidence": [
            {
                "metric": e.metric,
                "value": e.value,
                "limit": e.limit,
                "since": e.since,
                "note": e.note,
            }
            for e in verdict.evidence
        ],
    }


def event_dict(event: Event) -> Mapping[str, Any]:
    """An event for machines."""
    return {"at": event.at, "kind": event.kind, "text": event.text, "data": dict(event.data)}
