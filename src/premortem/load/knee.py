"""Finds the knee: the highest rate of users at which the site still keeps its promise.

The way of MLRsearch (draft-ietf-bmwg-mlrsearch): short trials bracket the knee, full-length trials
just below and above what the overloaded site delivered confirm both ends, the winner is measured
again, and a bound that a confirmation contradicts is given up. :func:`search` decides
by yielding :class:`Trial`\\ s and being sent what was :class:`Measured`; whoever drives it performs
them, so the same search runs against a site, a simulation or a table.

A trial *held* when the share of users who met trouble stayed within its bar and the backlog did
not grow. The second needs no bar of latency: at capacity the backlog wanders like the square root
of the users who came (a random walk), beyond it it grows with their number.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

__all__ = ["Bars", "Knee", "Measured", "Trial", "held", "hopeless", "search"]

Purpose = Literal["bracket", "confirm"]

WANDER = 2.5
"""Backlog in units of sqrt(users) that chance alone rarely exceeds: the peak of a random walk whose
steps have variance 2 (Poisson arrivals, exponential service) is sqrt(2) * 1.25 = 1.8 on average."""


@dataclass(frozen=True, slots=True)
class Bars:
    """What holding means, how precise the knee should be, and what the search may do."""

    violation_ratio_max: float = 0.01
    """Share of users who failed, were refused or waited longer than promised: a p99 promise."""
    precision: float = 0.05
    """Width of the interval, relative: planning adds more slack than this."""
    start_per_s: float = 4.0
    rate_max_per_s: float = 10_000.0
    """The ceiling: never offered more, whatever the site bears."""
    short_s: float = 2.0
    full_s: float = 10.0
    full_s_max: float = 60.0
    """A full trial lasts as long as the precision needs users, within these bounds."""
    repeats_max: int = 2
    """Of a trial whose generator was late."""
    trials_max: int = 40
    contradictions_max: int = 4
    """A site that changes its mind more often has no one knee (caches, noisy neighbours)."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A constant rate of users to offer for a while."""

    users_per_s: float
    seconds: float
    purpose: Purpose
    calm_journey_s: float = 0.0
    """How long a journey takes on the calm site; 0 while that is not known."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a trial showed."""

    users_per_s: float
    seconds: float
    offered: int
    served: int
    violations: int
    """Users who failed, were refused, or waited longer than promised."""
    in_flight_peak: float = 0.0
    served_per_s: float = 0.0
    journey_s: float = 0.0
    """Median duration of a served journey."""
    invalid: str | None = None
    """Why the generator is not to be believed, if it is not."""
    stopped: str | None = None
    """Why somebody ended the search: the person, or a rule of safety."""
    levels: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """How loaded each resource was, 0 to 1, for :mod:`premortem.load.bottleneck`."""
    started_at: float = 0.0
    """Seconds since the epoch."""
    requests_per_s: float = 0.0
    requests_in_flight: float = 0.0
    """On average, by Little's law from their times: thinking users have none."""
    p50_ms: float | None = None
    p99_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Knee:
    """The result: a rate with its interval, or why there is none."""

    users_per_s: float | None
    low_per_s: float | None
    """The highest rate that held at full length."""
    high_per_s: float | None
    """The lowest rate that did not."""
    trials: tuple[Measured, ...]
    reason: str
    """How the interval was confirmed, or why the search abstained."""

    @property
    def abstained(self) -> bool:
        return self.users_per_s is None

    @property
    def seconds(self) -> float:
        """The trials' total time."""
        return math.fsum(trial.seconds for trial in self.trials)


def backlog(measured: Measured, calm_journey_s: float) -> float:
    """Users in flight beyond those that the calm site has on their way (Little's law)."""
    return max(0.0, measured.in_flight_peak - measured.users_per_s * calm_journey_s)


def held(measured: Measured, bars: Bars, calm_journey_s: float) -> bool:
    """Whether the site kept its promise in a trial.

    >>> calm = Measured(100, 10, 1000, 1000, 0, in_flight_peak=30)
    >>> held(calm, Bars(), 0.1), held(calm, Bars(), 0.0)
    (True, True)
    >>> held(Measured(100, 10, 1000, 850, 0, in_flight_peak=150), Bars(), 0.1)
    False
    """
    if not measured.offered:
        return True
    if measured.violations > bars.violation_ratio_max * measured.offered + 1e-9:
        return False
    # a few users in flight are no backlog, however short the trial
    limit = max(WANDER * math.sqrt(measured.offered), 4.0)
    return backlog(measured, calm_journey_s) <= limit


def hopeless(so_far: Measured, trial: Trial, bars: Bars) -> bool:
    """Whether a trial under way can no longer hold, so that it may end here.

    What was counted so far is held against what the whole trial may count.

    >>> trial = Trial(100.0, 10.0, "confirm")
    >>> hopeless(Measured(100, 3, 300, 290, 9), trial, Bars())
    False
    >>> hopeless(Measured(100, 3, 300, 288, 11), trial, Bars())
    True
    """
    planned = max(so_far.offered, round(trial.users_per_s * trial.seconds))
    return not held(replace(so_far, offered=planned), bars, trial.calm_journey_s or math.inf)


def trial_seconds(users_per_s: float, width: float, bars: Bars) -> float:
    """How long a trial must last to see an overload of ``width`` (relative) beyond chance.

    ``width * N > WANDER * sqrt(N)`` gives ``N > (WANDER / width)²`` users.

    >>> trial_seconds(100.0, 0.05, Bars())
    25.0
    """
    needed = (WANDER / width) ** 2
    return min(max(needed / users_per_s, bars.short_s), bars.full_s_max)


