"""When users arrive: load shapes and the absolute schedule drawn from them.

A :class:`Pacer` says how many users arrive per second at each moment; :func:`arrivals` turns that
into intended instants, in seconds from the start. The schedule never waits for the site: that is
what makes the measured latency honest (an open system, Schroeder et al., NSDI 2006).

>>> calm_then_surge = Constant(10.0, seconds=2.0).then(Ramp(10.0, 40.0, seconds=2.0))
>>> calm_then_surge.rate(3.0), calm_then_surge.seconds, calm_then_surge.count(4.0)
(25.0, 4.0, 70.0)
>>> list(arrivals(Constant(4.0, seconds=1.0), kind="even"))
[0.0, 0.25, 0.5, 0.75]
"""

from __future__ import annotations

import math
import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

__all__ = [
    "Arrivals",
    "BadPace",
    "Chain",
    "Constant",
    "Pacer",
    "Ramp",
    "Replay",
    "Sine",
    "Steps",
    "arrivals",
    "pace_from",
]

Arrivals = Literal["poisson", "even"]
"""``poisson``: independent users (the default); ``even``: equal spacing, like a metronome."""

RATE_MAX_PER_S = 1_000_000.0
"""No single process comes near; a larger figure is a unit mistaken (per minute, per hour)."""


class BadPace(ValueError):
    """A load shape that cannot be: negative, endless or not a number."""


def _checked(name: str, value: float, most: float = math.inf) -> None:
    if not (math.isfinite(value) and 0.0 <= value <= most):
        raise BadPace(f"{name} must be between 0 and {most:g}, not {value!r}")


class Pacer(ABC):
    """A load shape: users per second over ``seconds``. Subclasses are frozen data."""

    __slots__ = ()
    seconds: float

    @abstractmethod
    def rate(self, at_s: float) -> float:
        """Users per second, ``at_s`` seconds after the start of the shape."""

    @abstractmethod
    def count(self, at_s: float) -> float:
        """How many users are expected up to ``at_s``: the integral of the rate."""

    @abstractmethod
    def peak(self) -> float:
        """The highest rate of the shape, in users per second."""

    def parts(self) -> Sequence[Pacer]:
        """The shapes it is a sequence of; thinning is done part by part, which wastes least."""
        return (self,)

    def then(self, following: Pacer) -> Chain:
        """This shape, and when it is over the other."""
        return Chain((*self.parts(), *following.parts()))


@dataclass(frozen=True, slots=True)
class Constant(Pacer):
    """The same rate all the time."""

    users_per_s: float
    seconds: float

    def __post_init__(self) -> None:
        _checked("rate", self.users_per_s, RATE_MAX_PER_S)
        _checked("seconds", self.seconds)

    def rate(self, at_s: float) -> float:
        return self.users_per_s

    def count(self, at_s: float) -> float:
        return self.users_per_s * at_s

    def peak(self) -> float:
        return self.users_per_s


@dataclass(frozen=True, slots=True)
class Ramp(Pacer):
    """A straight line from one rate to another."""

    from_per_s: float
    to_per_s: float
    seconds: float

    def __post_init__(self) -> None:
        _checked("from", self.from_per_s, RATE_MAX_PER_S)
        _checked("to", self.to_per_s, RATE_MAX_PER_S)
        _checked("seconds", self.seconds)

    def rate(self, at_s: float) -> float:
        return self.from_per_s + (self.to_per_s - self.from_per_s) * at_s / (self.seconds or 1.0)

    def count(self, at_s: float) -> float:
        return at_s * (self.from_per_s + self.rate(at_s)) / 2.0

    def peak(self) -> float:
        return max(self.from_per_s, self.to_per_s)


@dataclass(frozen=True, slots=True)
class Sine(Pacer):
    """Day and night: ``mean + swing * sin(2π t / period)``, never below zero."""

    mean_per_s: float
    swing_per_s: float
    period_s: float
    seconds: float

    def __post_init__(self) -> None:
        _checked("mean", self.mean_per_s, RATE_MAX_PER_S)
        _checked("swing", self.swing_per_s, self.mean_per_s)
        _checked("seconds", self.seconds)
        if not (math.isfinite(self.period_s) and self.period_s > 0.0):
            raise BadPace(f"period must be above 0 s, not {self.period_s!r}")

    def rate(self, at_s: float) -> float:
        return self.mean_per_s + self.swing_per_s * math.sin(math.tau * at_s / self.period_s)

    def count(self, at_s: float) -> float:
        turned = 1.0 - math.cos(math.tau * at_s / self.period_s)
        return self.mean_per_s * at_s + self.swing_per_s * self.period_s / math.tau * turned

    def peak(self) -> float:
        return self.mean_per_s + self.swing_per_s


