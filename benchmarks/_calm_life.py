"""An ordinary day of a site in a few minutes: its traffic, and what else goes on beside it. Pure.

A piece is a day: users come and go in the shape of a day, once they surge, and at random times
somebody makes a backup, vacuums, releases, loses the cache, or is on a very slow line.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from premortem.drills.clients import poisson

__all__ = ["Happening", "Life", "life", "pace"]

Kind = Literal["surge", "backup", "vacuum", "deploy", "cache_lost", "slow_client"]

MEAN_SHARE, SWING_SHARE = 0.35, 0.2
"""Of the knee: 0.15 at night, 0.55 at noon, a comfortable site."""
SURGE_SHARE = 0.8
"""Headroom is left, hardly: random arrivals at 0.8 of the knee queue four times as long."""
SURGE_UP_S, SURGE_HOLD_S = 12.0, 25.0
"""As fast as the surge of the seeds, which went nearly four times as high."""
START_S = 30.0
"""Nothing but users at first, so that it is known what is usual."""
STEP_S = 5.0
"""Traffic is piecewise linear in steps of this."""
LASTS_S = {"surge": 2 * SURGE_UP_S + SURGE_HOLD_S, "deploy": 12.0, "cache_lost": 10.0,
           "slow_client": 25.0, "backup": 15.0, "vacuum": 15.0}  # fmt: skip
"""How long a happening is counted as going on; a backup and a vacuum end when they are done."""


@dataclass(frozen=True, slots=True)
class Happening:
    """Something healthy that a site lives through."""

    at_s: float
    kind: Kind
    recorded: bool = True
    """Whether somebody told the watch (a deploy is noted by every other team)."""


@dataclass(frozen=True, slots=True)
class Life:
    """One piece of calm life, drawn from a seed."""

    seconds: float
    noon_s: float
    cached: bool
    happenings: tuple[Happening, ...]

    def share(self, at_s: float) -> float:
        """Users at a moment, as a share of the knee."""
        angle = 2 * math.pi * (at_s - self.noon_s) / self.seconds
        day = MEAN_SHARE + SWING_SHARE * math.cos(angle)
        surges = (h for h in self.happenings if h.kind == "surge")
        return max([day, *(_surge(at_s - h.at_s, day) for h in surges)])


def life(seed: int, seconds: float) -> Life:
    """The piece of a seed: every kind once, at a random moment of its own stretch.

    Every other piece has a cache before its pages, which then can be lost.
    """
    dice = random.Random(f"calm-{seed}")
    cached = seed % 2 == 0
    kinds: list[Kind] = ["surge", "backup", "vacuum", "deploy", "slow_client"]
    if cached:
        kinds.append("cache_lost")
    dice.shuffle(kinds)
    stretch = (seconds - START_S) / len(kinds)
    happenings = tuple(
        Happening(
            START_S + i * stretch + dice.uniform(0.0, max(stretch - LASTS_S[kind], 0.0)),
            kind,
            recorded=dice.random() < 0.5,
        )
        for i, kind in enumerate(kinds)
    )
    return Life(seconds, dice.uniform(0.0, seconds), cached, happenings)


def pace(of: Life, knee_users_per_s: float) -> Sequence[dict[str, Any]]:
    """The traffic of a piece in the load engine's words."""
    cuts = [i * STEP_S for i in range(int(of.seconds / STEP_S) + 1)]
    rates = [of.share(at) * knee_users_per_s for at in cuts]
    return [poisson(STEP_S, now, then) for now, then in pairwise(rates)]


def _surge(since_s: float, day: float) -> float:
    """Up within seconds, held, and down again."""
    left_s = LASTS_S["surge"] - since_s
    height = min(since_s, left_s, SURGE_UP_S) / SURGE_UP_S
    return day + (SURGE_SHARE - day) * height if height > 0 else 0.0
