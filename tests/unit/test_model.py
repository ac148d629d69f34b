"""History: baselines that an outage cannot become, bounded memory, honest absences."""

import math

import pytest

from premortem.model import Diagnosis, History, Metric, Reading, UnknownMetric, Verdict

USED = Metric("db.connections.used", "sessions", "Sessions open.")


def history(**kwargs: float) -> History:
    return History([USED], **kwargs)  # type: ignore[arg-type]


def feed(h: History, values: list[float], start: float = 0.0, target: str = "db") -> None:
    for i, value in enumerate(values):
        h.observe(Reading("postgres", target, start + i, {USED.name: value}))


def test_an_undeclared_metric_is_a_mistake_everywhere() -> None:
    h = history()
    for ask in (h.value, h.baseline, h.since):
        with pytest.raises(UnknownMetric, match="no source declares"):
            ask("db.connection.used")


def test_undeclared_and_not_finite_values_are_left_out() -> None:
    h = history()
    h.observe(Reading("x", "db", 1.0, {"made.up": 1.0, USED.name: math.nan}))
    assert h.value(USED.name) is None


def test_a_value_grows_stale() -> None:
    h = history()
    feed(h, [5.0])
    h.advance(10.0)
    assert h.value(USED.name) is None
    assert h.value(USED.name, max_age_s=20.0) == 5.0


def test_duplicates_and_the_past_add_nothing() -> None:
    h = history()
    feed(h, [1.0, 2.0])
    feed(h, [9.0])
    assert h.window(USED.name, 60).values == (1.0, 2.0)


def test_trouble_never_becomes_the_baseline() -> None:
    h = history()
    for second in range(60):
        feed(h, [10.0], start=second)
        h.settle(calm=True)
    for second in range(60, 600):
        feed(h, [90.0], start=second)
        h.settle(calm=False)
    usual = h.baseline(USED.name)
    assert usual is not None
    assert usual.median == 10.0


def test_samples_in_quarantine_when_trouble_starts_are_thrown_away() -> None:
    h = history(quarantine_s=10.0)
    for second in range(30):
        feed(h, [10.0], start=second)
        h.settle(calm=True)
    for second in range(30, 36):  # already rising, not yet noticed
        feed(h, [80.0], start=second)
        h.settle(calm=True)
    h.settle(calm=False)
    h.advance(100.0)
    h.settle(calm=True)
    usual = h.baseline(USED.name)
    assert usual is not None
    assert usual.median == 10.0
    assert usual.samples == 26


def test_no_baseline_from_a_handful() -> None:
    h = history(quarantine_s=0.0)
    for second in range(4):
        feed(h, [1.0], start=second)
        h.settle(calm=True)
    assert h.baseline(USED.name) is None


def test_memory_is_bounded() -> None:
    h = history(samples_max=50)  # type: ignore[arg-type]
    feed(h, [float(i) for i in range(1000)])
    assert len(h.window(USED.name, 1e9)) == 50


def test_since_finds_the_start_of_the_unbroken_run() -> None:
    h = history()
    feed(h, [1.0, 9.0, 1.0, 9.0, 9.0])
    assert h.since(USED.name, above=5.0) == 3.0
    assert h.since(USED.name, below=5.0) is None


def test_of_several_targets_the_worst_speaks() -> None:
    h = history()
    feed(h, [3.0], target="a")
    feed(h, [7.0], target="b")
    assert h.value(USED.name) == 7.0
    assert h.value(USED.name, target="a") == 3.0


def test_a_failure_is_kept_as_evidence() -> None:
    h = history()
    h.observe(Reading("postgres", "db", 5.0, error="53300 too many connections"))
    assert h.failures("postgres")[0].error.startswith("53300")
    h.advance(100.0)
    assert h.failures("postgres") == ()


def test_a_tier_is_ruled_out_only_when_all_its_causes_are() -> None:
    ledger = (
        Verdict("network_loss", "network", "ruled_out", ""),
        Verdict("web_cpu", "web", "ruled_out", ""),
        Verdict("accept_queue_overflow", "web", "cannot_exclude", ""),
    )
    assert Diagnosis(0.0, ledger).ruled_out_tiers() == ("network",)


def test_what_many_ask_for_is_worked_out_once_until_anything_changes() -> None:
    h = history()
    feed(h, [1.0, 2.0])
    asked: list[float] = []

    def look(past: History, over_s: float) -> float:
        asked.append(over_s)
        return past.now

    assert (h.remember(look, 5.0), h.remember(look, 5.0), h.remember(look, 9.0)) == (1.0, 1.0, 1.0)
    assert asked == [5.0, 9.0]
    h.advance(1.0)  # no time has passed
    h.remember(look, 5.0)
    assert asked == [5.0, 9.0]
    for change in (
        lambda: h.advance(3.0),
        lambda: feed(h, [3.0], start=2.0),
        lambda: h.settle(calm=True),
    ):
        change()
        asked.clear()
        h.remember(look, 5.0)
        assert asked == [5.0]


def test_a_level_is_never_older_than_what_was_read() -> None:
    """Remembered answers do not outlive a reading."""
    h = history()
    feed(h, [1.0])
    assert h.median(USED.name, 5.0) == 1.0
    feed(h, [9.0], start=1.0)
    assert h.median(USED.name, 5.0) == 5.0
    assert h.window(USED.name, 5.0).values == (1.0, 9.0)


def test_of_several_targets_the_best_known_gives_the_baseline() -> None:
    h = history(quarantine_s=0.0)
    for second in range(9):
        feed(h, [3.0], start=second, target="a")
        if second > 3:
            feed(h, [7.0], start=second, target="b")
        h.settle(calm=True)
    usual = h.baseline(USED.name)
    assert usual is not None and (usual.median, usual.samples) == (3.0, 9)
    of_b = h.baseline(USED.name, target="b")
    assert of_b is not None and of_b.median == 7.0