@dataclass(frozen=True, slots=True)
class Chain(Pacer):
    """Shapes one after the other."""

    shapes: tuple[Pacer, ...]

    @property
    def seconds(self) -> float:  # type: ignore[override]
        return math.fsum(shape.seconds for shape in self.shapes)

    def _locate(self, at_s: float) -> tuple[int, float]:
        left = at_s
        for index, shape in enumerate(self.shapes):
            if left < shape.seconds:
                return index, left
            left -= shape.seconds
        return len(self.shapes) - 1, self.shapes[-1].seconds

    def rate(self, at_s: float) -> float:
        index, within_s = self._locate(at_s)
        return self.shapes[index].rate(within_s)

    def count(self, at_s: float) -> float:
        index, within_s = self._locate(at_s)
        before = math.fsum(shape.count(shape.seconds) for shape in self.shapes[:index])
        return before + self.shapes[index].count(within_s)

    def peak(self) -> float:
        return max(shape.peak() for shape in self.shapes)

    def parts(self) -> Sequence[Pacer]:
        return self.shapes


def Steps(rates_per_s: Sequence[float], step_s: float) -> Chain:
    """A staircase: each rate for ``step_s`` seconds."""
    if not rates_per_s:
        raise BadPace("steps need at least one rate")
    return Chain(tuple(Constant(rate, step_s) for rate in rates_per_s))


def Replay(users: Sequence[float], interval_s: float) -> Chain:
    """A recorded series: how many users arrived in each interval of ``interval_s`` seconds."""
    if not (math.isfinite(interval_s) and interval_s > 0.0):
        raise BadPace(f"interval must be above 0 s, not {interval_s!r}")
    return Steps([count / interval_s for count in users], interval_s)


def _poisson(shape: Pacer, dice: random.Random) -> Iterator[float]:
    """Thinning of a homogeneous process at the peak rate (Lewis and Shedler, 1979)."""
    peak = shape.peak()
    if peak <= 0.0:
        return
    at_s = dice.expovariate(peak)
    while at_s < shape.seconds:
        if dice.random() * peak <= shape.rate(at_s):
            yield at_s
        at_s += dice.expovariate(peak)


def _even(shape: Pacer, first: float) -> Iterator[float]:
    """The instants at which the expected count passes ``first``, ``first + 1`` …"""
    total = shape.count(shape.seconds)
    wanted = first
    while wanted < total:
        yield _instant(shape, wanted)
        wanted += 1.0


def _instant(shape: Pacer, wanted: float) -> float:
    """The instant at which ``shape.count`` reaches ``wanted``, to the microsecond."""
    if isinstance(shape, Constant):
        return wanted / shape.users_per_s
    low, high = 0.0, shape.seconds
    while high - low > 1e-6:
        middle = (low + high) / 2.0
        low, high = (middle, high) if shape.count(middle) < wanted else (low, middle)
    return (low + high) / 2.0


def arrivals(shape: Pacer, seed: int = 1, kind: Arrivals = "poisson") -> Iterator[float]:
    """The intended instants, ascending, in seconds from the start. The same seed, the same run."""
    dice = random.Random(seed)
    parts = shape.parts()
    starts = accumulate((part.seconds for part in parts), initial=0.0)
    carried = 0.0  # users due before this part begins; keeps the metronome across parts
    for start_s, part in zip(starts, parts, strict=False):
        if kind == "even":
            first = math.ceil(carried - 1e-9) - carried
            instants = _even(part, max(0.0, first))
            carried += part.count(part.seconds)
        else:
            instants = _poisson(part, dice)
        for within_s in instants:
            yield start_s + within_s


def _number(segment: Mapping[str, object], *names: str) -> float:
    for name in names:
        if name in segment:
            value = segment[name]
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise BadPace(f"{name} must be a number, not {value!r}")
            return float(value)
    raise BadPace(f"segment {segment.get('kind')!r} needs {names[0]!r}")


def _numbers(segment: Mapping[str, object], name: str) -> list[float]:
    values = segment.get(name)
    if not isinstance(values, (list, tuple)) or not values:
        raise BadPace(f"segment {segment.get('kind')!r} needs a list {name!r}")
    return [_number({name: value}, name) for value in values]


def _segment(segment: Mapping[str, object]) -> Pacer:
    kind = segment.get("kind")
    if kind == "constant":
        return Constant(_number(segment, "rate"), _number(segment, "seconds"))
    if kind == "ramp":
        start, end = _number(segment, "from", "from_rate"), _number(segment, "to", "to_rate")
        return Ramp(start, end, _number(segment, "seconds"))
    if kind == "sine":
        mean, swing = _number(segment, "mean", "rate"), _number(segment, "swing")
        return Sine(mean, swing, _number(segment, "period_s"), _number(segment, "seconds"))
    if kind == "steps":
        return Steps(_numbers(segment, "rates"), _number(segment, "step_s", "seconds"))
    if kind == "replay":
        return Replay(_numbers(segment, "users"), _number(segment, "interval_s"))
    raise BadPace(f"unknown kind {kind!r}: one of constant, ramp, sine, steps, replay")


def pace_from(segments: Sequence[Mapping[str, object]]) -> Pacer:
    """Build a shape from plain data, as read from JSON or TOML. Raises :class:`BadPace`.

    >>> pace_from([{"kind": "constant", "rate": 5, "seconds": 2},
    ...            {"kind": "ramp", "from": 5, "to": 15, "seconds": 4}]).count(6.0)
    50.0
    """
    shapes = [part for segment in segments for part in _segment(segment).parts()]
    if not shapes:
        raise BadPace("a pace needs at least one segment")
    return shapes[0] if len(shapes) == 1 else Chain(tuple(shapes))
