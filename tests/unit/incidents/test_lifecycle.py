"""Events fold to the incident they tell of."""

from __future__ import annotations

import random

import pytest

from premortem.incidents.lifecycle import fold, hypotheses, minutes_lost, remedied
from premortem.incidents.sample import RAMP_AT, sample_runs
from premortem.model import Event, Incident

THEIRS, OURS = (run.events for run in sample_runs())


def event(t: float, kind: str, **data: object) -> Event:
    return Event(t, kind, kind, data=data)


def offsets(incident: Incident) -> list[float | None]:
    moments = (
        incident.opened_at,
        incident.detected_at,
        incident.named_at,
        incident.mitigated_at,
        incident.resolved_at,
    )
    return [None if at is None else round(at - RAMP_AT, 2) for at in moments]


def test_no_events_are_no_incident() -> None:
    assert fold(()) == Incident()


def test_a_calm_run_is_no_incident() -> None:
    calm = (event(0, "phase", phase="ramp"), event(9, "phase", phase="end"))
    assert fold(calm) == Incident(events=calm)


def test_people_lead_the_run_as_it_happened() -> None:
    incident = fold(THEIRS)
    assert offsets(incident) == [5.31, 8.4, 36.0, 48.0, 52.0]
    assert (incident.cause, incident.tier) == (None, "database")


def test_premortem_leads_the_protected_run() -> None:
    incident = fold(OURS)
    assert offsets(incident) == [3.25, 3.25, 5.5, 5.6, 41.0]
    assert (incident.cause, incident.tier) == ("db_cpu_by_traffic", "database")


def test_the_order_in_which_events_arrive_does_not_matter() -> None:
    shuffled = list(THEIRS)
    random.Random(7).shuffle(shuffled)
    assert offsets(fold(shuffled)) == offsets(fold(THEIRS))


def test_what_happened_before_the_ramp_opens_nothing() -> None:
    events = (event(-5, "signal", metric="m"), event(0, "phase", phase="ramp"), event(3, "note"))
    assert fold(events).opened_at is None


def test_a_flicker_is_not_the_cause() -> None:
    named = [("web_cpu", 1), ("lock_contention", 2), (None, 20)]
    events = [event(0.5, "signal")]
    events += [event(t, "diagnosis", cause=c, tier="database") for c, t in named]
    incident = fold(events)
    assert (incident.cause, incident.named_at) == ("lock_contention", 2)


def test_without_a_return_to_normal_it_is_not_resolved() -> None:
    gone = [e for e in THEIRS if e.data.get("phase") != "recovered"]
    assert offsets(fold(gone))[-2:] == [48.0, None]


def test_a_lull_during_the_surge_is_no_recovery() -> None:
    events = [
        event(0, "phase", phase="ramp"),
        event(1, "signal"),
        event(5, "resolved"),
        event(40, "phase", phase="surge_end"),
    ]
    assert fold(events).resolved_at is None
    assert fold([*events, event(41, "phase", phase="recovered")]).resolved_at == 41
    same_second = event(39.9, "phase", phase="recovered")
    assert fold([*events, same_second]).resolved_at == 39.9


def test_the_seeds_lost_85_minutes() -> None:
    held = hypotheses(THEIRS)
    assert [(h.tier, h.wrong) for h in held] == [
        ("network", True),
        ("web", True),
        ("database", False),
    ]
    assert [h.held_s for h in held] == pytest.approx([10.0, 24.0, 12.0])
    assert minutes_lost(held, 2.5) == pytest.approx(85.0)
    assert minutes_lost(held, None) == pytest.approx(34 / 60)


def test_the_next_blame_ends_the_one_before() -> None:
    blames = [
        event(0, "operator", action="blame", tier="network"),
        event(4, "operator", action="blame", tier="database"),
        event(9, "note"),
    ]
    assert [(h.held_s, h.wrong) for h in hypotheses(blames)] == [(4, True), (5, False)]


def test_effects_belong_to_their_act() -> None:
    shed, *rest = remedied(OURS)
    assert (shed.name, len(shed.effects), rest) == ("shed", 1, [])
    added, restarted = remedied(THEIRS)
    assert (added.name, [e.data for e in added.effects]) == ("add_workers", [{"workers": 3}])
    assert (restarted.name, [e.data for e in restarted.effects]) == (
        "restart_database",
        [{"took_s": 0.7}],
    )
