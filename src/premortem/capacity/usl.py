"""The Universal Scalability Law: throughput as a function of load, and its exact inverses.

``X(N) = λN / (1 + σ(N−1) + κN(N−1))`` (Gunther, *Guerrilla Capacity Planning*, 2007). ``N`` is the
load (sessions in flight, processors, clients), ``X`` the throughput. λ is the throughput of one,
σ the share that must queue (contention), κ the cost of agreeing with each other (coherency): with
κ > 0 more load beyond ``N* = √((1−σ)/κ)`` gives *less* throughput.

Whether a measured curve may be quoted at all is decided in :mod:`premortem.capacity.intervals`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["BeyondCapacity", "Curve", "Fit", "Floats", "Usl", "fit"]

Floats = NDArray[np.float64]

POINTS_MIN = 4
"""Three unknowns need a fourth point before anything can be said about the error."""

ROUNDS_MAX = 200
"""Bound on Levenberg–Marquardt rounds; the reference curves settle in under 30."""


class BeyondCapacity(ValueError):
    """The throughput (or response time) asked for is one the curve never reaches."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Measured loads and the throughput at each, ascending in load, at least four points.

    Raises ``ValueError`` for fewer than four distinct loads, or values that are not positive and
    finite.
    """

    loads: tuple[float, ...]
    throughputs: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.loads) != len(self.throughputs):
            raise ValueError("a curve needs one throughput for every load")
        if len(set(self.loads)) < POINTS_MIN:
            raise ValueError(
                f"a curve needs at least {POINTS_MIN} different loads, got {len(set(self.loads))}"
            )
        if any(not (math.isfinite(v) and v > 0) for v in self.loads + self.throughputs):
            raise ValueError("loads and throughputs must be positive, finite numbers")
        pairs = sorted(zip(self.loads, self.throughputs, strict=True))
        object.__setattr__(self, "loads", tuple(n for n, _ in pairs))
        object.__setattr__(self, "throughputs", tuple(x for _, x in pairs))

    def means(self) -> tuple[tuple[float, float], ...]:
        """(load, mean throughput) of every different load, ascending."""
        by_load: dict[float, list[float]] = {}
        for n, x in zip(self.loads, self.throughputs, strict=True):
            by_load.setdefault(n, []).append(x)
        return tuple((n, math.fsum(xs) / len(xs)) for n, xs in by_load.items())

    def first(self, count: int) -> Curve:
        """The ``count`` lowest loads only: what was known before the rest was measured."""
        return Curve(self.loads[:count], self.throughputs[:count])


@dataclass(frozen=True, slots=True)
class Usl:
    """One scalability curve. Throughput and time share their unit of time (per second: seconds).

    >>> round(Usl(0.02, 0.02, 1.0).n_max, 6)
    7.0
    """

    sigma: float
    kappa: float
    lam: float

    def throughput(self, n: float) -> float:
        """X(N)."""
        return self.lam * n / (1 + self.sigma * (n - 1) + self.kappa * n * (n - 1))

    def response(self, n: float) -> float:
        """R(N) = N / X, the mean time one spends inside (Little's law)."""
        return (1 + self.sigma * (n - 1) + self.kappa * n * (n - 1)) / self.lam

    @property
    def n_max(self) -> float:
        """N*, the load of the highest throughput; infinite when κ = 0, 1 when σ ≥ 1."""
        if self.sigma >= 1:
            return 1.0
        return math.sqrt((1 - self.sigma) / self.kappa) if self.kappa > 0 else math.inf

    @property
    def x_max(self) -> float:
        """X*, the highest throughput; the ceiling λ/σ when κ = 0 (infinite when σ = 0 too)."""
        if math.isfinite(self.n_max):
            return self.throughput(self.n_max)
        return self.lam / self.sigma if self.sigma > 0 else math.inf

    def load_at_response(self, r: float) -> float:
        """N(R), the load at which a visit takes ``r``; :class:`BeyondCapacity` below R(1)."""
        s, k = self.sigma, self.kappa
        if r * self.lam < 1 - 1e-12:
            raise BeyondCapacity(f"a response time of {r:g} is less than that of one alone")
        if k == 0:
            if s == 0:
                raise BeyondCapacity("the response time never changes on this curve")
            return 1 + (r * self.lam - 1) / s
        root = s * s + k * k + 2 * k * (2 * self.lam * r + s - 2)
        return (k - s + math.sqrt(max(root, 0.0))) / (2 * k)

    def throughput_at_response(self, r: float) -> float:
        """X(R) = N(R) / R."""
        return self.load_at_response(r) / r

    def response_at_throughput(self, x: float) -> float:
        """R(X) on the near side of the peak. Raises :class:`BeyondCapacity` above X*."""
        return self.load_at_throughput(x) / x

    def load_at_throughput(self, x: float) -> float:
        """N(X), the lower of the two loads with throughput ``x``.

        The reference's R(X) = [B − √(B² − 4κX²(1−σ))] / (2κX²) is N(X)/X; a negative argument of
        the root means beyond capacity. Written so that it stays exact as κ goes to 0.
        """
        b = self.lam - self.sigma * x + self.kappa * x
        root = b * b - 4 * self.kappa * x * x * (1 - self.sigma)
        if x <= 0 or b <= 0 or root < -1e-12 * b * b:
            raise BeyondCapacity(f"a throughput of {x:g} is beyond the capacity of {self.x_max:g}")
        return 2 * x * (1 - self.sigma) / (b + math.sqrt(max(root, 0.0)))

    def scaled(self, factor: float) -> Usl:
        """The same system ``factor`` times as large: X'(N) = factor·X(N/factor) for large N.

        An approximation (perfect scaling): λ stays, σ and κ shrink.
        """
        return Usl(self.sigma / factor, self.kappa / factor**2, self.lam)


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted curve with the standard error of each parameter (``nan`` where held at 0)."""

    usl: Usl
    se_sigma: float
    se_kappa: float
    se_lam: float
    residuals: tuple[float, ...]
    leverages: tuple[float, ...]
    dof: int

    @property
    def rms(self) -> float:
        """Residual standard error, in the throughput's unit."""
        return math.sqrt(sum(r * r for r in self.residuals) / self.dof)


def fit(curve: Curve) -> Fit:
    """Least squares of the throughputs, σ, κ ≥ 0, with standard errors from the Jacobian."""
    n, x = np.array(curve.loads), np.array(curve.throughputs)
    theta = solve(n, x[None, :])[0]
    value, jacobian = _model(n, theta[None, :])
    free = theta > 0
    j = jacobian[0][:, free]
    dof = max(1, len(n) - int(free.sum()))
    residuals = x - value[0]
    size = np.sqrt((j * j).sum(axis=0))  # σ, κ and λ differ by many orders of magnitude
    inverse = np.linalg.pinv((j / size).T @ (j / size)) / np.outer(size, size)
    errors = np.full(3, np.nan)
    errors[free] = np.sqrt(np.diag(inverse) * float(residuals @ residuals) / dof)
    leverages = np.einsum("ij,jk,ik->i", j, inverse, j)
    sigma, kappa, lam = map(float, theta)
    se_sigma, se_kappa, se_lam = map(float, errors)
    return Fit(
        Usl(sigma, kappa, lam),
        se_sigma,
        se_kappa,
        se_lam,
        tuple(map(float, residuals)),
        tuple(map(float, leverages)),
        dof,
    )


def solve(n: Floats, x: Floats) -> Floats:
    """Fit every row of ``x`` (B × points) at once; returns B rows of (σ, κ, λ).

    Levenberg–Marquardt (Marquardt's diagonal scaling) with the bounds kept by projection: a
    parameter at 0 whose gradient points outwards rests for that round.
    """
    theta = np.tile(_start(n, x.mean(axis=0)), (len(x), 1))
    damping = np.full(len(x), 1e-2)
    value, jac = _model(n, theta)
    sse = ((x - value) ** 2).sum(axis=1)
    floor = 1e-26 * (x**2).sum(axis=1)  # no better in double precision
    for _ in range(ROUNDS_MAX):
        trial = np.maximum(theta + _step(theta, jac, x - value, damping), 0.0)
        trial_value, trial_jac = _model(n, trial)
        trial_sse = ((x - trial_value) ** 2).sum(axis=1)
        better = trial_sse < sse
        small = np.all(np.abs(trial - theta) <= 1e-10 * (np.abs(theta) + 1e-12), axis=1)
        gain = better & (sse - trial_sse > 1e-14 * sse)
        theta, value = (
            np.where(better[:, None], trial, theta),
            np.where(better[:, None], trial_value, value),
        )
        jac, sse = np.where(better[:, None, None], trial_jac, jac), np.where(better, trial_sse, sse)
        damping = np.clip(np.where(better, damping / 5, damping * 4), 1e-12, 1e12)
        if np.all(small | (~gain & (damping > 1e8)) | (sse <= floor)):
            break
    return theta


def _model(n: Floats, theta: Floats) -> tuple[Floats, Floats]:
    """X(N) for B parameter rows, and the derivative by σ, κ, λ (B × points × 3)."""
    s, k, lam = (theta[:, i, None] for i in range(3))
    below = 1 + s * (n - 1) + k * n * (n - 1)
    value = lam * n / below
    jac = np.stack([-value * (n - 1) / below, -value * n * (n - 1) / below, n / below], axis=2)
    return value, jac


def _step(theta: Floats, jac: Floats, residual: Floats, damping: Floats) -> Floats:
    gradient = np.einsum("bpi,bp->bi", jac, residual)
    normal = np.einsum("bpi,bpj->bij", jac, jac)
    resting = (theta <= 0) & (gradient <= 0)
    gradient = np.where(resting, 0.0, gradient)
    keep = ~(resting[:, :, None] | resting[:, None, :])
    normal = np.where(keep, normal, 0.0)
    diagonal = np.einsum("bii->bi", normal)
    scale = np.where(diagonal > 0, diagonal, 1.0)
    normal = normal + np.eye(3) * (scale * damping[:, None] + (diagonal <= 0))[:, None, :]
    # normalise: σ, κ and λ differ by many orders of magnitude
    root = np.sqrt(scale)
    matrix = normal / (root[:, :, None] * root[:, None, :])
    solved: Floats = np.linalg.solve(matrix, (gradient / root)[:, :, None])[:, :, 0] / root
    return solved


def _start(n: Floats, x: Floats) -> Floats:
    """A start from Gunther's linearisation: λN/X − 1 = σ(N−1) + κN(N−1)."""
    lam = float(np.max(x / n))
    lack = lam * n / x - 1
    design = np.stack([n - 1, n * (n - 1)], axis=1)
    s, k = np.linalg.lstsq(design, lack, rcond=None)[0]
    return np.array([max(float(s), 1e-3), max(float(k), 1e-8), lam])
