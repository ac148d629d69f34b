from __future__ import annotations

from collections.abc import Mapping

import pytest

from premortem.load.bottleneck import Resource, name_bottleneck
from premortem.load.knee import Knee, Measured

WEB, POOL = Resource("web.cpu", 2), Resource("pool", 3, "slots")
DATABASE, LOCK = Resource("db.cpu", 5), Resource("db.wait.lock", 5, "share")
ALL = (WEB, POOL, DATABASE, LOCK)


def knee(at_100: Mapping[str, float], calm: Mapping[str, float] | None = None) -> Knee:
    """Levels at the knee of 100/s; at a quarter of the load a quarter of them, unless given."""
    quarter = {k: v / 4 for k, v in at_100.items()} if calm is None else calm
    trials = (
        Measured(25, 5, 125, 125, 0, served_per_s=25, levels=quarter),
        Measured(98, 5, 490, 490, 0, served_per_s=98, levels=at_100),
        Measured(103, 5, 515, 400, 115, served_per_s=99, levels=at_100),
    )
    return Knee(100.0, 98.0, 103.0, trials, "")


@pytest.mark.parametrize(
    ("levels", "named"),
    [
        ({"web.cpu": 0.99, "pool": 0.3, "db.cpu": 0.4}, "web.cpu"),
        ({"web.cpu": 0.5, "pool": 1.0, "db.cpu": 0.4}, "pool"),
        ({"web.cpu": 0.5, "pool": 1.0, "db.cpu": 0.97}, "db.cpu"),
        ({"web.cpu": 0.5, "pool": 1.0, "db.cpu": 0.2, "db.wait.lock": 0.8}, "db.wait.lock"),
        ({"web.cpu": 1.0, "pool": 0.3, "db.cpu": 0.86}, "web.cpu"),
    ],
    ids=["web", "pool", "database behind the pool", "lock behind the pool", "web, busy database"],
)
def test_the_planted_resource_is_named(levels: dict[str, float], named: str) -> None:
    assert name_bottleneck(knee(levels), ALL).resource == named


def test_what_would_be_next_is_extrapolated_by_the_utilisation_law() -> None:
    found = name_bottleneck(knee({"web.cpu": 0.5, "pool": 0.2, "db.cpu": 0.98}), ALL)
    assert (found.resource, found.next_resource) == ("db.cpu", "web.cpu")
    assert found.next_per_s == pytest.approx(197, rel=0.05)
    assert found.limit_per_s == pytest.approx(100, rel=0.05)
    assert "db.cpu is 98% busy at the knee" in found.reason


def test_slots_are_next_by_how_they_filled_on_a_calm_site() -> None:
    found = name_bottleneck(
        knee({"pool": 1.0, "db.cpu": 0.98}, {"pool": 0.05, "db.cpu": 0.25}), ALL
    )
    assert (found.resource, found.next_resource) == ("db.cpu", "pool")
    assert found.next_per_s == pytest.approx(500)


def test_what_is_full_where_it_broke_counts_not_just_below() -> None:
    trials = (
        Measured(25, 5, 125, 125, 0, served_per_s=25, levels={"pool": 0.2, "web.cpu": 0.1}),
        Measured(90, 5, 450, 450, 0, served_per_s=90, levels={"pool": 0.6, "web.cpu": 0.3}),
        Measured(105, 5, 525, 400, 99, served_per_s=98, levels={"pool": 1.0, "web.cpu": 0.4}),
        Measured(200, 5, 990, 400, 500, served_per_s=98, levels={"pool": 1.0, "web.cpu": 0.99}),
    )
    found = name_bottleneck(Knee(97.0, 90.0, 105.0, trials, ""), ALL)
    assert (found.resource, found.level_at_knee) == ("pool", 1.0)


SERVICE = Resource("downstream", 4, "latency")


def test_a_service_that_got_slower_is_the_limit_when_nothing_behind_it_is_full() -> None:
    levels = {"web.cpu": 0.3, "downstream": 90.0}
    found = name_bottleneck(knee(levels, {"web.cpu": 0.1, "downstream": 20.0}), (*ALL, SERVICE))
    assert found.resource == "downstream"
    assert found.level_at_knee == pytest.approx(1 - 20 / 90)


def test_a_slow_answer_seen_by_a_full_web_tier_says_nothing_of_the_service() -> None:
    levels = {"web.cpu": 0.99, "downstream": 90.0}
    found = name_bottleneck(knee(levels, {"web.cpu": 0.1, "downstream": 20.0}), (*ALL, SERVICE))
    assert found.resource == "web.cpu"


def test_what_was_always_full_is_not_what_the_load_filled() -> None:
    busy = {"web.cpu": 0.95, "db.cpu": 0.95}
    found = name_bottleneck(knee(busy, calm={"web.cpu": 0.94, "db.cpu": 0.25}), ALL)
    assert found.resource == "db.cpu"


def test_nothing_full_means_nothing_named() -> None:
    found = name_bottleneck(knee({"web.cpu": 0.4, "db.cpu": 0.6}), ALL)
    assert found.resource is None
    assert "fullest is db.cpu at 60%" in found.reason


def test_nothing_sampled_means_nothing_named() -> None:
    assert "no resource was sampled" in name_bottleneck(knee({}), ALL).reason


def test_without_a_knee_there_is_no_bottleneck() -> None:
    nothing = Knee(None, None, None, (), "did not bend")
    assert name_bottleneck(nothing, ALL).reason == "no knee: did not bend"


def test_what_a_few_samples_show_as_four_fifths_is_looked_up_further_above() -> None:
    trials = (
        Measured(25, 1, 25, 25, 0, served_per_s=25, levels={"pool": 0.2, "web.cpu": 0.1}),
        Measured(98, 5, 490, 490, 0, served_per_s=98, levels={"pool": 0.7, "web.cpu": 0.3}),
        Measured(103, 5, 515, 400, 115, served_per_s=99, levels={"pool": 0.8, "web.cpu": 0.3}),
        Measured(200, 1, 200, 90, 110, served_per_s=98, levels={"pool": 1.0, "web.cpu": 0.4}),
    )
    found = name_bottleneck(Knee(100.0, 98.0, 103.0, trials, ""), ALL)
    assert found.resource == "pool"
    assert found.reason == "pool is 100% taken beyond the knee, and nothing behind it is full"
    assert name_bottleneck(Knee(100.0, 98.0, 103.0, trials[:3], ""), ALL).resource is None
