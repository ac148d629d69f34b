"""What every detector promises, whichever it is."""

from __future__ import annotations

import itertools
import math
from dataclasses import is_dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from premortem.detectors._standard import standard
from premortem.model import History, Metric, Reading, Series
from premortem.parts import modules, parts
from premortem.pipeline import Detector

DETECTORS = parts("premortem.detectors")
NAMES = sorted(
    {
        name
        for module in modules("premortem.causes").values()
        for kind in ("FIRES", "SILENT", "NEAR_MISS")
        for example in getattr(module, kind)
        for name in example.names()
    }
)
METRICS = [Metric(name, "any", "Any.") for name in NAMES]


@pytest.mark.parametrize("name", sorted(DETECTORS))
def test_a_detector_is_a_frozen_noun_with_one_verb(name: str) -> None:
    part = DETECTORS[name]
    assert is_dataclass(part) and part.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert hasattr(part, "__slots__") and part.__doc__
    assert callable(part.detect)  # type: ignore[attr-defined]


def test_the_default_set_uses_every_kind() -> None:
    assert {type(d) for d in standard()} == set(DETECTORS.values())


def test_each_watch_gets_its_own_instances() -> None:
    """The burn rate keeps sums: two watches must not share them."""
    first, second = (next(d for d in standard() if "Burn" in type(d).__name__) for _ in range(2))
    assert first is not second


@pytest.mark.parametrize("detector", standard(), ids=lambda d: f"{type(d).__name__}-{d.metric}")
def test_nothing_read_means_no_signal(detector: Detector) -> None:
    history = History(METRICS)
    history.advance(1000.0)
    assert list(detector.detect(history)) == []


def test_only_declared_metrics_are_watched() -> None:
    sources = modules("premortem.sources").values()
    known = {metric.name for module in sources for metric in module.METRICS}
    for detector in standard():
        assert detector.metric in known  # type: ignore[attr-defined]


_READINGS = st.builds(
    Reading,
    source=st.sampled_from(["postgres", "http_probe"]),
    target=st.sampled_from(["site", "db"]),
    at=st.one_of(st.floats(0, 60), st.sampled_from([math.nan, math.inf, -5.0])),
    values=st.dictionaries(
        st.sampled_from([*NAMES, "unknown.metric"]),
        st.one_of(st.floats(), st.integers(-5, 200).map(float), st.just(1e308)),
        max_size=12,
    ),
    error=st.one_of(st.none(), st.sampled_from(["53300 x", "refused"])),
)


@settings(max_examples=80, deadline=None)
@given(st.lists(_READINGS, max_size=40))
def test_any_readings_are_taken_without_a_crash(readings: list[Reading]) -> None:
    history, detectors = History(METRICS), standard()
    for now, reading in enumerate(readings):
        history.observe(reading)
        history.advance(float(now))
        for signal in itertools.chain(*(d.detect(history) for d in detectors)):
            assert signal.note and signal.metric in history.metrics
            assert signal.runway_s >= 0 and not math.isnan(signal.value)


class Counting(History):
    """Counts the samples that are looked at."""

    touched = 0

    def window(self, metric: str, over_s: float, *, target: str | None = None) -> Series:
        series = super().window(metric, over_s, target=target)
        self.touched += len(series)
        return series


def touched(minutes: int) -> int:
    """How many samples the detectors look at in one tick after so many minutes."""
    history, detectors = Counting(METRICS), standard()
    watched = {d.metric for d in detectors}  # type: ignore[attr-defined]
    for second in range(minutes * 60):
        values = dict.fromkeys(watched, 1.0 + second % 3)
        history.observe(Reading("test", "site", float(second), values))
    for detector in detectors:
        list(detector.detect(history))
    return history.touched


def test_a_tick_looks_at_as_much_after_an_hour_as_after_six_minutes() -> None:
    assert touched(60) == touched(6)
