"""What a log says of its visitors as a whole: the mix of routes, pauses, users a minute. Pure."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate

from premortem.load.imports.draft import literal, slug
from premortem.load.imports.ids import Routes

__all__ = ["busiest_stretch", "pace_of", "tasks_of", "think_of"]

ROUTES_MAX = 60
"""Tasks written; the rest is counted in a note."""
FEED_ROWS = 1_000
"""Targets written for a route: each stands for at least 0.1 % of its requests."""
POINTS_MAX = 480
"""Points of the rate: eight hours by the minute."""
USERS_MIN = 20
"""Users an interval at least, on average: with fewer the replayed shape is mostly chance."""
SHARES = (("p50", 0.5), ("p90", 0.9))
SILENCE_S = 30 * 24 * 3600
"""A month without a request is no rhythm: a wrong date, or two logs that do not belong together."""
INTERVALS_S = (1, 5, 10, 60, 300, 900, 3600, 6 * 3600, 24 * 3600)


def think_of(gaps_s: Sequence[float]) -> dict[str, float]:
    if not gaps_s:
        return {}
    ordered = sorted(gaps_s)
    return {name: ordered[int(len(ordered) * share)] for name, share in SHARES}


def busiest_stretch(per_second: Counter[int]) -> Counter[int]:
    """The requests between two silences of a month, where most of them are.

    >>> dict(busiest_stretch(Counter({5: 2, 6: 1, 9_000_000: 1})))
    {5: 2, 6: 1}
    """
    stretches: list[Counter[int]] = []
    last = -math.inf
    for second in sorted(per_second):
        if second - last > SILENCE_S:
            stretches.append(Counter())
        stretches[-1][second] = per_second[second]
        last = second
    return max(stretches, key=Counter.total)


def pace_of(per_second: Counter[int], per_visit: float) -> dict[str, object]:
    """Users an interval: requests ÷ requests a visit, so that a log that begins or ends in the
    middle of visits does not look like a burst."""
    first, last = min(per_second), max(per_second)
    span_s, visits = last - first, per_second.total() / per_visit
    fitting = [s for s in INTERVALS_S if span_s / s < POINTS_MAX] or [INTERVALS_S[-1]]
    clear = (s for s in fitting if visits * s >= USERS_MIN * span_s and s <= span_s)
    interval_s = next(clear, fitting[0])
    users = [0.0] * ((last - first) // interval_s + 1)
    for second, count in per_second.items():
        users[(second - first) // interval_s] += count / per_visit
    return {"kind": "replay", "users": [round(u, 2) for u in users], "interval_s": interval_s}


def tasks_of(
    targets: Counter[str],
) -> tuple[list[dict[str, object]], dict[str, list[dict[str, str]]], list[str]]:
    """``(tasks, feeds, notes)``: a task a route, in order of frequency."""
    routes = Routes(targets).grouped()
    ordered = sorted(routes, key=lambda route: (-routes[route].total(), route))
    tasks: list[dict[str, object]] = []
    feeds: dict[str, list[dict[str, str]]] = {}
    for route in ordered[:ROUTES_MAX]:
        found = routes[route]
        path = literal(next(iter(found)))
        if len(found) > 1:
            feed = _free(slug(route), feeds)
            feeds[feed] = [{"target": target} for target in _sample(found, FEED_ROWS)]
            path = f"{{{feed}.target}}"
        tasks.append(
            {"name": route, "weight": found.total(), "step": [{"get": path, "name": route}]}
        )
    rest = sum(routes[route].total() for route in ordered[ROUTES_MAX:])
    if not rest:
        return tasks, feeds, []
    share = rest / targets.total()
    return (
        tasks,
        feeds,
        [f"left out {len(ordered) - ROUTES_MAX} rarer routes, {share:.1%} of requests"],
    )


def _free(name: str, taken: Iterable[str]) -> str:
    known = set(taken)
    return next(n for n in (name, *(f"{name}_{i}" for i in range(2, 10**6))) if n not in known)


def _sample(counts: Counter[str], most: int) -> list[str]:
    """Rows in proportion to the counts: every occurrence, or evenly spaced ones of too many."""
    names = sorted(counts, key=lambda name: (-counts[name], name))
    ends = list(accumulate(counts[name] for name in names))
    total = ends[-1]
    size = min(most, total)
    return [names[bisect_right(ends, (i + 0.5) * total / size - 1e-9)] for i in range(size)]
