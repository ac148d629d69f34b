"""Bars a run must clear: ``p99<300ms``, ``failed<0.1%``, ``p95<200ms over 10s``. Pure.

A bar without ``over`` is held against the whole run. ``over 10s`` holds it against every window of
ten whole seconds, so that half a minute of trouble cannot hide in an hour of calm; windows in which
nobody came say nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from premortem.load.stats import Histogram, Second, Tally

__all__ = ["BadBar", "Bar", "Judged", "judge", "parse_bar"]

FORM = re.compile(
    r"(?P<what>p\d{1,2}(?:\.\d+)?|mean|max|failed|refused|served|served/s)"
    r"\s*(?P<sign><=|>=|<|>)\s*(?P<limit>\d+(?:\.\d+)?)\s*(?P<unit>ms|s|%|/s)?"
    r"(?:\s+over\s+(?P<over>\d+)\s*s)?",
    re.ASCII,
)
TAIL_MIN = 10
"""Values beyond a percentile for it to say anything: with fewer it is the luck of the run."""
SHARES = ("failed", "refused", "served")
EXAMPLE = "write it as p99<300ms, failed<0.1%, served>99%, served/s>200 or p95<200ms over 10s"


class BadBar(ValueError):
    """A bar that cannot be read: says what is wrong and how to write it."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One promise. ``limit`` is in ms for times, a share of users (0 to 1), or users a second."""

    text: str
    what: str
    below: bool
    """Whether the value must stay below the limit, or above it."""
    limit: float
    over_s: int = 0
    """Length of the windows; 0: the whole run."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of a bar."""

    bar: Bar
    value: float | None
    """Of the whole run or of the worst window, in the bar's unit."""
    held: bool
    second: int | None = None
    """When the worst window began."""
    note: str = ""


def parse_bar(text: str) -> Bar:
    """Read one bar. Raises :class:`BadBar`.

    >>> parse_bar("p99 < 300 ms"), parse_bar("failed<0.1% over 10s").limit
    (Bar(text='p99 < 300 ms', what='p99', below=True, limit=300.0, over_s=0), 0.001)
    """
    found = FORM.fullmatch(text.strip())
    if found is None:
        raise BadBar(f"bar {text!r}: {EXAMPLE}")
    what, unit = found["what"], found["unit"]
    wanted = ("%",) if what in SHARES else ("/s",) if what == "served/s" else ("ms", "s")
    if what == "served/s" and unit is None:
        unit = "/s"
    if unit not in wanted:
        raise BadBar(f"bar {text!r}: {what} is given in {' or '.join(wanted)}; {EXAMPLE}")
    scale = {"ms": 1.0, "s": 1000.0, "%": 0.01, "/s": 1.0}[unit]
    over_s = int(found["over"] or 0)
    if found["over"] is not None and over_s < 1:
        raise BadBar(f"bar {text!r}: a window is at least 1 s long")
    return Bar(text.strip(), what, found["sign"][0] == "<", float(found["limit"]) * scale, over_s)


def _time(histogram: Histogram, what: str) -> tuple[float | None, str]:
    if not histogram.total:
        return None, "nothing was answered"
    if what == "mean":
        return histogram.mean_ms(), ""
    percent = 100.0 if what == "max" else float(what[1:])
    beyond = histogram.total * (1.0 - percent / 100.0)
    few = what != "max" and beyond < TAIL_MIN
    note = f"only {histogram.total} answers: {what} needs {_needed(percent)}" if few else ""
    return histogram.percentile_ms(percent), note


def _needed(percent: float) -> int:
    return math.ceil(round(TAIL_MIN / (1.0 - percent / 100.0), 6)) if percent < 100 else 1


def _value(bar: Bar, tally: Tally, seconds: float) -> tuple[float | None, str]:
    if bar.what in SHARES:
        offered = tally.total("offered")
        if bar.what == "failed":
            lost = ("failed", "unfinished", "not_started")
            return _share(sum(tally.total(n) for n in lost), offered), ""
        return _share(tally.total(bar.what), offered), ""
    if bar.what == "served/s":
        return (tally.total("served") / seconds if seconds else None), ""
    return _time(tally.response(), bar.what)


def _share(count: int, offered: int) -> float | None:
    return count / offered if offered else None


def _window(bar: Bar, rows: Sequence[Second]) -> float | None:
    """The value over consecutive seconds: of users by when they ended, as it is seen live."""
    if bar.what == "served/s":
        return sum(row.served for row in rows) / len(rows)
    if bar.what in SHARES:
        ended = sum(row.served + row.refused + row.failed for row in rows)
        return _share(sum(getattr(row, bar.what) for row in rows), ended)
    whole = Histogram()
    for row in rows:
        whole.add(row.response)
    return _time(whole, bar.what)[0]


def _clears(bar: Bar, value: float) -> bool:
    return value < bar.limit if bar.below else value > bar.limit


def judge(bar: Bar, tally: Tally, seconds: float) -> Judged:
    """Hold one bar against a run of ``seconds``. A value that could not be had does not clear it:
    a run that nobody answered has not kept a promise of speed."""
    if bar.over_s:
        return _judge_windows(bar, tally, seconds)
    value, note = _value(bar, tally, seconds)
    return Judged(bar, value, value is not None and _clears(bar, value), None, note)


def _judge_windows(bar: Bar, tally: Tally, seconds: float) -> Judged:
    rows = [tally.seconds[s] for s in sorted(tally.seconds) if s < seconds]
    if len(rows) < bar.over_s:
        note = f"the run was shorter than {bar.over_s} s"
        return Judged(bar, None, held=False, note=note)
    ahead: Callable[[float, float], bool] = float.__gt__ if bar.below else float.__lt__
    worst: float | None = None
    second: int | None = None
    for first in range(len(rows) - bar.over_s + 1):
        value = _window(bar, rows[first : first + bar.over_s])
        if value is not None and (worst is None or ahead(float(value), worst)):
            worst, second = float(value), rows[first].second
    if worst is None:
        return Judged(bar, None, held=False, note="nothing was answered")
    return Judged(bar, worst, _clears(bar, worst), second)
