"""A clock that is set: no judgement changes, and what is written carries the new time."""

from premortem.app.assemble import new_pipeline
from premortem.app.notify import Notice
from premortem.app.watch_clock import Steps, notice_at_wall, tick_at_wall
from premortem.model import Diagnosis, Event, Evidence, Reading, Signal, Verdict
from premortem.pipeline import Tick


def test_steps_are_noticed_in_both_directions_and_slewing_is_not() -> None:
    own, wall = [100.0], [100.0]
    steps = Steps(lambda: own[0], lambda: wall[0])
    assert steps.moved() is None
    wall[0] += 0.9
    assert steps.moved() is None
    wall[0] = 3700.0
    assert steps.moved() == 3600.0
    assert steps.moved() is None
    wall[0] = 100.0
    assert (steps.moved(), steps.offset_s) == (-3600.0, 0.0)


def tick() -> Tick:
    evidence = Evidence("db.up", 0.0, 0.5, 95.0, "down")
    verdict = Verdict("database_down", "database", "confirmed", "it is", (evidence,))
    signal = Signal("threshold", "db.up", 0.0, 0.5, 96.0)
    event = Event(99.0, "verdict", "x", data={"evidence": [{"since": 95.0, "value": 95.0}]})
    reading = Reading("postgres", "db", 98.0, {"db.up": 0.0})
    return Tick(100.0, (reading,), Diagnosis(100.0, (verdict,), (signal,)), (event,))


def test_everything_that_leaves_carries_the_machines_time() -> None:
    same, later = tick_at_wall(tick(), 0.0), tick_at_wall(tick(), 3600.0)
    assert same == tick()
    assert (later.now, later.readings[0].at, later.diagnosis.at) == (3700.0, 3698.0, 3700.0)
    assert later.readings[0].values == {"db.up": 0.0}
    assert later.diagnosis.ledger[0].evidence[0].since == 3695.0
    assert later.diagnosis.signals[0].since == 3696.0
    assert later.events[0].at == 3699.0
    assert later.events[0].data == {"evidence": [{"since": 3695.0, "value": 95.0}]}
    notice = notice_at_wall(Notice("s", "page", "x", "opened", 100.0, 90.0, 1.0), -50.0)
    assert (notice.at, notice.began) == (50.0, 40.0)


def test_an_hour_that_the_clock_jumps_over_is_no_hour_of_silence() -> None:
    """The history lives on the watch's own time, which no step reaches."""
    own, wall = [1000.0], [1000.0]
    steps, pipeline = Steps(lambda: own[0], lambda: wall[0]), new_pipeline()
    for second in range(120):
        own[0] += 1.0
        wall[0] += 1.0 + (3600.0 if second == 60 else -7200.0 if second == 90 else 0.0)
        steps.moved()
        reading = Reading("postgres", "db", own[0], {"db.up": 1.0, "db.connections.used": 5.0})
        diagnosis = pipeline.step(own[0], [reading])
        assert diagnosis.signals == ()
        assert tick_at_wall(Tick(own[0], (reading,), diagnosis, ()), steps.offset_s).now == wall[0]
    assert len(pipeline.history.window("db.up", 60.0)) == 61
    assert pipeline.history.silent_s("postgres", "db") == 0.0
