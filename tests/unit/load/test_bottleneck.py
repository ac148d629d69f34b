from __future__ import annotations

from collections.abc import Mapping

import pytest

from premortem.load.bottleneck import Resource, name_bottleneck
from premortem.load.knee import Knee, Measured

WEB, POOL = Resource("web.cpu", 2), Resource("pool", 3)
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
    assert "db.cpu is at 98%" in found.reason


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
