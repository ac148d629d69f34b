"""What could be done, what each step buys, and what does not help: all by evaluating the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from premortem.capacity.site import Capacity, Site, capacity, knee_sessions

__all__ = ["Effect", "Step", "apply", "candidates", "effect", "effects"]

Helps = Literal["yes", "no", "harms", "unknown"]

GAIN_MIN = 0.02
"""Less than 2 % cannot be told from the noise of a load test (its CV is seldom lower)."""


@dataclass(frozen=True, slots=True)
class Step:
    """One change of the declared settings: field and its new value."""

    name: str
    changes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Effect:
    """What a step does to the throughput, before and after in requests per second."""

    step: Step
    before: Capacity
    after: Capacity
    helps: Helps
    text: str


def apply(site: Site, step: Step) -> Site:
    """The site with the step taken. Raises ``ValueError`` for values no site can have."""
    return replace(site, **dict(step.changes))  # type: ignore[arg-type]


def candidates(site: Site) -> list[Step]:
    """The steps a small team would think of, the wrong ones included."""
    knee = knee_sessions(site)
    processes = site.web_servers * site.web_processes
    steps = [
        Step(f"cap requests in flight at {knee}", {"in_flight_max": knee}),
        Step(f"PgBouncer with {knee} server connections", {"pgbouncer_pool": knee}),
    ]
    small = knee // processes
    if small >= 1 and small != site.pool_size:
        steps.append(Step(f"pools of {small} connections", {"pool_size": small}))
    steps += [
        Step("two more web servers", {"web_servers": site.web_servers + 2}),
        Step("twice the web processes", {"web_processes": 2 * site.web_processes}),
        Step("pools twice as large", {"pool_size": 2 * site.pool_size}),
        Step(
            f"max_connections = {2 * site.max_connections}",
            {"max_connections": 2 * site.max_connections},
        ),
        Step("twice the database's cores", {"db_cores": 2 * site.db_cores}),
        Step("one more replica", {"replicas": site.replicas + 1}),
    ]
    return steps


def effects(site: Site) -> list[Effect]:
    """Every candidate evaluated, best first."""
    order: dict[Helps, int] = {"yes": 0, "unknown": 1, "no": 2, "harms": 3}
    found = [effect(site, step) for step in candidates(site)]
    return sorted(found, key=lambda e: (order[e.helps], -_surge(e.after)))


def effect(site: Site, step: Step) -> Effect:
    """Compare the site with and without the step, under a surge and at its best."""
    changed = apply(site, step)
    before, after = capacity(site), capacity(changed)
    helps = _helps(site, changed, before, after)
    return Effect(step, before, after, helps, _text(step, before, after, helps, changed))


def _surge(c: Capacity) -> float:
    return c.surge_per_s if c.surge_per_s is not None else 0.0


def _helps(site: Site, changed: Site, before: Capacity, after: Capacity) -> Helps:
    if changed.replicas > site.replicas and site.read_ratio is None:
        return "unknown"
    if before.surge_per_s is None or after.surge_per_s is None:
        return "unknown" if after.surge_per_s is None else "yes"
    if after.surge_per_s < before.surge_per_s * (1 - GAIN_MIN):
        return "harms"
    if after.best_per_s < before.best_per_s * (1 - GAIN_MIN):
        return "harms"
    if after.refused_connections > before.refused_connections:
        return "harms"
    gain = max(after.surge_per_s / before.surge_per_s, after.best_per_s / before.best_per_s)
    return "yes" if gain > 1 + GAIN_MIN else "no"


def _text(step: Step, before: Capacity, after: Capacity, helps: Helps, changed: Site) -> str:
    if helps == "unknown" and changed.replicas and changed.read_ratio is None:
        return f"{step.name}: not known until the share of reads is declared (read_ratio)"
    if helps == "unknown":
        return (
            f"{step.name}: not known, {after.sessions} sessions were never measured; "
            "measure higher loads"
        )
    verb = {"yes": "raises", "no": "leaves", "harms": "lowers"}[helps]
    text = f"{step.name}: {verb} {_change(before, after, helps)}"
    return text + _because(before, after, helps)


def _change(before: Capacity, after: Capacity, helps: Helps) -> str:
    now, then = before.surge_per_s, after.surge_per_s
    most = "at most " if after.surge_at_most else ""
    if helps == "no":
        return f"the throughput in a surge at {most}{_r(then)}"
    if now is None or then is None or abs(then / now - 1) <= GAIN_MIN:
        return f"the best throughput from {_r(before.best_per_s)} to {_r(after.best_per_s)}"
    return f"the throughput in a surge from {_r(now)} to {most}{_r(then)}"


def _because(before: Capacity, after: Capacity, helps: Helps) -> str:
    if after.refused_connections > before.refused_connections:
        return f"; {after.refused_connections} pooled connections would be refused"
    if helps == "harms" and after.past_knee and after.sessions > before.sessions:
        return f": {after.sessions} sessions push the database past its knee at {after.knee:.0f}"
    if helps == "yes" and before.past_knee and not after.past_knee:
        return f": {after.sessions} sessions keep the database at its knee"
    if helps == "yes":
        return f"; then {after.first} is full first"
    return f": {after.first} is full first either way"


def _r(rate: float | None) -> str:
    return (
        "unknown"
        if rate is None
        else f"{rate:.0f} requests/s"
        if rate >= 10
        else f"{rate:.2g} requests/s"
    )
