from __future__ import annotations

from collections.abc import Sequence

from premortem.detectors.burn_rate import PAGES, BurnRate
from premortem.model import History, Metric, Reading, Signal

NAME = "user.http.ok_ratio"


def run(shares: Sequence[float], step_s: float = 10.0) -> list[list[Signal]]:
    """The first pair of windows (1 h and 5 min) over shares of good answers."""
    burn, history = BurnRate(windows=PAGES[:1]), History([Metric(NAME, "ratio", "Good answers.")])
    heard = []
    for i, share in enumerate(shares):
        history.observe(Reading("http_probe", "site", i * step_s, {NAME: share}))
        heard.append(list(burn.detect(history)))
    return heard


def test_one_percent_of_errors_in_a_thousandth_budget_is_no_page() -> None:
    assert not any(run([0.995] * 400))


def test_two_percent_for_an_hour_pages() -> None:
    heard = run([1.0] * 60 + [0.97] * 360)
    assert heard[-1]
    assert heard[-1][0].metric == NAME
    assert heard[-1][0].value > 14.4


def test_a_page_ends_when_the_short_window_is_clean() -> None:
    heard = run([0.9] * 60 + [1.0] * 40)
    assert heard[59] and not heard[-1]


def test_the_first_minutes_are_not_judged() -> None:
    assert not any(run([0.0] * 29))


def test_memory_is_bounded_by_the_longest_window() -> None:
    burn, history = BurnRate(), History([Metric(NAME, "ratio", "Good answers.")])
    for i in range(3000):
        history.observe(Reading("http_probe", "site", i * 60.0, {NAME: 1.0}))
        list(burn.detect(history))
    assert len(burn._sums.started) == len(burn._sums.before) < 2 * 361
