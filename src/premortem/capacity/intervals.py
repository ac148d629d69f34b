"""Bootstrap intervals of a scalability curve, and the gate before its peak may be quoted.

Why a gate: measured on PostgreSQL, a TPC-B curve cut at 32 sessions fits κ = 0 ("no limit") and
overshoots the throughput at 256 by 64 %; a select curve cut there undershoots by 35 to 47 %. So a
peak is quoted only when it was crossed, and nothing is said beyond the highest load measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from premortem.capacity.usl import Curve, Fit, Floats, fit, solve

__all__ = ["Interval", "Peak", "peak", "throughput_interval"]

POINTS_PAST_MIN = 2
"""Loads that must lie past the fitted peak: one alone may be a slow run (reference: gate)."""

RESAMPLES = 1000
"""The 5 % and 95 % points then rest on 50 resamples each."""

CONFIDENCE = 0.90
PEAKLESS_SHARE_MAX = (1 - CONFIDENCE) / 2
"""With more resamples without a peak than this, the interval of N* has no upper end."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A 90 % interval unless said otherwise, in the unit of what it is an interval of."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether ``value`` lies inside."""
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Peak:
    """What may be said of the highest throughput.

    When ``abstained``, ``n_max`` and ``x_max`` are ``None``, ``reason`` says why and what to do,
    and all that holds is "at least ``x_seen``, measured at load ``n_seen``".
    """

    n_max: float | None
    x_max: float | None
    n_interval: Interval | None
    x_interval: Interval | None
    n_seen: float
    x_seen: float
    sigma: Interval
    kappa: Interval
    lam: Interval
    abstained: bool
    reason: str


def peak(curve: Curve, fitted: Fit | None = None, *, seed: int = 1) -> Peak:
    """Pass the curve through the gate; chance comes only from ``seed``."""
    fitted = fitted or fit(curve)
    thetas = resample(curve, fitted, seed=seed)
    sigma, kappa, lam = (_middle(thetas[:, i]) for i in range(3))
    n_star, x_star = _peaks(thetas)
    n_interval, x_interval = _middle(n_star), _middle(x_star)
    reason = _refusal(curve, fitted, n_star)
    n_seen, x_seen = max(curve.means(), key=lambda point: point[1])
    quoted = not reason
    return Peak(
        fitted.usl.n_max if quoted else None,
        fitted.usl.x_max if quoted else None,
        n_interval if quoted else None,
        x_interval if quoted else None,
        n_seen,
        x_seen,
        sigma,
        kappa,
        lam,
        not quoted,
        reason,
    )


def throughput_interval(
    curve: Curve, load: float, fitted: Fit | None = None, *, seed: int = 1
) -> Interval | None:
    """Where a *measurement* at ``load`` would fall; ``None`` outside the loads measured."""
    if not curve.loads[0] <= load <= curve.loads[-1]:
        return None
    fitted = fitted or fit(curve)
    thetas = resample(curve, fitted, seed=seed)
    means = thetas[:, 2] * load / (1 + thetas[:, 0] * (load - 1) + thetas[:, 1] * load * (load - 1))
    dice = np.random.default_rng([seed, 1])
    measured = np.array(curve.throughputs)
    draws = _noise(fitted, means[:, None], measured, dice, len(means))[:, 0]
    return _middle(means + draws)


def resample(curve: Curve, fitted: Fit, *, seed: int, count: int = RESAMPLES) -> Floats:
    """Parametric bootstrap: ``count`` rows of (σ, κ, λ) fitted to curves that could have been."""
    n = np.array(curve.loads)
    mean = np.array(curve.throughputs) - np.array(fitted.residuals)
    dice = np.random.default_rng([seed, 0])
    draws = _noise(fitted, mean, mean, dice, count)
    floor = 1e-3 * float(mean.min())  # a throughput cannot be negative
    return solve(n, np.maximum(mean + draws, floor))


def _noise(fitted: Fit, at: Floats, means: Floats, dice: np.random.Generator, count: int) -> Floats:
    """``count`` rows of noise for throughputs ``at``, as wide as the residuals and unsure of it.

    The spread itself is drawn (scaled inverse χ², which makes Student's t of the normal): seven
    points know their own spread badly. It is taken in proportion to the throughput, as noise of
    throughput is, so that it is not understated at the peak, and never below the residuals.
    """
    spread = fitted.rms * np.sqrt(fitted.dof / dice.chisquare(fitted.dof, (count, 1)))
    shape = np.maximum(at / np.sqrt(np.mean(means**2)), 1.0)
    drawn: Floats = spread * shape * dice.standard_normal((count, at.shape[-1]))
    return drawn


def _peaks(thetas: Floats) -> tuple[Floats, Floats]:
    sigma, kappa, lam = thetas.T
    with np.errstate(divide="ignore", invalid="ignore"):
        n = np.where(kappa > 0, np.sqrt(np.maximum(1 - sigma, 0) / kappa), np.inf)
        n = np.maximum(n, 1.0)
        at_peak = lam * n / (1 + sigma * (n - 1) + kappa * n * (n - 1))
        x = np.where(np.isfinite(n), at_peak, np.where(sigma > 0, lam / sigma, np.inf))
    return n, x


def _middle(values: Floats) -> Interval:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values, [tail, 1 - tail], method="inverted_cdf")
    return Interval(float(low), float(high))


def _refusal(curve: Curve, fitted: Fit, n_star: Floats) -> str:
    """Why the peak may not be quoted, with the next step; empty when it may."""
    points = curve.means()
    top = points[-1][0]
    n_seen, x_seen = max(points, key=lambda point: point[1])
    seen = f"at least {x_seen:g}, measured at load {n_seen:g}"
    if fitted.usl.kappa == 0 or n_seen == top:
        return f"the curve did not bend down up to load {top:g}: {seen}; measure higher loads"
    past = sum(n > fitted.usl.n_max for n, _ in points)
    if past < POINTS_PAST_MIN:
        return (
            f"only {past} load past the peak, {POINTS_PAST_MIN} are needed: {seen}; "
            f"measure at two loads above {top:g}"
        )
    beyond = float(np.mean(n_star > top))
    if beyond > PEAKLESS_SHARE_MAX:
        return (
            f"{beyond:.0%} of resampled curves peak beyond the highest load measured, {top:g}: "
            f"{seen}; measure more often, or higher loads"
        )
    return ""
