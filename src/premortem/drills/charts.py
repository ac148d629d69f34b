"""The picture of one run: users a second, database sessions and the ledger, on one time axis.

Every run is drawn with the same :class:`Frame`, so that the pictures can be laid under each other
and compared by eye. The SVG holds no colours but names of CSS variables, so that the page decides
about light, dark and paper.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.transforms import blended_transform_factory

from premortem.incidents.picture import Frame, Mark, marks_of, stacked, stagger, stretches
from premortem.incidents.record import Record

__all__ = ["NARROW", "WIDE", "Size", "draw"]

# Colours stand in for CSS variables: matplotlib writes the hex, `_themed` writes the variable.
_VARIABLES = {
    "#010203": "--ink",
    "#010204": "--soft",
    "#010205": "--grid",
    "#010206": "--served",
    "#010207": "--refused",
    "#010208": "--failed",
    "#010209": "--idle",
    "#01020a": "--confirmed",
    "#01020b": "--suspected",
    "#01020c": "--ruled-out",
    "#01020d": "--unknown",
    "#01020e": "--on-served",
    "#01020f": "--on-refused",
    "#010210": "--on-failed",
}
_C = {name.removeprefix("--"): hexed for hexed, name in _VARIABLES.items()}

_STALK = {"arrowstyle": "-", "color": _C["ink"], "linewidth": 0.9, "shrinkA": 0, "shrinkB": 0}

_STATES = {
    "confirmed": "confirmed",
    "suspected": "suspected",
    "ruled_out": "ruled-out",
    "cannot_exclude": "unknown",
}


@dataclass(frozen=True, slots=True)
class Size:
    """One width of page. Lengths in CSS pixels (matplotlib points at 72 to the inch)."""

    name: str
    width_px: float
    users_px: float
    sessions_px: float
    lane_px: float
    left_px: float
    font_px: float
    lanes_named_inside: bool
    marks_max: int
    """Rows of labels above the picture; a mark that finds no room keeps its line only."""


WIDE = Size("wide", 960, 190, 96, 17, 178, 12, lanes_named_inside=False, marks_max=6)
NARROW = Size("narrow", 358, 150, 84, 27, 30, 11, lanes_named_inside=True, marks_max=9)

RIGHT_PX = 10.0
GAP_PX = 26.0
FOOT_PX = 34.0
LETTER_WIDTH = 0.56
"""Mean width of a letter over its height in a sans-serif face: to know which labels collide."""


def draw(run: Record, frame: Frame, size: Size) -> str:
    """One run as an inline SVG element. The same input gives the same text."""
    marks = marks_of(run)
    settings: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": f"premortem-{run.mode}-{size.name}",
        "font.family": "sans-serif",
        "font.size": size.font_px,
        "text.parse_math": False,
        "axes.unicode_minus": False,
    }
    with mpl.rc_context(settings):
        return _themed(
            _svg(_figure(run, frame, size, marks)), re.sub(r"\W", "-", f"{run.mode}-{size.name}")
        )


def _figure(run: Record, frame: Frame, size: Size, marks: Sequence[Mark]) -> Figure:
    per_px = (size.width_px - size.left_px - RIGHT_PX) / (frame.end_s - frame.start_s)
    placed = _placed(marks, frame, size, per_px)
    rows = max([0, *(row + 1 for row, _ in placed if row is not None)])
    row_px = size.font_px * 1.45
    lanes_px = max(1, len(frame.causes)) * size.lane_px if frame.causes else 0.0
    heights = [size.users_px, size.sessions_px, *([lanes_px] if lanes_px else [])]
    top_px = (rows + 1) * row_px + 8  # the topmost row is the caption's
    total_px = top_px + sum(heights) + GAP_PX * (len(heights) - 1) + FOOT_PX
    figure = Figure(figsize=(size.width_px / 72, total_px / 72), dpi=72)
    figure.patch.set_alpha(0)
    panels: list[Axes] = []
    above = top_px
    for height in heights:
        box = (
            size.left_px / size.width_px,
            1 - (above + height) / total_px,
            (size.width_px - size.left_px - RIGHT_PX) / size.width_px,
            height / total_px,
        )
        panels.append(figure.add_axes(box))
        above += height + GAP_PX
    for panel in panels:
        _plain(panel, frame, last=panel is panels[-1])
    _caption(panels[0], "users per second", 5 + rows * row_px)
    _users(panels[0], run, frame)
    _sessions(panels[1], run, frame)
    if lanes_px:
        _lanes(panels[2], run, frame, size)
    _mark(panels, marks, placed, row_px, size)
    return figure


def _placed(
    marks: Sequence[Mark], frame: Frame, size: Size, per_px: float
) -> list[tuple[int | None, bool]]:
    """For each mark the row of its label, and whether the label hangs to the left of its line."""
    spans, left_hung = [], []
    for mark in marks:
        x = (mark.at_s - frame.start_s) * per_px
        width = len(mark.text) * size.font_px * LETTER_WIDTH + 10
        hangs_left = x + width > (frame.end_s - frame.start_s) * per_px + RIGHT_PX
        left_hung.append(hangs_left)
        spans.append((x - width, x + 3) if hangs_left else (x - 3, x + width))
    return list(zip(stagger(spans, size.marks_max), left_hung, strict=True))


def _plain(axes: Axes, frame: Frame, *, last: bool) -> None:
    axes.patch.set_alpha(0)
    axes.set_xlim(frame.start_s, frame.end_s)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_C["grid"])
    axes.tick_params(colors=_C["soft"], length=0, pad=4, labelbottom=last)
    axes.grid(axis="x", color=_C["grid"], linewidth=0.6)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(mpl.ticker.MultipleLocator(10))
    if last:
        axes.set_xlabel("seconds from the start of the ramp", color=_C["soft"])


def _users(axes: Axes, run: Record, frame: Frame) -> None:
    axes.set_ylim(0, frame.users_max)
    axes.yaxis.set_major_locator(mpl.ticker.MaxNLocator(4, integer=True))
    axes.grid(axis="y", color=_C["grid"], linewidth=0.6)
    if not run.seconds:
        _nothing(axes)
        return
    t = [float(row["t"]) for row in run.seconds]
    layers = list(zip(*(stacked(row) for row in run.seconds), strict=True))
    below: Sequence[float] = [0.0] * len(t)
    for name, top in zip(("served", "refused", "failed"), layers, strict=True):
        axes.fill_between(t, below, top, step="post", color=_C[name], linewidth=0)
        _name_area(axes, name, t, below, top, frame)
        below = top
    offered = [float(row.get("offered", 0)) for row in run.seconds]
    axes.step(t, offered, where="post", color=_C["ink"], linewidth=1.1)


def _name_area(
    axes: Axes,
    name: str,
    t: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    frame: Frame,
) -> None:
    """Write the name into the area where it stays thick for longest, if it is thick anywhere."""
    reach = max(1, len(t) // 10)
    thick = [h - b for h, b in zip(high, low, strict=True)]
    inner = range(reach, len(t) - reach)
    best = max(inner, key=lambda i: sum(thick[i - reach : i + reach + 1]), default=None)
    if best is None or thick[best] < 0.12 * frame.users_max:
        return
    middle = (high[best] + low[best]) / 2
    axes.text(
        t[best], middle, name, ha="center", va="center", color=_C[f"on-{name}"], fontweight="bold"
    )


def _sessions(axes: Axes, run: Record, frame: Frame) -> None:
    axes.set_ylim(0, frame.sessions_max * 1.12)
    axes.yaxis.set_major_locator(mpl.ticker.MaxNLocator(2, integer=True, steps=[1, 2, 5, 10]))
    axes.grid(axis="y", color=_C["grid"], linewidth=0.6)
    _caption(axes, "database sessions: active, idle (pale), limit (dashed)")
    if not run.sessions:
        _nothing(axes)
        return
    t, active, idle, limit = (list(column) for column in zip(*run.sessions, strict=True))
    total = [a + i for a, i in zip(active, idle, strict=True)]
    axes.fill_between(t, 0, active, step="post", color=_C["served"], linewidth=0)
    axes.fill_between(t, active, total, step="post", color=_C["idle"], linewidth=0)
    axes.step(t, limit, where="post", color=_C["ink"], linewidth=1, linestyle=(0, (4, 3)))


def _lanes(axes: Axes, run: Record, frame: Frame, size: Size) -> None:
    """One lane a cause, coloured by its verdict; the name stands left of it or above it."""
    axes.set_ylim(len(frame.causes), 0)
    axes.grid(visible=False, axis="y")
    axes.set_yticks([])
    height, top = (0.42, 0.5) if size.lanes_named_inside else (0.7, 0.15)
    for lane, cause in enumerate(frame.causes):
        for state, start, end in stretches(run, cause, frame.end_s):
            axes.broken_barh(
                [(start, end - start)], (lane + top, height), color=_C[_STATES[state]], linewidth=0
            )
        if size.lanes_named_inside:
            at = blended_transform_factory(axes.transAxes, axes.transData)
            axes.text(
                0, lane + top - 0.06, cause, transform=at, va="bottom", color=_C["ink"],
                fontsize=size.font_px - 1,
            )  # fmt: skip
    if not size.lanes_named_inside:
        axes.set_yticks([n + 0.5 for n in range(len(frame.causes))], frame.causes)
        axes.tick_params(axis="y", colors=_C["ink"])
    _caption(axes, "what was held of each cause")


def _mark(
    panels: Sequence[Axes],
    marks: Sequence[Mark],
    placed: Sequence[tuple[int | None, bool]],
    row_px: float,
    size: Size,
) -> None:
    for mark, (row, hangs_left) in zip(marks, placed, strict=True):
        for panel in panels:
            panel.axvline(mark.at_s, color=_C["ink"], linewidth=0.9, linestyle=(0, (1, 2)))
        if row is None:
            continue
        panels[0].annotate(
            mark.text, (mark.at_s, 1), xycoords=("data", "axes fraction"),
            xytext=(-4 if hangs_left else 4, 5 + row * row_px), textcoords="offset points",
            ha="right" if hangs_left else "left", va="bottom", color=_C["ink"],
        )  # fmt: skip
        panels[0].annotate(
            "", (mark.at_s, 1), xycoords=("data", "axes fraction"),
            xytext=(0, 5 + (row + 0.8) * row_px), textcoords="offset points",
            arrowprops=_STALK,
        )  # fmt: skip


def _caption(axes: Axes, text: str, above_px: float = 4) -> None:
    axes.annotate(
        text, (0, 1), xycoords="axes fraction", xytext=(0, above_px), textcoords="offset points",
        ha="left", va="bottom", color=_C["soft"],
    )  # fmt: skip


def _nothing(axes: Axes) -> None:
    axes.text(0.5, 0.5, "nothing recorded", transform=axes.transAxes, ha="center", color=_C["soft"])


def _svg(figure: Figure) -> str:
    out = io.StringIO()
    facts = dict.fromkeys(("Date", "Creator", "Format", "Type"))  # the same input, the same text
    FigureCanvasSVG(figure).print_svg(out, metadata=facts)  # type: ignore[no-untyped-call]
    return out.getvalue()


def _themed(svg: str, name: str) -> str:
    """The element alone: no prologue, no names of outside documents, variables for colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<(metadata|style)\b.*?</\1>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", svg)
    svg = re.sub(r'<svg ([^>]*?)(width|height)="[^"]*"', r"<svg \1", svg)
    svg = re.sub(r'(<svg [^>]*?)\s(?:width|height)="[^"]*"', r"\1", svg)
    svg = svg.replace("xlink:href", "href")
    for hexed, variable in _VARIABLES.items():
        svg = svg.replace(hexed, f"var({variable})")
    used = set(re.findall(r'(?:href="#|url\(#)(\w+)', svg))  # matplotlib repeats ids it never uses
    svg = re.sub(r' id="([^"]+)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", svg)
    svg = re.sub(r'(href="#|url\(#)(\w+)', rf"\1{name}-\2", svg)
    return svg.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1).strip()
