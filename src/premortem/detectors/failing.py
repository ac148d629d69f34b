"""A source that fails: its error is evidence, never a gap."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from premortem.model import History, Signal

__all__ = ["Failing"]


@dataclass(frozen=True, slots=True)
class Failing:
    """Signals when ``source`` failed ``times`` times in ``over_s`` with ``text`` in its error."""

    source: str
    metric: str
    """The metric the failure stands for, to file the signal under."""
    text: str = ""
    without: str | None = None
    """Errors with this text are meant to be: a polite refusal is no failure."""
    times: int = 2
    """One failure may be an accident of the moment; the second is not."""
    over_s: float = 6.0

    def detect(self, history: History) -> Iterator[Signal]:
        """Yield one signal or none."""
        seen = [f for f in history.failures(self.source, self.over_s) if self._counts(f.error)]
        if len(seen) < self.times:
            return
        last = seen[-1].error[:80]
        note = f"{self.source} failed {len(seen)} times in {self.over_s:.0f} s: {last}"
        yield Signal(
            "failing", self.metric, float(len(seen)), float(self.times), seen[0].at, 0.0, note
        )

    def _counts(self, error: str) -> bool:
        return self.text in error and (self.without is None or self.without not in error)
