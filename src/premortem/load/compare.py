"""Is this release slower than the last? Two sets of runs, judged without assuming a distribution.

Mann-Whitney U (exact for small samples without ties), the Hodges-Lehmann shift with its interval,
and the power the test had: "no difference" is only said where one would have been seen. Runs are
taken in turn (:func:`interleaved`), so that what changes with time hits both sides, and only runs
whose conditions hash alike are compared.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist, median
from typing import Literal

__all__ = [
    "Comparison",
    "NotComparable",
    "change_points",
    "comparability",
    "compare",
    "demand_comparable",
    "interleaved",
]

Verdict = Literal["better", "same", "worse", "cannot_tell"]
EXACT_MAX = 30
"""Samples a side up to which the exact distribution of U is computed."""
POWER_MIN = 0.8
"""Cohen's convention: below it, "no difference" is not said."""
NORMAL = NormalDist()


class NotComparable(ValueError):
    """Two runs were made under different conditions: says which."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two sets of runs say about each other."""

    verdict: Verdict
    shift: float
    """Hodges-Lehmann: the typical candidate - baseline, in the unit measured."""
    shift_low: float
    shift_high: float
    shift_ratio: float
    """The shift relative to the baseline's median."""
    superiority: float
    """Share of (baseline, candidate) pairs in which the candidate's value is higher, ties half."""
    p_value: float
    power: float
    """Chance with which a shift of ``smallest_effect`` would have been found."""
    reason: str


def interleaved(pairs: int, seed: int) -> Iterator[Literal["baseline", "candidate"]]:
    """The order of runs: pair after pair, which one goes first by chance.

    >>> list(interleaved(2, seed=1))
    ['baseline', 'candidate', 'candidate', 'baseline']
    """
    dice = random.Random(seed)
    for _ in range(pairs):
        first = dice.random() < 0.5
        yield "baseline" if first else "candidate"
        yield "candidate" if first else "baseline"


@lru_cache(maxsize=64)
def _arrangements(n: int, m: int) -> tuple[int, ...]:
    """How many of the arrangements of n and m values give each U, from 0 to n * m.

    The coefficients of the Gaussian binomial, multiplied out factor by factor (Mann and Whitney,
    1947): ``prod((1 - q**(m + i)) / (1 - q**i))``.
    """
    counts = [1] + [0] * (n * m)
    for i in range(1, n + 1):
        for u in range(n * m, m + i - 1, -1):
            counts[u] -= counts[u - m - i]
        for u in range(i, n * m + 1):
            counts[u] += counts[u - i]
    return tuple(counts)


def _u(baseline: Sequence[float], candidate: Sequence[float]) -> float:
    return math.fsum((c > b) + 0.5 * (c == b) for c in candidate for b in baseline)


def _p_value(u: float, baseline: Sequence[float], candidate: Sequence[float]) -> float:
    """Two-sided."""
    n, m = len(baseline), len(candidate)
    pooled = [*baseline, *candidate]
    if len(set(pooled)) == len(pooled) and max(n, m) <= EXACT_MAX:
        counts = _arrangements(n, m)
        tail = sum(counts[: math.floor(min(u, n * m - u)) + 1])
        return min(1.0, 2.0 * tail / math.comb(n + m, n))
    spread = _u_deviation(pooled, n, m)
    if not spread:
        return 1.0
    distance = max(0.0, abs(u - n * m / 2.0) - 0.5)  # continuity correction
    return 2.0 * (1.0 - NORMAL.cdf(distance / spread))


def _u_deviation(pooled: Sequence[float], n: int, m: int) -> float:
    """Standard deviation of U without an effect, corrected for ties."""
    total = n + m
    ties = [pooled.count(value) for value in set(pooled)]
    correction = math.fsum(t**3 - t for t in ties) / (total * (total - 1))
    return math.sqrt(n * m / 12.0 * (total + 1 - correction))


def _interval(differences: Sequence[float], n: int, m: int, alpha: float) -> tuple[float, float]:
    """Of the Hodges-Lehmann shift: the ordered differences at U's critical ranks."""
    reach = NORMAL.inv_cdf(1.0 - alpha / 2.0) * math.sqrt(n * m * (n + m + 1) / 12.0)
    rank = max(0, math.floor(n * m / 2.0 - reach))
    return differences[rank], differences[-1 - rank]


