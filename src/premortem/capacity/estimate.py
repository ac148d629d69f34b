"""A number that is not known exactly, and how to draw it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Estimate", "calibration"]

Z_90 = 1.6448536269514722
"""Standard normal quantile of 95 %: the ends of a 90 % interval."""

PAIRS_SURE = 5
"""Below this many comparisons their own range is too narrow; it is widened by √(5/n)."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A positive quantity: its middle and the ends of its 90 % interval.

    Raises ``ValueError`` unless 0 < low ≤ mid ≤ high.
    """

    low: float
    mid: float
    high: float

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.mid <= self.high < math.inf:
            raise ValueError(
                f"an estimate needs 0 < low <= mid <= high, got {self.low:g}, {self.mid:g}, "
                f"{self.high:g}"
            )

    @staticmethod
    def exactly(value: float) -> Estimate:
        """A known number."""
        return Estimate(value, value, value)

    def scaled(self, factor: float) -> Estimate:
        """The same, ``factor`` times as large."""
        return Estimate(self.low * factor, self.mid * factor, self.high * factor)

    def draw(self, dice: np.random.Generator, count: int) -> NDArray[np.float64]:
        """``count`` values: normal on logarithms, with its own spread on either side."""
        z = dice.standard_normal(count) / Z_90
        below, above = math.log(self.low / self.mid), math.log(self.high / self.mid)
        drawn: NDArray[np.float64] = self.mid * np.exp(np.where(z < 0, -z * below, z * above))
        return drawn


def calibration(observed: Sequence[float], modelled: Sequence[float]) -> Estimate:
    """Observed ÷ modelled: what every modelled number must be multiplied by.

    The middle is the median of the ratios, the ends their range, widened for few pairs. Without a
    pair the model is taken at its word. Raises ``ValueError`` for values that are not positive.
    """
    if any(not v > 0 for v in (*observed, *modelled)):
        raise ValueError("observed and modelled throughputs must be positive")
    ratios = sorted(o / m for o, m in zip(observed, modelled, strict=True))
    if not ratios:
        return Estimate.exactly(1.0)
    mid = float(np.median(ratios))
    wider = max(1.0, math.sqrt(PAIRS_SURE / len(ratios)))
    low = mid * (ratios[0] / mid) ** wider
    return Estimate(low, mid, mid * (ratios[-1] / mid) ** wider)
