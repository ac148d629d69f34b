from __future__ import annotations

from premortem.detectors.threshold import Threshold


def test_signals_only_after_all_samples_in_a_row(past) -> None:
    queue = Threshold("q", 0.0, samples=3)
    assert not list(queue.detect(past(q=[0, 5, 0, 5, 5])))
    (signal,) = queue.detect(past(q=[0, 5, 5, 5]))
    assert (signal.value, signal.limit, signal.since, signal.runway_s) == (5.0, 0.0, 1001.0, 0.0)


def test_the_limit_may_be_a_share_of_another_metric(past) -> None:
    slots = Threshold("used", limit_metric="max", share=0.8, samples=2)
    assert not list(slots.detect(past(used=[79, 79], max=[100, 100])))
    assert list(slots.detect(past(used=[81, 81], max=[100, 100])))
    assert not list(slots.detect(past(used=[81, 81], max=[0, 0])))


def test_below_and_stale(past) -> None:
    ok = Threshold("ok", 0.85, below=True, samples=1, words="probes fail")
    (signal,) = ok.detect(past(ok=[1, 0.5]))
    assert signal.note == "ok is 0.5 things against 0.85: probes fail"
    assert not list(ok.detect(past(ok=[0.5], now=30)))


def test_a_companion_metric_must_hold_too(past) -> None:
    both = Threshold("n", 3.0, samples=2, while_metric="busy", while_above=0.9)
    assert list(both.detect(past(n=[9, 9], busy=[1, 1])))
    assert not list(both.detect(past(n=[9, 9], busy=[1, 0.5])))
    assert not list(both.detect(past(n=[9, 9], busy=[1])))


def test_a_limit_of_times_the_usual_needs_a_baseline(past) -> None:
    slow = Threshold("ms", 250.0, times_usual=4.0, samples=1)
    history = past(ms=[100] * 30 + [390])
    assert not list(slow.detect(history))
    history.settle(calm=True)
    assert not list(slow.detect(history))
    history.advance(1031.0)
    assert not list(Threshold("ms", 250.0, times_usual=4.0, samples=1).detect(history))
    assert list(Threshold("ms", 250.0, times_usual=3.0, samples=1).detect(history))
