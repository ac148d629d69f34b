"""A step costs the same after ten minutes and after ten hours, calm or in trouble."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import cycle, islice
from types import FrameType

import pytest

from premortem.causes._worlds import SITE, SURGE_PROTECTED
from premortem.detectors._standard import standard
from premortem.detectors.burn_rate import BurnRate
from premortem.examples import Example
from premortem.model import History, Reading
from premortem.parts import parts
from premortem.pipeline import Pipeline
from premortem.sources._declared import declared_metrics

DENSE_S = 600
"""The last minutes are read once a second, as live: all that a history remembers."""
SPARSE_S = 20
"""What lies before is read every twenty seconds: the same span with a twentieth of the work."""
STEPS = 10
SURGE = {m: v[1] if isinstance(v, tuple) else v for m, v in SURGE_PROTECTED.items()}


def calls_of(work: Callable[[], object]) -> int:
    """How many functions, of Python or C, are called meanwhile: no clock, so never flaky."""
    count = 0

    def count_one(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(count_one)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def aged(minutes: int) -> tuple[Pipeline, float]:
    """A pipeline that has watched a calm site for so long, and the present."""
    causes = [made() for made in parts("premortem.causes").values()]
    pipeline = Pipeline(History(declared_metrics()), standard(), causes)
    seconds = minutes * 60
    dense = max(seconds - DENSE_S, 0)
    times = [*range(0, dense, SPARSE_S), *range(dense, seconds)]
    day = cycle([*islice(values_of(SITE), 97)])
    for second, values in zip(times, day, strict=False):
        pipeline.history.observe(Reading("example", "site", float(second), values))
        for detector in pipeline.detectors:
            if isinstance(detector, BurnRate):  # it keeps sums of its own
                list(detector.detect(pipeline.history))
        pipeline.history.settle(calm=True)
    return pipeline, float(seconds)


def values_of(world: Mapping[str, float]) -> Iterator[Mapping[str, float]]:
    """The noisy values of a world, second by second."""
    for _, (reading,) in Example("now", world, calm_s=100_000).readings():
        yield reading.values


def cost(minutes: int, trouble: Mapping[str, float]) -> float:
    """Calls a step, over some steps of calm or of a surge."""
    pipeline, start = aged(minutes)
    seen = list(islice(values_of({**SITE, **trouble}), STEPS))

    def steps() -> None:
        for now, values in enumerate(seen, int(start)):
            pipeline.step(float(now), [Reading("example", "site", float(now), values)])

    return calls_of(steps) / STEPS


@pytest.mark.parametrize("trouble", [{}, SURGE], ids=["calm", "surge"])
def test_a_step_costs_the_same_after_ten_hours(trouble: Mapping[str, float]) -> None:
    young, old = cost(10, trouble), cost(600, trouble)
    assert old == pytest.approx(young, rel=0.1)
    assert old > 500, "nothing was counted"
