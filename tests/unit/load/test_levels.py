from __future__ import annotations

import pytest

from premortem.load.levels import RESOURCES, WORDS, levels_from, means_of
from premortem.model import Reading
from premortem.sources._declared import declared_metrics


def test_every_resource_has_words_and_a_depth_of_its_tier() -> None:
    assert {r.name for r in RESOURCES} == set(WORDS)
    depth = {r.name: r.depth for r in RESOURCES}
    assert depth["web.workers"] < depth["web.cpu"] < depth["pool"] < depth["downstream"]
    assert depth["downstream"] < depth["db.connections"] < depth["db.cpu"] == depth["db.lock"]


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ({"web.in_flight": 4.0, "web.in_flight_limit": 4.0}, {"web.workers": 1.0}),
        ({"pool.in_use": 3.0, "pool.max": 4.0}, {"pool": 0.75}),
        ({"pool.proxy.in_use": 3.0, "pool.proxy.idle": 1.0}, {"pool": 0.75}),
        ({"web.downstream_ms": 40.0}, {"downstream": 40.0}),
        ({"db.connections.used": 50.0, "db.connections.max": 97.0}, {"db.connections": 50 / 97}),
        ({"web.in_flight": 4.0}, {}),
        ({"pool.in_use": 0.0, "pool.max": 0.0}, {}),
    ],
)
def test_a_level_needs_all_of_its_metrics(
    seen: dict[str, float], expected: dict[str, float]
) -> None:
    assert levels_from(seen) == pytest.approx(expected)


def test_the_databases_processor_is_read_from_its_processes_if_they_are_here() -> None:
    waits = {"db.wait.cpu": 3.0, "db.cores": 4.0}
    assert levels_from(waits)["db.cpu"] == 0.75
    assert levels_from({**waits, "db.cpu.busy_ratio": 0.9})["db.cpu"] == 0.9


def test_waits_are_shares_of_the_sessions_at_work() -> None:
    found = levels_from({"db.wait.cpu": 1.0, "db.wait.lock": 8.0, "db.wait.io": 1.0})
    assert (found["db.lock"], found["db.io"]) == (0.8, 0.1)


def test_shares_of_an_idle_database_are_chance() -> None:
    assert levels_from({"db.wait.cpu": 0.0, "db.wait.lock": 0.1})["db.lock"] == 0.0


def test_means_are_those_of_the_window() -> None:
    readings = [Reading("host", "h", at, {"web.cpu.busy_ratio": at / 10}) for at in (1.0, 2.0, 3.0)]
    assert means_of(readings, 1.5, 3.0) == {"web.cpu.busy_ratio": pytest.approx(0.25)}


def test_every_metric_that_levels_read_is_declared_by_a_source() -> None:
    declared = {m.name for m in declared_metrics()}
    asked: set[str] = set()

    class Asking(dict[str, float]):
        def __contains__(self, name: object) -> bool:
            asked.add(str(name))
            return True

        def __getitem__(self, name: str) -> float:
            asked.add(name)
            return 1.0

        def get(self, name: str, default: object = None) -> float:  # type: ignore[override]
            asked.add(name)
            return 1.0

    levels_from(Asking())
    assert asked and asked <= declared
