"""Names what saturates at the knee, from how loaded each resource was in each trial.

Brendan Gregg's USE method as a rule: the resource that is (nearly) fully used at the knee and was
not before. Two are often full at once, because a slow tier fills the pools in front of it: then the
deeper one is the cause. By the utilisation law (U = X * D) the others' own limits follow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from premortem.load.knee import Knee, Measured

__all__ = ["Bottleneck", "Resource", "name_bottleneck"]

FULL = 0.85
"""Used this much, a resource makes its users wait 1 / (1 - 0.85) = 7 times its service time."""
SHARE_FULL = 0.5
"""A class of waiting that holds half of all active sessions is what they wait for."""
NEAR = 0.1
"""Levels this close are one another's consequence or not to be told apart by sampling."""
GROWTH_MIN = 1.2
"""What was as full at a fraction of the load is not what the load filled."""


@dataclass(frozen=True, slots=True)
class Resource:
    """Something that can be full."""

    name: str
    depth: int
    """How deep it sits: clients, web, pool, downstream, database ascending."""
    kind: Literal["utilisation", "share"] = "utilisation"
    """``utilisation``: busy ÷ capacity; ``share``: of active sessions that wait for it."""


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


def _at_knee(trials: Sequence[Measured], knee_per_s: float) -> list[Measured]:
    """The trials nearest to the knee: within 10 %, else the nearest one."""
    near = [t for t in trials if abs(t.users_per_s / knee_per_s - 1.0) <= 0.1]
    return near or [min(trials, key=lambda t: abs(t.users_per_s - knee_per_s))]


def _level(trials: Sequence[Measured], name: str) -> float | None:
    levels = [t.levels[name] for t in trials if name in t.levels]
    return median(levels) if levels else None


def _limit_per_s(trials: Sequence[Measured], name: str) -> float | None:
    """Where utilisation would reach 1: median of rate ÷ level over trials that say something."""
    limits = [
        t.served_per_s / t.levels[name]
        for t in trials
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
    near = _at_knee(knee.trials, knee.users_per_s)
    levels: dict[str, float] = {}
    for resource in resources:
        level = _level(near, resource.name)
        if level is not None:
            levels[resource.name] = level
    if not levels:
        return Bottleneck(None, 0.0, None, None, None, "no resource was sampled at the knee")
    first = _fullest(knee.trials, resources, levels)
    if first is None:
        top = max(levels, key=lambda name: levels[name])
        reason = f"nothing sampled is full at the knee; fullest is {top} at {levels[top]:.0%}"
        return Bottleneck(None, levels[top], None, None, None, reason)
    return _result(knee.trials, resources, levels, first)


def _fullest(
    trials: Sequence[Measured], resources: Sequence[Resource], levels: Mapping[str, float]
) -> Resource | None:
    """Of the resources that are full and grew, the deepest of those near the top."""
    full = [
        r
        for r in resources
        if r.name in levels
        and levels[r.name] >= (FULL if r.kind == "utilisation" else SHARE_FULL)
        and _grew(trials, r.name, levels[r.name])
    ]
    if not full:
        return None
    top = max((levels[r.name] for r in full if r.kind == "utilisation"), default=0.0)
    leading = [r for r in full if r.kind == "share" or levels[r.name] >= top - NEAR]
    return max(leading, key=lambda r: (r.depth, levels[r.name]))


def _result(
    trials: Sequence[Measured],
    resources: Sequence[Resource],
    levels: Mapping[str, float],
    first: Resource,
) -> Bottleneck:
    others = {
        r.name: limit
        for r in resources
        if r.name != first.name and r.kind == "utilisation" and r.name in levels
        if (limit := _limit_per_s([t for t in trials if t not in trials[-1:]], r.name)) is not None
    }
    following = min(others, key=lambda name: others[name], default=None)
    reason = f"{first.name} is at {levels[first.name]:.0%} at the knee"
    limit = _limit_per_s(trials, first.name) if first.kind == "utilisation" else None
    return Bottleneck(
        first.name,
        levels[first.name],
        limit,
        following,
        None if following is None else others[following],
        reason,
    )
