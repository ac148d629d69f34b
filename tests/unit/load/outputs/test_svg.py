from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from premortem.load.outputs.svg import Band, Chart, Level, Series, draw, ticks


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 100, [0, 20, 40, 60, 80, 100]), (0, 7, [0, 2, 4, 6]), (0, 0.3, [0, 0.1, 0.2, 0.3])],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_a_tick_of_nothing_does_not_run_away() -> None:
    assert len(ticks(0.0, 0.0)) <= 12


def numbers_of(svg: str) -> list[float]:
    root = ElementTree.fromstring(svg)
    found = [
        v
        for e in root.iter()
        for k, v in e.attrib.items()
        if k in ("x", "y", "x1", "y1", "cx", "cy")
    ]
    for line in root.iter("polyline"):
        found += re.split(r"[ ,]", line.attrib["points"])
    return [float(v) for v in found if v]


@pytest.mark.parametrize("log_y", [False, True])
@pytest.mark.parametrize("width", [350.0, 760.0])
def test_everything_lies_on_the_picture(log_y: bool, width: float) -> None:
    points = tuple((float(x), float(x * x + 1)) for x in range(50))
    chart = Chart(
        "t", "s", "ms", (Series("p99", "failed", points), Series("dots", "served", points, "dots")),
        (Level(900.0, "p99<900ms"),), (Band(10.0, 12.0, "knee 11/s"),), log_y=log_y,
    )  # fmt: skip
    svg = draw(chart, width, 220.0)
    assert all(-1.0 <= n <= width + 1.0 for n in numbers_of(svg))
    assert "p99&lt;900ms" in svg


def test_nothing_to_draw_is_said() -> None:
    assert "nothing was measured" in draw(
        Chart("t", "s", "ms", (Series("a", "served", ()),)), 350, 200
    )


def test_one_point_and_zeros_are_drawn() -> None:
    for log_y in (False, True):
        svg = draw(
            Chart("t", "s", "ms", (Series("a", "served", ((0.0, 0.0),)),), log_y=log_y), 350, 200
        )
        assert all(abs(n) < 1000 for n in numbers_of(svg))
