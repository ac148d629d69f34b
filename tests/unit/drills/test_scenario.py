"""The compressed timeline."""

from itertools import pairwise

import pytest

from premortem.drills.scenario import SEED, timeline


def test_the_seeds_minutes_keep_their_proportions() -> None:
    line = timeline(2.5)
    assert {s.minute: s.at_s for s in line.steps} == {
        m: m / 2.5 for m in (5, 15, 30, 45, 75, 90, 120)
    }


def test_the_surge_is_over_before_the_restart() -> None:
    line = timeline()
    restart = next(s for s in line.steps if s.action == "restart_database")
    assert line.phase("hold").end_s < restart.at_s < line.end_s
    assert SEED.surge_over_min < SEED.mitigated_min


def test_phases_follow_each_other_without_a_gap() -> None:
    phases = timeline(5).phases
    for a, b in pairwise(phases):
        assert a.end_s == b.start_s
        assert a.to_share == b.from_share or b.name == "after"


@pytest.mark.parametrize("speed", [0, -1, 11, float("nan")])
def test_a_speed_that_leaves_no_time_is_refused(speed: float) -> None:
    with pytest.raises(ValueError, match="speed"):
        timeline(speed)


def test_an_unknown_phase_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        timeline().phase("lunch")
