from __future__ import annotations

from premortem.detectors.change_point import ChangePoint
from premortem.detectors.failing import Failing
from premortem.detectors.plateau import Plateau
from premortem.detectors.silence import Silence
from premortem.model import Reading


def test_a_count_held_at_its_limit_is_saturation(past) -> None:
    slots = Plateau("used", "max", words="no slot is free")
    (signal,) = slots.detect(past(used=[50, 97, 97, 97, 97, 97], max=[100]))
    assert signal.since == 1001.0
    assert signal.note == "used is held at 97 of 100; no slot is free"


def test_flat_below_the_limit_or_moving_at_it_is_not(past) -> None:
    slots = Plateau("used", "max")
    assert not list(slots.detect(past(used=[50] * 9, max=[100])))
    assert not list(slots.detect(past(used=[97, 98, 97, 98, 97], max=[100])))
    assert not list(slots.detect(past(used=[97] * 9, max=[100], now=60)))


def test_traffic_that_doubles_is_a_change_point_until_it_is_the_past(past) -> None:
    traffic = ChangePoint("x", noise="poisson")
    calm = [30, 34, 31, 29, 35] * 6
    (signal,) = traffic.detect(past(x=[*calm, 70, 72]))
    assert signal.note == "x jumped from 31 to 71"
    assert not list(traffic.detect(past(x=[*calm, 40, 44])))
    assert not list(traffic.detect(past(x=calm + [70] * 60)))


def test_the_first_requests_after_none_are_no_change_point(past) -> None:
    traffic = ChangePoint("x", noise="poisson")
    assert not list(traffic.detect(past(x=[0] * 30 + [20, 30])))


def test_a_metric_that_stops_is_silence(past) -> None:
    silence = Silence("x", after_s=6.0, words="no answer")
    assert not list(silence.detect(past(x=[1, 2], now=7)))
    (signal,) = silence.detect(past(x=[1, 2], now=8))
    assert (signal.value, signal.since) == (7.0, 1001.0)
    assert signal.note == "no x from site for 7 s: no answer"
    (signal,) = silence.detect(past(x=[1, 2], now=5000))
    assert signal.value == 120.0


def test_a_source_that_fails_twice_is_heard(past) -> None:
    failing = Failing("postgres", "x", text="53300")
    history = past(x=[1])
    history.observe(Reading("postgres", "site", 1000.0, error="refused"))
    history.observe(Reading("postgres", "site", 1001.0, error="53300 too many connections"))
    assert not list(failing.detect(history))
    history.observe(Reading("postgres", "site", 1002.0, error="53300 too many connections"))
    (signal,) = failing.detect(history)
    assert signal.value == 2.0
    assert "53300 too many connections" in signal.note
