"""How idle sessions became many: a leak creeps, pools and bursts come in one step."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median, median_high, median_low

from premortem.model import History

__all__ = ["IDLE", "climbs", "crept", "unused"]

IDLE = ("db.sessions.idle", "db.sessions.idle_in_transaction")
CREEP_SHARE_MAX = 0.34
"""No second brought more than a third of what a leak brought in all; a pool opens in one or two."""
RISE_MIN = 1.0
"""Sessions more from third to third."""


def climbs(values: Sequence[float]) -> bool:
    """Three rising thirds: one step, however high, makes only two levels."""
    third = len(values) // 3
    if third < 3:
        return False
    first, middle, last = values[:third], values[third:-third], values[-third:]
    return (
        median(last) >= median_high(middle) + RISE_MIN
        and median_low(middle) >= median(first) + RISE_MIN
    )


def crept(values: Sequence[float]) -> bool:
    """Whether the growth from the lowest to the highest came in many small steps.

    >>> crept([10, 12, 16, 21, 25, 30]), crept([10, 10, 60, 97, 97])
    (True, False)
    """
    if len(values) < 3:
        return False
    low = min(range(len(values)), key=lambda i: values[i])
    high = max(range(low, len(values)), key=lambda i: values[i])
    grown = values[high] - values[low]
    steps = [values[i + 1] - values[i] for i in range(low, high)]
    return grown > 0 and max(steps) <= CREEP_SHARE_MAX * grown


def unused(history: History, over_s: float) -> list[float]:
    """Pooled connections that are handed out but do nothing in the database, second by second.

    A floor: the active sessions of other applications are taken for the pool's.
    """
    out = history.window("pool.in_use", over_s)
    busy = history.window("db.sessions.active", over_s)
    found, at = [], 0
    for when, in_use in zip(out.at, out.values, strict=True):
        while at + 1 < len(busy) and busy.at[at + 1] <= when + 0.5:
            at += 1
        if len(busy) and abs(busy.at[at] - when) <= 2.0:
            found.append(max(0.0, in_use - busy.values[at]))
    return found
