"""How fast the error budget of an objective burns, over pairs of windows."""

from __future__ import annotations

from bisect import bisect_left
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
    """What has been bad and how much was seen, in all and before each minute that is kept."""

    keep: int
    """Minutes that are kept; cut back whenever there are twice as many."""
    started: list[float] = field(default_factory=list)
    before: list[tuple[float, int]] = field(default_factory=list)
    """(bad shares summed, samples) before the minute of the same place in ``started``."""
    bad: float = 0.0
    samples: int = 0
    seen_at: float = float("-inf")

    def add(self, at: float, bad: float) -> None:
        if not self.started or at - self.started[-1] >= BUCKET_S:
            self.started.append(at)
            self.before.append((self.bad, self.samples))
            if len(self.started) >= 2 * self.keep:
                del self.started[: -self.keep], self.before[: -self.keep]
        self.bad, self.samples, self.seen_at = self.bad + bad, self.samples + 1, at

    def share(self, since: float) -> float:
        """The bad share in the minutes that began at ``since`` or later; 0 where none was seen."""
        first = bisect_left(self.started, since)
        if first == len(self.started):
            return 0.0
        bad, samples = self.before[first]
        return (self.bad - bad) / (self.samples - samples)


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
        default_factory=lambda: _Sums(int(PAGES[-1].long_s / BUCKET_S) + 1),
        repr=False,
        compare=False,
    )

    def detect(self, history: History) -> Iterator[Signal]:
        """Take in the newest sample; yield one signal a window pair that burns."""
        self._take(history)
        started = self._sums.started
        if not started or history.now - started[0] < self.seen_s_min:
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
        self._sums.add(series.at[-1], 1.0 - min(max(series.values[-1], 0.0), 1.0))

    def _burn(self, since: float) -> float:
        return self._sums.share(since) / (1.0 - self.objective)
