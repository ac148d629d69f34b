"""Choose a configuration that is regretted least over many possible worlds.

After Netflix's service-capacity-modeling: draw worlds from the intervals of demand and capacity,
find each world's cheapest sufficient configuration, and rank every configuration by what choosing
it instead would have been regretted: ``(difference × weight)^1.2``, a shortfall weighing 1.25, a
surplus 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from premortem.capacity.demand import Floats
from premortem.capacity.estimate import Estimate
from premortem.capacity.site import Site, capacity, knee_sessions

__all__ = ["Choice", "Option", "Prices", "choose", "options", "regrets"]

UNDER_WEIGHT = 1.25
OVER_WEIGHT = 1.0
EXPONENT = 1.2
"""The three constants of the Netflix planner's spend regret."""

SCALING = Estimate(0.6, 0.8, 1.0)
"""Share of perfect scaling that more cores or replicas reach: 1 is the model's upper bound, 0.6 a
plain disappointment. Declared, not measured: a load test after the change replaces it."""

CORE_MULTIPLES = (1, 2, 4)
REPLICAS_MORE = (0, 1, 2)
WEB_MORE = (0, 1, 2, 4)


@dataclass(frozen=True, slots=True)
class Prices:
    """What things cost, in cores a month; only ratios matter."""

    web_core: float = 1.0
    database_core: float = 2.0
    """Databases run on memory and disks that web servers do not need."""
    setting: float = 0.05
    """A change of settings and its drill: an hour's work spread over the month."""


@dataclass(frozen=True, slots=True)
class Option:
    """One configuration: settings changed, monthly cost, and its throughput in a surge."""

    changes: Mapping[str, int]
    cost: float
    surge_per_s: float
    scaled: bool
    """More database cores or replicas than were measured: the throughput is uncertain."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The least regretted option, and what it is worth."""

    option: Option
    regret: float
    enough_probability: float
    """Share of worlds in which it serves the whole demand."""
    runner_up: Option | None


def options(site: Site, prices: Prices | None = None) -> Iterator[Option]:
    """Every combination of protecting the knee, cores, replicas and web servers that is known.

    Options whose sessions exceed what was measured are left out: nothing is known of them.
    """
    prices = prices or Prices()
    replicas = REPLICAS_MORE if site.read_ratio else (0,)
    web = WEB_MORE if site.web_cpu_s is not None else (0,)
    for cap, cores, more, servers in product((False, True), CORE_MULTIPLES, replicas, web):
        changed = replace(
            site,
            db_cores=site.db_cores * cores,
            replicas=site.replicas + more,
            web_servers=site.web_servers + servers,
        )
        if cap:
            changed = replace(changed, in_flight_max=knee_sessions(changed))
        found = capacity(changed)
        if found.surge_per_s is None or found.refused_connections > 0:
            continue
        changes = {
            f: getattr(changed, f)
            for f in ("in_flight_max", "db_cores", "replicas", "web_servers")
            if getattr(changed, f) != getattr(site, f)
        }
        cost = (
            prices.web_core * changed.web_servers * changed.web_cores
            + prices.database_core * changed.db_cores * (changed.replicas + 1)
            + prices.setting * len(changes)
        )
        yield Option(changes, cost, found.surge_per_s, cores > 1 or more > 0)


def regrets(
    offers: Sequence[Option], needed_per_s: Floats, scale: Floats, scaling: Floats
) -> Floats:
    """Mean regret of every option; one world a value of the three arrays.

    ``scale`` multiplies all capacities (how uncertain the curve is), ``scaling`` those of options
    that were not measured. A shortfall is worth the difference in cost, and at least the share of
    demand unserved times what the world's best option costs.
    """
    cost = np.array([o.cost for o in offers])
    held = _held(offers, scale, scaling)
    enough = held >= needed_per_s
    best_cost = np.where(enough.any(axis=0), np.where(enough, cost[:, None], np.inf).min(axis=0), 0)
    biggest = cost[held.argmax(axis=0)]
    best_cost = np.where(enough.any(axis=0), best_cost, biggest)
    unserved = np.maximum(0.0, 1 - held / needed_per_s)
    apart = np.abs(cost[:, None] - best_cost)
    over = (apart * OVER_WEIGHT) ** EXPONENT
    under = (np.maximum(apart, unserved * best_cost) * UNDER_WEIGHT) ** EXPONENT
    mean: Floats = np.where(enough, over, under).mean(axis=1)
    return mean


def choose(
    site: Site,
    needed_per_s: Floats,
    scale: Estimate,
    *,
    prices: Prices | None = None,
    seed: int = 1,
) -> Choice | None:
    """The option of least mean regret; ``None`` when no configuration is known well enough."""
    offers = list(options(site, prices))
    if not offers:
        return None
    dice = np.random.default_rng([seed, 7])
    worlds = len(needed_per_s)
    scales, scalings = scale.draw(dice, worlds), SCALING.draw(dice, worlds)
    means = regrets(offers, needed_per_s, scales, scalings)
    order = np.argsort(means, kind="stable")
    first = int(order[0])
    enough = float(np.mean(_held(offers, scales, scalings)[first] >= needed_per_s))
    second = offers[int(order[1])] if len(offers) > 1 else None
    return Choice(offers[first], float(means[first]), enough, second)


def _held(offers: Sequence[Option], scale: Floats, scaling: Floats) -> Floats:
    """Throughput of every option (rows) in every world (columns)."""
    surge = np.array([o.surge_per_s for o in offers])[:, None]
    uncertain = np.array([o.scaled for o in offers])[:, None]
    held: Floats = surge * scale * np.where(uncertain, np.minimum(scaling, 1.0), 1.0)
    return held
