"""What every cause needs to read the past and to speak: levels, growth, facts, verdicts."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from statistics import median
from typing import ClassVar, Protocol, TypeVar

from premortem.model import Evidence, History, State, Tier, Verdict

__all__ = [
    "SLOW_S",
    "Judge",
    "fact",
    "failed",
    "growth",
    "held",
    "lately",
    "level",
    "num",
    "once",
    "percent",
    "rise",
    "usual",
    "verdict",
]

LEVEL_S = 3.5
"""Window of a level: four samples of 1 s, so that one odd sample never decides."""
SLOW_S = 12.0
"""How old a reading of a slow source may be (probe ladder each 5-10 s, statements each 5 s)."""
RISEN = 1.3
"""Growth that noise does not make: the level is a median of four samples."""


T = TypeVar("T")


class Judge(Protocol):
    """The part of a cause that ``verdict`` needs."""

    tier: ClassVar[Tier]


def once(look: Callable[[History], T]) -> Callable[[History], T]:
    """Many causes ask the same of one tick: ``look`` is worked out for the first of them."""

    @wraps(look)
    def remembered(history: History) -> T:
        return history.remember(look)

    return remembered


def level(
    history: History, metric: str, over_s: float = LEVEL_S, max_age_s: float = 5.0
) -> float | None:
    """The median of the last samples; of a slow source its last value; ``None`` if unmeasured."""
    middle = history.median(metric, over_s)
    return history.value(metric, max_age_s=max_age_s) if middle is None else middle


def held(history: History, metric: str, *, above: float, samples: int = 3) -> bool:
    """Whether the last samples all lie above the limit, for as long as ``samples`` of 1 s last.

    A source slowed down by the trouble reports less often: two samples that far apart count too.
    """
    series = history.window(metric, 7.0)
    values, at = series.values[-samples:], series.at[-samples:]
    if len(values) < 2 or at[-1] < history.now - 5.0:
        return False
    return at[-1] - at[0] >= 0.8 * (samples - 1) and min(values) > above


def usual(history: History, metric: str) -> float | None:
    """What the metric was while nothing was wrong; ``None`` before that is known."""
    baseline = history.baseline(metric)
    return None if baseline is None else baseline.median


def growth(history: History, metric: str, *, floor: float, max_age_s: float = 5.0) -> float | None:
    """How many times its usual value a metric is; ``None`` when either is unknown."""
    now, before = level(history, metric, max_age_s=max_age_s), usual(history, metric)
    return None if now is None or before is None else max(now, 0.0) / max(before, floor)


def rise(history: History, metric: str, *, floor: float) -> float | None:
    """Growth, or before a baseline exists growth against the minute before, if it grew at all.

    Without a baseline a flat minute proves nothing (the watch may have begun in the middle of
    the trouble), so then only a rise is evidence and anything else is ``None``.
    """
    known = growth(history, metric, floor=floor)
    if known is not None:
        return known
    ratio = lately(history, metric, floor=floor)
    return ratio if ratio is not None and ratio >= RISEN else None


def lately(history: History, metric: str, *, floor: float) -> float | None:
    """Growth, or before a baseline exists growth against the minute before (but its last 8 s)."""
    known = growth(history, metric, floor=floor)
    if known is not None:
        return known
    series, now = history.window(metric, 60.0), level(history, metric)
    earlier = [v for at, v in zip(series.at, series.values, strict=True) if at < history.now - 8]
    if now is None or len(earlier) < 5:
        return None
    return now / max(median(earlier), floor)


def failed(history: History, source: str, text: str, over_s: float = 10.0) -> int:
    """How many times a source failed with ``text`` in its error."""
    return sum(text in f.error for f in history.failures(source, over_s))


def fact(
    history: History, metric: str, value: float, limit: float, note: str, *, above: bool = True
) -> Evidence:
    """One measured fact. Beyond a limit it carries since when; calm facts are as of now."""
    since = history.since(metric, above=limit) if above else None
    return Evidence(metric, value, limit, history.now if since is None else since, note)


def verdict(
    cause: Judge,
    state: State,
    because: str,
    *facts: Evidence | None,
    check: str,
    strength: float = 0.0,
) -> Verdict:
    """A verdict in the name of the cause's file."""
    name = type(cause).__module__.rpartition(".")[2]
    known = tuple(f for f in facts if f is not None)
    return Verdict(name, cause.tier, state, because, known, check, min(max(strength, 0.0), 1.0))


def num(value: float) -> str:
    """A number as people read it.

    >>> num(0.6234), num(97.0), num(1234.5)
    ('0.62', '97', '1234')
    """
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.2g}"


def percent(ratio: float) -> str:
    """A ratio as a percentage.

    >>> percent(0.934), percent(0.0004)
    ('93 %', '0.04 %')
    """
    return f"{ratio * 100:.2g} %" if abs(ratio) < 0.995 else f"{ratio * 100:.0f} %"