def _power(
    baseline: Sequence[float], candidate: Sequence[float], effect: float, alpha: float
) -> float:
    """Noether's approximation (1987), with the spread of the samples themselves."""
    n, m = len(baseline), len(candidate)
    centred = [x - median(side) for side in (baseline, candidate) for x in side]
    pairs = [(a, b) for i, a in enumerate(centred) for j, b in enumerate(centred) if i != j]
    chance = math.fsum((b + effect > a) + 0.5 * (b + effect == a) for a, b in pairs) / len(pairs)
    reach = math.sqrt(12.0 * n * m / (n + m)) * abs(chance - 0.5)
    return NORMAL.cdf(reach - NORMAL.inv_cdf(1.0 - alpha / 2.0))


def compare(
    baseline: Sequence[float],
    candidate: Sequence[float],
    *,
    higher_is_better: bool,
    smallest_effect: float = 0.05,
    alpha: float = 0.05,
) -> Comparison:
    """Judge the candidate's values (one a run) against the baseline's.

    ``smallest_effect`` is the change that matters, relative to the baseline's median. Raises
    ``ValueError`` for fewer than four runs a side, as no result could then pass ``alpha`` = 5 %.
    """
    n, m = len(baseline), len(candidate)
    if min(n, m) < 4:
        raise ValueError(f"at least 4 runs a side are needed, got {n} and {m}")
    if not all(map(math.isfinite, [*baseline, *candidate])):
        raise ValueError("every run needs a finite value")
    u = _u(baseline, candidate)
    p_value = _p_value(u, baseline, candidate)
    differences = sorted(c - b for c in candidate for b in baseline)
    low, high = _interval(differences, n, m, alpha)
    scale = abs(median(baseline)) or 1.0
    matters = smallest_effect * scale
    power = _power(baseline, candidate, matters, alpha)
    shift = median(differences)
    verdict, reason = _judge(shift, low, high, p_value, power, matters, alpha, higher_is_better)
    return Comparison(verdict, shift, low, high, shift / scale, u / (n * m), p_value, power, reason)


def _judge(
    shift: float, low: float, high: float, p_value: float, power: float, matters: float,
    alpha: float, higher_is_better: bool,
) -> tuple[Verdict, str]:  # fmt: skip
    if p_value < alpha and abs(shift) >= matters:
        good = (shift > 0) == higher_is_better
        return ("better" if good else "worse"), f"p = {p_value:.3g} and the change matters"
    if -matters < low and high < matters:
        return "same", "the whole interval is smaller than what matters"
    if p_value >= alpha and power >= POWER_MIN:
        return "same", f"a change that matters would have been found with power {power:.2f}"
    return "cannot_tell", f"p = {p_value:.3g}, power {power:.2f}: take more runs"


def change_points(
    values: Sequence[float], *, least: int = 4, alpha: float = 0.05
) -> tuple[int, ...]:
    """Where a series changed its level: the index at which each new stretch begins.

    Binary segmentation: the split whose Mann-Whitney p-value is smallest, if that is below
    ``alpha`` after Bonferroni's correction for the splits tried; then the same on both sides.
    Stretches are at least ``least`` values long.

    >>> change_points([100, 101, 99, 100, 102, 98, 100, 80, 81, 79, 80, 82, 78])
    (7,)
    """
    splits = range(least, len(values) - least + 1)
    if not splits:
        return ()

    def chance(at: int) -> float:
        return _p_value(_u(values[:at], values[at:]), values[:at], values[at:])

    best = min(splits, key=chance)
    if chance(best) * len(splits) >= alpha:
        return ()
    before = change_points(values[:best], least=least, alpha=alpha)
    after = change_points(values[best:], least=least, alpha=alpha)
    return (*before, best, *(best + at for at in after))


def comparability(conditions: Mapping[str, object]) -> str:
    """A short hash of what must be alike: journey, pace, settings, machine, engine.

    >>> comparability({"rate": 5, "journey": "a"}) == comparability({"journey": "a", "rate": 5})
    True
    """
    text = json.dumps(conditions, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def demand_comparable(one: Mapping[str, object], other: Mapping[str, object]) -> None:
    """Raise :class:`NotComparable` that names the conditions which differ."""
    differing = [k for k in sorted({*one, *other}) if one.get(k) != other.get(k)]
    if differing:
        told = "; ".join(f"{k}: {one.get(k)!r} against {other.get(k)!r}" for k in differing)
        raise NotComparable(f"the runs were made under different conditions: {told}")
