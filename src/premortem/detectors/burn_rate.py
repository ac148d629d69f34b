"""How fast the error budget of an objective burns, over pairs of windows."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from premortem.model import History, Signal

__all__ = ["PAGES", "BurnRate", "Window"]

BUCKET_S = 60.0
"""Readings are summed by the minute: six hours are 360 buckets."""


@dataclass(frozen=True, slots=True)
class Window:
    """A pair of windows and the burn rate at which both signal."""

    long_s: float
    short_s: float
    burn: float


PAGES = (Window(3600.0, 300.0, 14.4), Window(21600.0, 1800.0, 6.0))
"""2 % of a 30-day budget in 1 h, 5 % in 6 h (Google, SRE workbook, chapter 5, table 5-8)."""


@dataclass(slots=True)
class _Sums:
    """Minute buckets of (started at, bad share summed, samples), oldest first."""

    buckets: deque[list[float]]
    seen_at: float = float("-inf")


@dataclass(frozen=True, slots=True)
class BurnRate:
    """Signals when the share of bad answers eats the error budget too fast, long and short.

    For paging on slow burns; too slow as a trigger of a diagnosis. It keeps its own sums by the
    minute, because its windows are longer than a history: one instance belongs to one watch.
    """

    metric: str = "user.http.ok_ratio"
    """A share of good answers, 0 to 1."""
    objective: float = 0.999
    windows: tuple[Window, ...] = PAGES
    seen_s_min: float = 300.0
    """A window is judged by what is known of it; less than five minutes are not enough."""
    _sums: _Sums = field(
        default_factory=lambda: _Sums(deque(maxlen=int(PAGES[-1].long_s / BUCKET_S) + 1)),
        repr=False,
        compare=False,
    )

    def detect(self, history: History) -> Iterator[Signal]:
        """Take in the newest sample; yield one signal a window pair that burns."""
        self._take(history)
        buckets = self._sums.buckets
        if not buckets or history.now - buckets[0][0] < self.seen_s_min:
            return
        for window in self.windows:
            long = self._burn(history.now - window.long_s)
            short = self._burn(history.now - window.short_s)
            if min(long, short) >= window.burn:
                note = (
                    f"{self.metric}: the error budget of {self.objective:.2%} burns {short:.0f} "
                    f"times too fast ({window.long_s / 60:.0f} and {window.short_s / 60:.0f} min)"
                )
                since = history.now - window.short_s
                yield Signal("burn_rate", self.metric, short, window.burn, since, 0.0, note)
                return

    def _take(self, history: History) -> None:
        series = history.window(self.metric, 3.0)
        if not series.at or series.at[-1] <= self._sums.seen_at:
            return
        at, bad = series.at[-1], 1.0 - min(max(series.values[-1], 0.0), 1.0)
        buckets = self._sums.buckets
        if not buckets or at - buckets[-1][0] >= BUCKET_S:
            buckets.append([at, 0.0, 0.0])
        buckets[-1][1] += bad
        buckets[-1][2] += 1
        self._sums.seen_at = at

    def _burn(self, since: float) -> float:
        bad = count = 0.0
        for started_at, errors, samples in reversed(self._sums.buckets):
            if started_at < since:
                break
            bad, count = bad + errors, count + samples
        return bad / count / (1.0 - self.objective) if count else 0.0
