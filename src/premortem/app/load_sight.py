"""The watch beside a load test: its readings are kept, its ledger is shown."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field

from premortem.app.assemble import new_pipeline
from premortem.app.loop import Watch, wall_clock
from premortem.load.levels import levels_from, means_of
from premortem.model import Diagnosis, Reading
from premortem.sources._contract import Source

__all__ = ["Sight", "watching"]

READINGS_MAX = 100_000
"""An hour of eight sources at one reading a second, three times over."""
WARM_S = 2.2
"""Two readings: a rate needs a first one to count from."""


@dataclass(slots=True)
class Sight:
    """What the watch has seen so far."""

    readings: deque[Reading] = field(default_factory=lambda: deque(maxlen=READINGS_MAX))
    named: deque[str | None] = field(default_factory=lambda: deque(maxlen=3600))
    """The cause held at each tick."""
    diagnosis: Diagnosis | None = None
    worst: Diagnosis | None = None
    """The last diagnosis that named a cause."""

    def levels(self, start: float, end: float) -> Mapping[str, float]:
        """How full each resource was between two instants (epoch seconds)."""
        return levels_from(means_of(tuple(self.readings), start, end))


@asynccontextmanager
async def watching(
    sources: Sequence[Source], thresholds: Mapping[str, Mapping[str, float]]
) -> AsyncIterator[Sight]:
    """Watch in the background; without sources there is nothing to see, and no cost."""
    sight = Sight()
    if not sources:
        yield sight
        return
    task = asyncio.create_task(
        _look(sight, Watch(sources, new_pipeline(thresholds), clock=wall_clock()))
    )
    try:
        await asyncio.sleep(WARM_S)
        yield sight
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _look(sight: Sight, watch: Watch) -> None:
    async with aclosing(watch.ticks()) as ticks:
        async for tick in ticks:
            sight.readings.extend(tick.readings)
            sight.diagnosis = tick.diagnosis
            sight.named.append(tick.diagnosis.cause)
            if tick.diagnosis.cause is not None:
                sight.worst = tick.diagnosis
