"""How many requests may be in flight: the estimate. Who enters is decided in ``gate.py``.

The algorithm is AIMD (additive increase, multiplicative decrease: Chiu and Jain 1989; for
requests: Netflix concurrency-limits, ``AIMDLimit``) held beneath a hard cap, the load-tested
knee. In a simulated surge to three times the capacity the cap alone kept 98 % of it and AIMD
beneath the cap with a 0.25 s limit 96 %, against 51 % for Vegas and 87 % for Envoy's gradient,
whose idea of the shortest possible response fails where service times vary.

Two differences from ``AIMDLimit``. It decides once a window, by the majority, so that one slow
page among many quick ones does not shrink the limit. It grows without looking at the use: that
condition keeps an unbounded limit from drifting away, and this one is bounded by the cap.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["WINDOW_S", "Aimd", "Window"]

WINDOW_S = 0.25
"""How often the limit is decided: at most four steps within the quarter of a second a human
overlooks, and long enough for ten samples at 40 requests/s."""

POOL_WAIT_MAX_MS = 20.0
"""A longer mean wait for a connection is overload, whatever the responses take: the queueing
time at which DAGOR (Zhou et al. 2018) calls a service overloaded."""


@dataclass(slots=True)
class Window:
    """What was seen since the limit was last decided."""

    answers: int = 0
    """Responses that began, and requests that by now wait longer for theirs than is slow."""
    slow: int = 0
    """Those of the answers that took longer than ``slow_ms``."""
    in_flight_max: int = 0
    pool_wait_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Aimd:
    """The next limit from the last one and what was seen in between.

    >>> aimd = Aimd(cap=40)
    >>> aimd.after(40.0, Window(answers=20, slow=15, in_flight_max=40))
    36.0
    >>> aimd.after(36.0, Window(answers=20, slow=2, in_flight_max=36))
    38.0
    >>> aimd.after(40.0, Window(answers=20, in_flight_max=30, pool_wait_ms=45.0))
    36.0
    """

    cap: int
    floor_ratio: float = 0.25
    """The limit stays at or above this share of the cap."""
    shrink_ratio: float = 0.9
    """Factor at each overloaded window: ``AIMDLimit``'s default back-off."""
    step_ratio: float = 0.05
    """Share of the cap regained a calm window: from the floor to the cap in 15 windows = 4 s."""

    def after(self, limit: float, window: Window) -> float:
        """The limit after ``window``; between the floor and the cap, at least 1."""
        if self.overloaded(limit, window):
            wanted = limit * self.shrink_ratio
        else:
            wanted = limit + max(1.0, self.cap * self.step_ratio)
        return self.within(wanted)

    def overloaded(self, limit: float, window: Window) -> bool:
        """Whether most answers were slow while at least half of the limit was in use, or the
        pool made requests wait. Slow pages on a quiet site are not overload."""
        if window.pool_wait_ms > POOL_WAIT_MAX_MS:
            return True
        in_use = 2 * window.in_flight_max >= int(limit)
        return in_use and 2 * window.slow > window.answers

    def within(self, limit: float) -> float:
        """``limit`` brought between the floor and the cap."""
        floor = max(1.0, self.cap * self.floor_ratio)
        return min(float(self.cap), max(floor, limit))
