"""One metric at one target: its recent samples, its calm past, and what is asked of them.

Every operation costs the same after ten minutes and after ten months: samples sit in two lists
that are cut back once they hold twice as many as are remembered, and the calm values are kept
sorted as they come instead of being sorted when they are asked for.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque

__all__ = ["Track"]

FIRST_LOOK = 8
"""Samples looked at first when a run's start is sought; each further look is twice as long."""

LEAP_TIMES = 8.0
"""As many times the usual change from one sample to the next is a leap: normal noise changes by
6.4 of its standard deviations once in some billion samples (8 times 1.128 over the root of 2)."""

SWING_SAMPLES = 8
"""The usual change is an exponential mean over about so many changes. Samples that repeat the last
one do not count: what is read every fifth second would look still."""


class Track:
    """The bounded recent past of one metric at one target; ``at`` in seconds, strictly rising.

    >>> track = Track(samples_max=600, calm_max=240)
    >>> [track.add(at, 2.0 * at) for at in (1.0, 2.0, 2.0)]
    [True, True, False]
    >>> track.window(1.5)
    ((2.0,), (4.0,))
    """

    __slots__ = (
        "_at",
        "_calm",
        "_calm_max",
        "_matured",
        "_oldest",
        "_ranks",
        "_samples_max",
        "_swing",
        "_values",
        "last",
        "last_at",
        "leapt",
    )

    def __init__(self, samples_max: int, calm_max: int) -> None:
        self._samples_max, self._calm_max = samples_max, calm_max
        self._at: list[float] = []
        self._values: list[float] = []
        self._oldest = 0
        """Where in the lists the samples begin that are still remembered."""
        self.last_at = -math.inf
        """When the last sample was taken."""
        self.last = math.nan
        """The last sample."""
        self.leapt = True
        """The last sample lies unusually far from the one before (of the first, nobody knows)."""
        self._swing = 0.0
        """How far a sample that differs from the one before usually lies from it."""
        self._matured: deque[float] = deque(maxlen=calm_max)
        """Calm values that nobody has asked for yet."""
        self._calm: deque[float] = deque()
        self._ranks: list[float] = []
        """The values of ``_calm``, sorted."""

    # -- the recent past

    def add(self, at: float, value: float) -> bool:
        """Take a sample; ``False`` for a duplicate or one out of order, which tells nothing new."""
        if at <= self.last_at:
            return False
        self._at.append(at)
        self._values.append(value)
        self._compare(value)
        self.last_at, self.last = at, value
        if len(self._at) > self._samples_max:
            self._forget()
        return True

    def _compare(self, value: float) -> None:
        leap = abs(value - self.last)
        if leap > 0:
            self.leapt = leap > LEAP_TIMES * self._swing
            self._swing += (leap - self._swing) / SWING_SAMPLES
        elif leap == 0:
            self.leapt = False

    def _forget(self) -> None:
        self._oldest = len(self._at) - self._samples_max
        if self._oldest >= self._samples_max:
            del self._at[: self._oldest], self._values[: self._oldest]
            self._oldest = 0

    def window(self, since: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The samples taken at ``since`` or later, oldest first."""
        first = bisect_left(self._at, since, self._oldest)
        return tuple(self._at[first:]), tuple(self._values[first:])

    def run_start(self, *, above: float | None, below: float | None) -> float | None:
        """When the unbroken run beyond the limit began that lasts until now; ``None`` without.

        Looks back in steps that double, each a minimum or maximum over a slice.
        """
        end, step, oldest = len(self._at), FIRST_LOOK, self._oldest
        while end > oldest:
            first = max(end - step, oldest)
            part = self._values[first:end]
            if not _all_beyond(part, above, below):
                while end > first and _all_beyond(self._values[end - 1 : end], above, below):
                    end -= 1
                break
            end, step = first, 2 * step
        return self._at[end] if end < len(self._at) else None

    # -- the calm past

    def mature(self, value: float) -> None:
        """Count a sample among the calm ones."""
        self._matured.append(value)

    def calm(self) -> tuple[int, float]:
        """How many calm values are known, ``calm_max`` at most, and their median."""
        self._rank()
        n = len(self._ranks)
        if not n:
            return 0, math.nan
        middle = self._ranks[n // 2]
        return n, middle if n % 2 else (self._ranks[n // 2 - 1] + middle) / 2

    def _rank(self) -> None:
        while self._matured:
            value = self._matured.popleft()
            self._calm.append(value)
            insort(self._ranks, value)
            if len(self._calm) > self._calm_max:
                del self._ranks[bisect_left(self._ranks, self._calm.popleft())]


def _all_beyond(values: list[float], above: float | None, below: float | None) -> bool:
    """Whether every one of ``values`` lies above the one limit or below the other."""
    if above is not None and below is not None:
        return all(v > above or v < below for v in values)
    if above is not None:
        return min(values) > above
    return below is not None and max(values) < below
