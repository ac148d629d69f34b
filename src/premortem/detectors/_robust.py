"""Robust figures over short windows: a trend that outliers do not bend, a level with its spread."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, median
from typing import Literal

from premortem.model import History, Series

__all__ = ["Noise", "Reference", "Trend", "departure", "reference", "theil_sen", "thin"]

MAD_TO_SIGMA = 1.4826
"""Standard deviation over median absolute deviation of normal noise."""
POINTS_MAX = 24
"""A trend is taken over this many points at most: 276 pairs, whatever the window."""
SAMPLES_MIN = 6
"""Fewer earlier samples than this tell nothing about what is usual."""

Noise = Literal["any", "poisson"]
"""``poisson`` for counts per second: their spread is never below the root of the level."""


@dataclass(frozen=True, slots=True)
class Trend:
    """Slope in the metric's unit per second, with its interval."""

    slope: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Reference:
    """What a metric was before the last seconds: its level and standard deviation."""

    level: float
    sigma: float


def thin(series: Series, points: int = POINTS_MAX) -> Series:
    """At most ``points`` points, each the median of its share of the samples."""
    size = -(-len(series) // points)
    if size <= 1:
        return series
    cuts = range(0, len(series), size)
    return Series(
        tuple(median(series.at[i : i + size]) for i in cuts),
        tuple(median(series.values[i : i + size]) for i in cuts),
    )


def theil_sen(series: Series, confidence: float = 0.8) -> Trend | None:
    """The median of all pairwise slopes with Sen's interval (Sen 1968); ``None`` below 4 points.

    >>> theil_sen(Series((0.0, 1.0, 2.0, 3.0), (0.0, 2.0, 4.0, 6.0)))
    Trend(slope=2.0, low=2.0, high=2.0)
    """
    few = thin(series)
    n = len(few)
    if n < 4:
        return None
    slopes = sorted(
        (few.values[j] - few.values[i]) / (few.at[j] - few.at[i])
        for i in range(n)
        for j in range(i + 1, n)
    )
    margin = _margin(n, confidence)
    low = max(int((len(slopes) - margin) / 2), 0)
    high = min(int((len(slopes) + margin) / 2), len(slopes) - 1)
    return Trend(median(slopes), slopes[low], slopes[high])


def _margin(n: int, confidence: float) -> float:
    """Ranks between the ends of the interval: z times the deviation of Kendall's S."""
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    return z * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)


def reference(
    history: History, metric: str, *, over_s: float, gap_s: float, noise: Noise, sigma_min: float
) -> Reference | None:
    """Level and spread of the samples between ``over_s`` and ``gap_s`` seconds ago."""
    plain = history.remember(_reference, metric, over_s, gap_s)
    if plain is None:
        return None
    sigma = max(plain.sigma, sigma_min)
    if noise == "poisson":
        sigma = max(sigma, math.sqrt(max(plain.level, 1.0)))
    return Reference(plain.level, sigma)


def _reference(history: History, metric: str, over_s: float, gap_s: float) -> Reference | None:
    series = history.window(metric, over_s)
    values = series.values[: bisect_right(series.at, history.now - gap_s)]
    if len(values) < SAMPLES_MIN:
        return None
    middle = median(values)
    return Reference(middle, MAD_TO_SIGMA * median(abs(v - middle) for v in values))


def departure(values: Sequence[float], usual: Reference) -> float:
    """By how many standard errors the mean of ``values`` lies above what was usual."""
    mean = sum(values) / len(values)
    return (mean - usual.level) / (usual.sigma / math.sqrt(len(values)))
