"""A count held exactly flat at its limit is saturation, not stability."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from premortem.model import History, Signal

__all__ = ["Plateau"]


@dataclass(frozen=True, slots=True)
class Plateau:
    """Signals while the last ``samples`` samples are one and the same value near the limit."""

    metric: str
    limit_metric: str
    share: float = 0.9
    """Clamped counts sit a little below the nominal limit (reserved slots, one in hand-over)."""
    samples: int = 5
    """A free count of a busy system does not stay the same for five seconds."""
    words: str = ""

    def detect(self, history: History) -> Iterator[Signal]:
        """Yield one signal or none."""
        if history.value(self.metric) is None:
            return
        series = history.window(self.metric, 3.0 * self.samples)
        most = history.value(self.limit_metric, max_age_s=60.0)
        values = series.values[-self.samples :]
        if most is None or most <= 0 or len(values) < self.samples:
            return
        if min(values) != max(values):
            return
        if values[-1] < most * self.share:
            return
        tail = f"; {self.words}" if self.words else ""
        note = f"{self.metric} is held at {values[-1]:.3g} of {most:.3g}{tail}"
        since = series.at[-self.samples]
        yield Signal("plateau", self.metric, values[-1], most, since, 0.0, note)
