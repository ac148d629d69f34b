"""Seconds until a metric reaches its limit, from a robust trend."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from premortem.detectors._robust import (
    Noise,
    Trend,
    departure,
    reference,
    theil_sen,
)
from premortem.model import History, Signal

__all__ = ["Runway"]


@dataclass(frozen=True, slots=True)
class Runway:
    """Signals when ``metric`` has left its usual range and heads for its limit within the horizon.

    The limit is ``limit``, or ``share`` of ``limit_metric``, or, with ``busy_metric``, the
    capacity that the utilisation law gives: rate / busy share (U = X * S, so U = 1 at X / U).
    Three things must hold, so that noise alone never signals: the mean of the last ``recent``
    samples lies ``sigmas`` standard errors above the samples before; the trend (Theil-Sen over
    ``window_s``) rises, and so does the low end of its interval; the limit is near.
    """

    metric: str
    limit: float | None = None
    limit_metric: str | None = None
    share: float = 1.0
    busy_metric: str | None = None
    horizon_s: float = 30.0
    """A warning is worth giving when there is time to act; later ones come again."""
    window_s: float = 6.0
    """Long enough for a slope from 1 s samples, short enough to see a ramp of seconds."""
    gap_s: float = 4.0
    """The last seconds are what is judged, not what it is judged by."""
    reference_s: float = 60.0
    recent: int = 2
    sigmas: float = 5.2
    """At 4.5 a simulated site at 40-70 % load raised 11 false warnings in 3 h, at 5.2 none."""
    sigma_min: float = 0.0
    noise: Noise = "any"
    words: str = ""

    def detect(self, history: History) -> Iterator[Signal]:
        """Yield one signal or none."""
        series = history.window(self.metric, self.window_s)
        values = series.values[-self.recent :]
        if len(series) < 4 or series.at[-1] < history.now - 5.0:
            return
        if not self._departed(history, values) or (limit := self._limit(history)) is None:
            return
        level = sum(values) / len(values)
        if level >= limit:
            yield self._signal(history, level, limit, 0.0, "at its limit")
            return
        trend = theil_sen(series)
        if trend is None or trend.low <= 0:
            return
        left_s = (limit - level) / trend.slope
        if left_s <= self.horizon_s:
            yield self._signal(history, level, limit, left_s, _when(limit - level, trend))

    def _departed(self, history: History, values: tuple[float, ...]) -> bool:
        usual = reference(
            history,
            self.metric,
            over_s=self.reference_s,
            gap_s=self.gap_s,
            noise=self.noise,
            sigma_min=self.sigma_min,
        )
        if usual is None or usual.sigma <= 0:
            return usual is not None and min(values) > usual.level
        return departure(values, usual) >= self.sigmas

    def _limit(self, history: History) -> float | None:
        if self.busy_metric is not None:
            return self._capacity(history, self.busy_metric)
        if self.limit_metric is None:
            return self.limit
        most = history.value(self.limit_metric, max_age_s=60.0)
        return None if most is None or most <= 0 else most * self.share

    def _capacity(self, history: History, busy_metric: str) -> float | None:
        rate, busy = (
            reference(
                history, m, over_s=self.reference_s, gap_s=self.gap_s, noise="any", sigma_min=0.0
            )
            for m in (self.metric, busy_metric)
        )
        if rate is None or busy is None or busy.level < 0.05 or rate.level <= 0:
            return None
        return rate.level / busy.level * self.share

    def _signal(
        self, history: History, level: float, limit: float, left_s: float, when: str
    ) -> Signal:
        unit = history.metrics[self.metric].unit
        note = f"{self.metric} is {level:.3g} {unit}, limit {limit:.3g}: {when}"
        tail = f"; {self.words}" if self.words else ""
        return Signal(
            "runway", self.metric, level, limit, history.now, max(left_s, 0.0), note + tail
        )


def _when(left: float, trend: Trend) -> str:
    """The time to the limit with its interval, in words."""
    soon, late = left / trend.high, left / trend.low if trend.low > 0 else math.inf
    return f"reached in {left / trend.slope:.0f} s (80 % interval {soon:.0f} to {late:.0f} s)"
