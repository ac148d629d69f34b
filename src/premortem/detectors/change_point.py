"""A metric that has jumped to another level within seconds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from premortem.detectors._robust import Noise, departure, reference
from premortem.model import History, Signal

__all__ = ["ChangePoint"]


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """Signals when the last ``recent`` samples lie far above the minute before.

    Both must hold: ``times`` the level before, and ``sigmas`` standard errors above it. The signal
    ends by itself when the new level has become the minute before.
    """

    metric: str
    times: float = 2.0
    """Twice the traffic within seconds: no daily shape does that."""
    sigmas: float = 6.0
    """Bursts of real users are wider than Poisson; six leaves room for that."""
    level_min: float = 5.0
    """Twice next to nothing is the start of a day, not a surge."""
    recent: int = 2
    gap_s: float = 4.0
    reference_s: float = 60.0
    sigma_min: float = 0.0
    noise: Noise = "any"
    words: str = ""

    def detect(self, history: History) -> Iterator[Signal]:
        """Yield one signal or none."""
        values = history.window(self.metric, 5.0).values[-self.recent :]
        if len(values) < self.recent:
            return
        usual = reference(
            history,
            self.metric,
            over_s=self.reference_s,
            gap_s=self.gap_s,
            noise=self.noise,
            sigma_min=self.sigma_min,
        )
        if usual is None or usual.level < self.level_min:
            return
        level, limit = sum(values) / len(values), usual.level * self.times
        if level < limit or departure(values, usual) < self.sigmas:
            return
        tail = f"; {self.words}" if self.words else ""
        note = f"{self.metric} jumped from {usual.level:.3g} to {level:.3g}{tail}"
        yield Signal("change_point", self.metric, level, limit, history.now, 0.0, note)