class _Abstain(Exception):
    """Ends the search without a knee."""


@dataclass(slots=True)
class _Search:
    bars: Bars
    trials: list[Measured] = field(default_factory=list)
    calm_s: float = 0.0

    def perform(
        self, users_per_s: float, purpose: Purpose, width: float
    ) -> Generator[Trial, Measured, bool]:
        """One trial; whether it held."""
        if len(self.trials) >= self.bars.trials_max:
            raise _Abstain(f"{self.bars.trials_max} trials did not settle it")
        seconds = trial_seconds(users_per_s, width, self.bars)
        if purpose == "confirm":
            seconds = max(seconds, self.bars.full_s)
        measured = yield from self.believable(Trial(users_per_s, seconds, purpose, self.calm_s))
        if not self.calm_s or users_per_s <= min(t.users_per_s for t in self.trials):
            self.calm_s = measured.journey_s
        return held(measured, self.bars, self.calm_s)

    def believable(self, trial: Trial) -> Generator[Trial, Measured, Measured]:
        """The trial, repeated while the generator was late: a busy neighbour passes, a generator
        at its limit is late again."""
        for _ in range(self.bars.repeats_max + 1):
            measured = yield trial
            if measured.stopped is not None:
                raise _Abstain(f"stopped at {trial.users_per_s:.4g}/s: {measured.stopped}")
            if measured.invalid is None:
                self.trials.append(measured)
                return measured
        raise _Abstain(
            f"the generator was the limit at {trial.users_per_s:.4g}/s: {measured.invalid}"
        )

    def bracket(self) -> Generator[Trial, Measured, tuple[float, float]]:
        """Double until it does not hold (or halve until it does)."""
        rate, low, high = self.bars.start_per_s, 0.0, math.inf
        while not (low and math.isfinite(high)):
            if (yield from self.perform(rate, "bracket", 0.5)):
                low = rate
                if rate >= self.bars.rate_max_per_s:
                    raise _Abstain(f"the curve did not bend up to the ceiling of {rate:.4g}/s")
                rate = min(rate * 2.0, self.bars.rate_max_per_s)
            else:
                high = rate
                if rate < self.bars.start_per_s / 64.0:
                    raise _Abstain(f"the promise is broken even at {rate:.3g}/s")
                rate /= 2.0
        return low, high

    def estimate(self, low: float, high: float) -> float:
        """Where the knee should be: what the overloaded site delivered, if that is between the
        bounds, else their middle (geometric, as rates are judged by their ratio)."""
        delivered = next(t.served_per_s for t in self.trials if t.users_per_s == high)
        return delivered if low < delivered < high else math.sqrt(low * high)

    def confirm(self, low: float, high: float) -> Generator[Trial, Measured, tuple[float, float]]:
        """Full-length trials just below and just above the estimate, moved while they contradict
        it, halved while they are too far apart; then the winner once more.

        A bound that short trials gave is taken up only when a full-length trial arrives there.
        """
        reach = math.sqrt(1.0 + self.bars.precision)
        middle = self.estimate(low, high)
        low, high = yield from self.straddle(middle / reach, middle * reach)
        while high / low > (1.0 + self.bars.precision) * 1.0001:
            rate = math.sqrt(low * high)
            if (yield from self.perform(rate, "confirm", self.bars.precision)):
                low = rate
            else:
                high = rate
        for _ in range(self.bars.contradictions_max + 1):
            if (yield from self.perform(low, "confirm", self.bars.precision)):
                return low, high
            high, low = low, low / (1.0 + self.bars.precision)
        raise _Abstain(
            f"what held once did not hold again, {self.bars.contradictions_max + 1} times: "
            "the site's capacity changes while it is measured"
        )

    def straddle(self, low: float, high: float) -> Generator[Trial, Measured, tuple[float, float]]:
        """Bounds of which full-length trials say that the lower held and the upper did not;
        each move is twice as far as the one before."""
        stride = 1.0 + self.bars.precision
        if (yield from self.perform(low, "confirm", self.bars.precision)):
            while high <= self.bars.rate_max_per_s:
                if not (yield from self.perform(high, "confirm", self.bars.precision)):
                    return low, high
                low, high, stride = high, high * stride, stride * stride
            raise _Abstain(f"the curve did not bend up to the ceiling of {low:.4g}/s")
        while True:
            low, high, stride = low / stride, low, stride * stride
            if low < self.bars.start_per_s / 64.0:
                raise _Abstain(f"the promise is broken even at {high:.3g}/s")
            if (yield from self.perform(low, "confirm", self.bars.precision)):
                return low, high


def search(bars: Bars) -> Generator[Trial, Measured, Knee]:
    """Yield trials, be sent what they showed, return the knee or an abstention."""
    state = _Search(bars)
    try:
        low, high = yield from state.bracket()
        low, high = yield from state.confirm(low, high)
    except _Abstain as why:
        return Knee(None, None, None, tuple(state.trials), str(why))
    full = [t for t in state.trials if t.users_per_s in (low, high)]
    reason = f"held at {low:.4g}/s, twice, and not at {high:.4g}/s, in trials of full length"
    reason += f" (up to {max(t.seconds for t in full):.3g} s)"
    return Knee(math.sqrt(low * high), low, high, tuple(state.trials), reason)
