"""Line charts as inline SVG, drawn by hand: nothing to install, nothing to load. Pure.

Colours are CSS classes, so that the page decides about light, dark and paper; every series also has
its name at its last point, so that colour is not needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import Literal

__all__ = ["Band", "Chart", "Level", "Series", "draw", "ticks"]

Point = tuple[float, float]
LEFT, RIGHT, TOP, BOTTOM = 46.0, 14.0, 26.0, 36.0
FONT = 12.0
LETTER = 0.56
"""Mean width of a letter over its height in a sans-serif face."""


@dataclass(frozen=True, slots=True)
class Series:
    """Points that belong together; ``kind`` is a CSS class and says how they are drawn."""

    name: str
    kind: str
    points: tuple[Point, ...]
    style: Literal["line", "dots", "area"] = "line"


@dataclass(frozen=True, slots=True)
class Level:
    """A horizontal line, such as a bar to clear."""

    y: float
    name: str


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of the x axis, such as the interval of a knee."""

    low: float
    high: float
    name: str


@dataclass(frozen=True, slots=True)
class Chart:
    """What to draw, independent of its size."""

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    levels: tuple[Level, ...] = ()
    bands: tuple[Band, ...] = ()
    log_y: bool = False
    y_top: float | None = None


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round numbers from ``low`` to ``high``, about so many.

    >>> ticks(0, 97)
    [0.0, 20.0, 40.0, 60.0, 80.0]
    """
    span = max(high - low, 1e-12)
    raw = span / wanted
    scale = 10.0 ** math.floor(math.log10(raw))
    step = next(s * scale for s in (1.0, 2.0, 5.0, 10.0) if s * scale >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


def _decades(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return [10.0**power for power in range(first, last + 1) if low <= 10.0**power <= high]


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where data lies on the picture."""

    width: float
    height: float
    x: tuple[float, float]
    y: tuple[float, float]
    log_y: bool

    def at_x(self, value: float) -> float:
        low, high = self.x
        return LEFT + (value - low) / (high - low) * (self.width - LEFT - RIGHT)

    def at_y(self, value: float) -> float:
        low, high = self.y
        if self.log_y:
            value, low, high = (math.log10(max(v, low)) for v in (value, low, high))
        return self.height - BOTTOM - (value - low) / (high - low) * (self.height - TOP - BOTTOM)


def _frame(chart: Chart, width: float, height: float) -> _Frame | None:
    xs = [x for s in chart.series for x, _ in s.points]
    xs += [edge for b in chart.bands for edge in (b.low, b.high)]
    ys = [y for s in chart.series for _, y in s.points] + [level.y for level in chart.levels]
    if not any(s.points for s in chart.series):
        return None
    left = min(0.0, *xs)
    right = max(xs)
    top = chart.y_top or max(ys)
    if chart.log_y:
        bottom = min((y for y in ys if y > 0.0), default=1.0)
        y = (10.0 ** math.floor(math.log10(bottom)), max(top * 1.2, bottom * 10.0))
    else:
        y = (0.0, (top or 1.0) * 1.08)
    return _Frame(width, height, (left, right if right > left else left + 1.0), y, chart.log_y)


def draw(chart: Chart, width: float, height: float, css: str = "") -> str:
    """The chart as one ``<svg>`` element; in words where there is nothing to draw."""
    frame = _frame(chart, width, height)
    head = (
        f'<svg class="{css}" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-label="{escape(chart.title)}">'
    )
    if frame is None:
        return f'{head}<text x="{LEFT:g}" y="{height / 2:g}">nothing was measured</text></svg>'
    parts = [*_grid(chart, frame), *(_band(b, frame) for b in chart.bands)]
    parts += [_level(level, frame) for level in chart.levels]
    parts += [_series(s, frame) for s in chart.series]
    parts += _names(chart, frame)
    return head + "".join(parts) + "</svg>"


def _grid(chart: Chart, frame: _Frame) -> list[str]:
    low, high = frame.y
    wanted = 5 if frame.height > 160 else 3
    marks = _decades(low, high) if frame.log_y else ticks(low, high, wanted)
    parts = []
    for value in marks:
        y = frame.at_y(value)
        parts.append(_across("grid", y, frame))
        at = f'x="{LEFT - 6:g}" y="{y + 4:.1f}" text-anchor="end"'
        parts.append(f'<text class="tick" {at}>{value:g}</text>')
    for value in ticks(*frame.x, max(3, int(frame.width / 110))):
        x = frame.at_x(value)
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="{frame.height - BOTTOM + 16:.1f}" '
            f'text-anchor="middle">{value:g}</text>'
        )
    parts.append(f'<text class="axis" x="4" y="14">{escape(chart.y_label)}</text>')
    parts.append(
        f'<text class="axis" x="{frame.width - RIGHT:g}" y="{frame.height - 4:g}" '
        f'text-anchor="end">{escape(chart.x_label)}</text>'
    )
    return parts


def _band(band: Band, frame: _Frame) -> str:
    low, high = frame.at_x(band.low), frame.at_x(band.high)
    width = max(high - low, 2.0)
    room = frame.width - RIGHT - high
    end = len(band.name) * FONT * LETTER > room
    x, anchor = (low - 4, "end") if end else (high + 4, "start")
    return (
        f'<rect class="band" x="{low:.1f}" y="{TOP:g}" width="{width:.1f}" '
        f'height="{frame.height - TOP - BOTTOM:.1f}"/>'
        f'<text class="note" x="{x:.1f}" y="{frame.height - BOTTOM - 8:.1f}" '
        f'text-anchor="{anchor}">{escape(band.name)}</text>'
    )


def _level(level: Level, frame: _Frame) -> str:
    y = frame.at_y(level.y)
    name = f'<text class="note" x="{LEFT + 4:g}" y="{y - 4:.1f}">{escape(level.name)}</text>'
    return _across("limit", y, frame) + name


def _across(kind: str, y: float, frame: _Frame) -> str:
    ends = f'x1="{LEFT:g}" x2="{frame.width - RIGHT:g}" y1="{y:.1f}" y2="{y:.1f}"'
    return f'<line class="{kind}" {ends}/>'


def _series(series: Series, frame: _Frame) -> str:
    spots = [(frame.at_x(x), frame.at_y(y)) for x, y in series.points]
    if series.style == "dots":
        return "".join(
            f'<circle class="{series.kind}" cx="{x:.1f}" cy="{y:.1f}" r="3.2"/>' for x, y in spots
        )
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
    if series.style == "area" and spots:
        floor = frame.at_y(frame.y[0])
        path = f"{spots[0][0]:.1f},{floor:.1f} {path} {spots[-1][0]:.1f},{floor:.1f}"
        return f'<polygon class="{series.kind}" points="{path}"/>'
    return f'<polyline class="{series.kind}" points="{path}"/>'


def _names(chart: Chart, frame: _Frame) -> list[str]:
    """Names of the series in a row above the picture, each with a dash of its colour."""
    x, parts = LEFT + len(chart.y_label) * FONT * LETTER, []
    for series in chart.series:
        if not series.points or not series.name:
            continue
        parts.append(
            f'<line class="{series.kind}" x1="{x:.1f}" x2="{x + 14:.1f}" y1="10" y2="10"/>'
            f'<text class="name" x="{x + 18:.1f}" y="14">{escape(series.name)}</text>'
        )
        x += 18 + len(series.name) * FONT * LETTER + 14
    return parts
