"""Names what saturates at the knee, from how loaded each resource was in each trial.

Brendan Gregg's USE method as a rule: the resource that is (nearly) fully used at the knee and was
not before. Two are often full at once, because a slow tier fills the pools in front of it: then the
deeper one is the cause. By the utilisation law (U = X * D) the others' own limits follow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Literal

from premortem.load.knee import Knee, Measured

__all__ = ["Bottleneck", "Resource", "name_bottleneck"]

FULL = 0.85
"""Used this much, a resource makes its users wait 1 / (1 - 0.85) = 7 times its service time."""
SHARE_FULL = 0.5
"""A class of waiting that holds half of all active sessions is what they wait for."""
NEAR = 0.1
"""Processors this close in level are not to be told apart by sampling: then the deeper one."""
SLOWED = 0.5
"""A queue answers 1 / (1 - busy) times slower than an idle one: twice as slow is half busy. What
gets slower *than that* while nothing behind it is full has its limit in itself."""
LIMITS: Mapping[str, float] = {
    "utilisation": FULL,
    "slots": FULL,
    "share": SHARE_FULL,
    "latency": SLOWED,
}
BROKEN_SPAN = 1.35
"""Up to here above the knee trials say what broke: a third beyond, queues of seconds build up."""
CALM_SHARE = 0.75
"""Of the knee: at three quarters a queue is still short (M/M/1: three in it)."""
BEYOND = 1.05
"""What by its own figures would be full at the knee itself is full because of the first."""
GROWTH_MIN = 1.2
"""What was as full at a fraction of the load is not what the load filled."""


@dataclass(frozen=True, slots=True)
class Resource:
    """Something that can be full."""

    name: str
    depth: int
    """How deep it sits: clients, web, pool, downstream, database ascending."""
    kind: Literal["utilisation", "slots", "share", "latency"] = "utilisation"
    """``utilisation``: busy ÷ capacity of a processor; ``slots``: taken ÷ all, which a slow tier
    behind them fills too; ``share``: of active sessions that wait for it; ``latency``: its time of
    answer in ms, as the tier in front of it saw it."""


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """The saturated resource with its evidence, or why none is named."""

    resource: str | None
    level_at_knee: float
    limit_per_s: float | None
    """The rate at which it is full, by the utilisation law."""
    next_resource: str | None
    next_per_s: float | None
    """What would be full next, and at which rate, if the first one were widened."""
    reason: str


def _at_knee(trials: Sequence[Measured], knee: Knee) -> list[Measured]:
    """The trials in which it broke: from the lowest rate that did not hold to a third more.

    Just below the knee the scarce resource is idle now and then; far above it everything in front
    of it fills up too.
    """
    edge = knee.high_per_s or knee.users_per_s or 0.0
    broke = [t for t in trials if edge * 0.999 <= t.users_per_s <= edge * BROKEN_SPAN and t.levels]
    return broke or [min(trials, key=lambda t: abs(t.users_per_s - edge))]


def _far_above(trials: Sequence[Measured], knee: Knee) -> list[Measured]:
    """Those further above, where everything in front of the scarce resource fills up too."""
    edge = knee.high_per_s or knee.users_per_s or 0.0
    return [t for t in trials if t.users_per_s > edge * BROKEN_SPAN and t.levels]


def _levels(trials: Sequence[Measured], resources: Sequence[Resource]) -> dict[str, float]:
    found = {r.name: _level(trials, r.name) for r in resources}
    return {name: level for name, level in found.items() if level is not None}


def _level(trials: Sequence[Measured], name: str) -> float | None:
    levels = [t.levels[name] for t in trials if name in t.levels]
    return median(levels) if levels else None


def _limit_per_s(trials: Sequence[Measured], name: str, knee_per_s: float) -> float | None:
    """Where it would be full: median of rate ÷ level, over trials calm enough that nothing yet
    waits for anything else (a slot is held longer the slower the rest is)."""
    limits = [
        t.served_per_s / t.levels[name]
        for t in trials
        if t.users_per_s <= CALM_SHARE * knee_per_s
        if t.served_per_s > 0.0 and t.levels.get(name, 0.0) >= 0.02  # below: noise over noise
    ]
    return median(limits) if limits else None


def _grew(trials: Sequence[Measured], name: str, level: float) -> bool:
    known = [t for t in trials if name in t.levels]
    calmest = min(known, key=lambda t: t.users_per_s)
    return calmest.levels[name] * GROWTH_MIN <= level


def name_bottleneck(knee: Knee, resources: Sequence[Resource]) -> Bottleneck:
    """Say which resource is saturated at the knee and which would be next."""
    if knee.users_per_s is None:
        return Bottleneck(None, 0.0, None, None, None, f"no knee: {knee.reason}")
    trials = _with_slowness(knee.trials, resources)
    levels = _levels(_at_knee(trials, knee), resources)
    if not levels:
        return Bottleneck(None, 0.0, None, None, None, "no resource was sampled at the knee")
    first = _fullest(trials, resources, levels)
    if first is not None:
        return _result(trials, resources, levels, first, knee.users_per_s)
    # a few samples of something that is full most of the time may say four fifths: look further up
    above = _levels(_far_above(trials, knee), resources)
    first = _fullest(trials, resources, above)
    if first is not None:
        return _result(trials, resources, above, first, knee.users_per_s, "beyond the knee")
    top = max(levels, key=lambda name: levels[name])
    reason = f"nothing sampled is full at the knee; fullest is {top} at {levels[top]:.0%}"
    return Bottleneck(None, levels[top], None, None, None, reason)


def _with_slowness(
    trials: Sequence[Measured], resources: Sequence[Resource]
) -> tuple[Measured, ...]:
    """Times of answer turned into how busy a queue with such times is: 1 - calm ÷ now."""
    calm: dict[str, float] = {}
    for name in (r.name for r in resources if r.kind == "latency"):
        known = [t for t in trials if t.levels.get(name, 0.0) > 0.0]
        if known:
            calm[name] = min(known, key=lambda t: t.users_per_s).levels[name]

    def turned(name: str, level: float) -> float:
        return max(0.0, 1.0 - calm[name] / level) if name in calm and level > 0.0 else level

    return tuple(
        replace(t, levels={name: turned(name, level) for name, level in t.levels.items()})
        for t in trials
    )


def _fullest(
    trials: Sequence[Measured], resources: Sequence[Resource], levels: Mapping[str, float]
) -> Resource | None:
    """The deepest resource that is full and grew.

    Slots fill behind whatever is slow, so any deeper full resource explains them. Of processors
    that are both full the deeper counts only if it is as full as the other. A time of answer is
    measured by the web tier, and says nothing while that tier's own processor is full.
    """
    full = [
        r
        for r in resources
        if r.name in levels
        and levels[r.name] >= LIMITS[r.kind]
        and _grew(trials, r.name, levels[r.name])
    ]
    busiest = max((levels[r.name] for r in full if r.kind == "utilisation"), default=0.0)
    if busiest:
        full = [r for r in full if r.kind != "latency"]
    leading = [r for r in full if r.kind != "utilisation" or levels[r.name] >= busiest - NEAR]
    return max(leading, key=lambda r: (r.depth, levels[r.name]), default=None)


def _result(
    trials: Sequence[Measured],
    resources: Sequence[Resource],
    levels: Mapping[str, float],
    first: Resource,
    knee_per_s: float,
    where: str = "at the knee",
) -> Bottleneck:
    limits = {
        r.name: limit
        for r in resources
        if r.kind in ("utilisation", "slots") and r.name in levels
        if (limit := _limit_per_s(trials, r.name, knee_per_s)) is not None
    }
    others = {n: at for n, at in limits.items() if n != first.name and at > knee_per_s * BEYOND}
    following = min(others, key=lambda name: others[name], default=None)
    words = {
        "utilisation": "is {:.0%} busy {where}",
        "slots": "is {:.0%} taken {where}, and nothing behind it is full",
        "share": "holds up {:.0%} of the database's active sessions {where}",
        "latency": "answers slower {where}, as a queue does that is {:.0%} busy",
    }[first.kind]
    return Bottleneck(
        first.name,
        levels[first.name],
        limits.get(first.name),
        following,
        None if following is None else others[following],
        f"{first.name} {words.format(levels[first.name], where=where)}",
    )
