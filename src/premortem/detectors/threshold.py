"""A metric beyond its limit for some samples in a row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from premortem.model import History, Signal

__all__ = ["Threshold"]

LOOK_BACK_S = 15.0
"""Samples older than this belong to another moment."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """Signals while the last ``samples`` samples of ``metric`` all lie beyond the limit.

    The limit is ``limit``, or ``share`` of the value of ``limit_metric``, raised to
    ``times_usual`` times the baseline where that is given. With ``while_metric`` the latest
    samples of that metric must lie above ``while_above`` as well.
    """

    metric: str
    limit: float = 0.0
    limit_metric: str | None = None
    share: float = 1.0
    times_usual: float | None = None
    below: bool = False
    samples: int = 3
    while_metric: str | None = None
    while_above: float = 0.0
    words: str = ""
    """What it means for a person; the value and the limit are put before it."""

    def detect(self, history: History) -> Iterator[Signal]:
        """Yield one signal or none."""
        if history.value(self.metric) is None:
            return
        values = history.window(self.metric, LOOK_BACK_S).values[-self.samples :]
        limit = self._limit(history)
        if limit is None or len(values) < self.samples or not self._companion(history):
            return
        if not all(self._beyond(v, limit) for v in values):
            return
        since = (
            history.since(self.metric, below=limit)
            if self.below
            else history.since(self.metric, above=limit)
        )
        at = history.now if since is None else since
        unit = history.metrics[self.metric].unit
        note = f"{self.metric} is {values[-1]:.3g} {unit} against {limit:.3g}"
        yield Signal(
            "threshold",
            self.metric,
            values[-1],
            limit,
            at,
            0.0,
            f"{note}: {self.words}" if self.words else note,
        )

    def _beyond(self, value: float, limit: float) -> bool:
        return value < limit if self.below else value > limit

    def _limit(self, history: History) -> float | None:
        limit: float | None = self.limit
        if self.limit_metric is not None:
            most = history.value(self.limit_metric, max_age_s=60.0)
            limit = None if most is None or most <= 0 else most * self.share
        if limit is not None and self.times_usual is not None:
            usual = history.baseline(self.metric)
            limit = None if usual is None else max(limit, usual.median * self.times_usual)
        return limit

    def _companion(self, history: History) -> bool:
        if self.while_metric is None:
            return True
        values = history.window(self.while_metric, LOOK_BACK_S).values[-self.samples :]
        return len(values) == self.samples and min(values) > self.while_above
