"""When a site is full: the first day on which demand exceeds capacity, over many worlds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np

from premortem.capacity.estimate import Estimate
from premortem.capacity.intervals import Peak
from premortem.capacity.site import Capacity
from premortem.capacity.trend import Worlds

__all__ = ["Full", "say", "when_full"]


@dataclass(frozen=True, slots=True)
class Full:
    """When demand first exceeds capacity. ``None`` in a date: later than the horizon."""

    mid: date | None
    low: date | None
    high: date | None
    horizon: date
    probability: float
    """Share of the worlds that are full by the horizon."""


def when_full(worlds: Worlds, room: Estimate, *, surge: float = 1.0, seed: int = 1) -> Full:
    """The first day on which the peak exceeds the capacity, over all worlds."""
    dice = np.random.default_rng([seed, 3])
    limits = room.draw(dice, len(worlds.peaks))
    over = worlds.peaks * surge > limits[:, None]
    days = over.shape[1]
    first = np.where(over.any(axis=1), over.argmax(axis=1), days)
    low, mid, high = (int(np.quantile(first, q, method="inverted_cdf")) for q in (0.05, 0.5, 0.95))

    def named(index: int) -> date | None:
        return None if index >= days else worlds.date_of(index)

    return Full(named(mid), named(low), named(high), worlds.last, float(np.mean(first < days)))


def say(full: Full, room: Estimate, now: Capacity, knee: Peak) -> str:
    """The statement: when, how sure, what first. ``full.mid`` needs half of the worlds."""
    if full.mid is None:
        text = f"not full by {full.horizon}: {full.probability:.0%} of the futures drawn are"
    else:
        until = full.high.isoformat() if full.high else f"after {full.horizon}"
        text = f"full on {full.mid}, 90 % interval {full.low} to {until}, first {now.first}"
    if knee.abstained:
        text += (
            f"; the capacity is only known to be at least {room.mid:.4g}/s, so this is the earliest"
        )
    return text
