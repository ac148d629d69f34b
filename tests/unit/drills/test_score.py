"""Figures of a run, from rows and events made by hand."""

from premortem.drills.scenario import timeline
from premortem.drills.score import Second, recovered_s, score
from premortem.model import Event

LINE = timeline()
RAMP = 1000.0


def rows(surge: tuple[int, int, int], after: tuple[int, int, int]) -> list[Second]:
    """(served, refused, failed) of 100 users a second in the surge and of 20 after it."""
    found = [Second(t, 20, 20, 0, 0, 40, 40) for t in range(-12, 0)]
    found += [Second(t, 100, *surge, requests_ok=90, attempts=300) for t in range(40)]
    return found + [Second(t, 20, *after, requests_ok=40, attempts=40) for t in range(40, 64)]


def told(kind: str, t: float, **data: object) -> Event:
    return Event(RAMP + t, kind, "", data=data)


def run(mode: str, seconds: list[Second], events: list[Event]) -> dict[str, object]:
    return score(
        mode=mode, line=LINE, seconds=seconds, events=events, ramp_at=RAMP,
        requests_per_journey=2.0, first_failure_s=None, acknowledged=10, lost=0,
        p50_ms=5.0, p99_ms=50.0,
    ).as_dict()  # fmt: skip


def test_the_protected_run() -> None:
    events = [
        told("signal", -5.0),
        told("signal", 3.0),
        told("diagnosis", 6.0, cause="c", tier="database", ruled_out=["network", "web"]),
    ]
    found = run("protected", rows((33, 67, 0), (20, 0, 0)), events)
    assert found["detected_s"] == 3.0
    assert (found["named_s"], found["cause"], found["tier"]) == (6.0, "c", "database")
    assert found["ruled_out"] == ["network", "web"]
    assert found["recovered_s"] == 0.0
    assert found["users_refused_share_in_surge"] == 0.67
    assert found["surge_offered_rps"] == 200.0
    assert found["surge_goodput_rps"] == 90.0
    assert found["baseline_goodput_rps"] == 40.0
    assert found["restarts"] == 0


def test_the_run_as_it_happened_is_told_by_its_operators() -> None:
    events = [
        told("operator", 9.0, action="alert"),
        told("operator", 12.0, action="rule_out", tier="network"),
        told("operator", 36.0, action="blame", tier="database"),
        told("operator", 48.0, action="restart_database"),
    ]
    seconds = rows((2, 0, 98), (0, 0, 20))
    seconds = [s if s.t < 56 else Second(s.t, 20, 20, 0, 0, 40, 40) for s in seconds]
    found = run("as_it_happened", seconds, events)
    assert (found["detected_s"], found["named_s"], found["tier"]) == (9.0, 36.0, "database")
    assert found["cause"] is None
    assert found["recovered_s"] is None
    assert found["recovered_after_restart_s"] == 8.0
    assert found["restarts"] == 1


def test_recovery_needs_three_seconds_in_a_row_before_the_bound() -> None:
    good = [Second(t, 20, 20, 0, 0, 1, 1) for t in range(10)]
    assert recovered_s(good, 4, 10) == 0.0
    assert recovered_s(good, 8, 10) is None
    broken = [s if s.t % 3 else Second(s.t, 20, 0, 0, 20, 0, 1) for s in good]
    assert recovered_s(broken, 0, 10) is None


def test_a_second_without_users_is_no_recovery() -> None:
    assert recovered_s([Second(t, 0, 0, 0, 0, 0, 0) for t in range(10)], 0, 10) is None
