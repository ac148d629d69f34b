"""A bug in one part is told, and stops no other."""

from collections.abc import AsyncGenerator, Iterable

import pytest

from premortem.app.loop import Watch
from premortem.app.shelter import Shelter, contained, supervised
from premortem.model import Diagnosis, History, Reading, Signal, Verdict
from premortem.pipeline import Pipeline, Tick

TICK = Tick(1.0, (), Diagnosis(1.0, ()), ())


class SlowQuery:
    """A cause with a bug that shows after its first verdict."""

    remedies = ("mend",)
    tier = "database"

    def __init__(self, good_for: int) -> None:
        self.good_for = good_for

    def judge(self, history: History) -> Verdict:
        self.good_for -= 1
        if self.good_for < 0:
            raise ZeroDivisionError("division by zero")
        return Verdict("slow_query", "database", "ruled_out", "fast")


class Fine:
    remedies = ()

    def judge(self, history: History) -> Verdict:
        return Verdict("fine", "web", "confirmed", "it is")


class Broken:
    def detect(self, history: History) -> Iterable[Signal]:
        yield Signal("broken", "x", 1.0, 0.0, 0.0)
        raise KeyError("x")


@pytest.mark.parametrize("good_for", [0, 1])
def test_a_cause_that_raises_cannot_be_excluded_and_the_others_are_judged(good_for: int) -> None:
    shelter = Shelter()
    pipeline = shelter.over(Pipeline(History([]), [Broken()], [SlowQuery(good_for), Fine()]))
    for now in (1.0, 2.0):
        diagnosis = pipeline.step(now, [])
    assert diagnosis.states() == {"slow_query": "cannot_exclude", "fine": "confirmed"}
    assert diagnosis.ledger[0].because.startswith("could not be judged: ZeroDivisionError in")
    assert diagnosis.cause == "fine"
    assert diagnosis.signals == ()
    assert set(shelter.bugs) == {"SlowQuery", "Broken"}


async def test_the_watch_tells_a_bug_once() -> None:
    watch = Watch([], Pipeline(History([]), [], [SlowQuery(0)]), tick_s=0.05)
    told: list[str] = []
    async for tick in watch.ticks(until=watch.clock() + 0.2):
        told += [e.text for e in tick.events if "bug" in e.data]
    assert len(told) == 1
    assert told[0].startswith("bug in SlowQuery, it is left out: ZeroDivisionError")


async def test_a_watch_that_ends_by_a_bug_is_started_again_after_growing_waits() -> None:
    starts, taken, crashes = [], [], []

    async def start() -> AsyncGenerator[Tick, None]:
        starts.append(1)
        yield TICK
        if len(starts) < 4:
            raise RuntimeError("gone")

    await supervised(start, taken.append, lambda why, s: crashes.append((why[:12], s)), 0.01)
    assert (len(starts), len(taken)) == (4, 4)
    assert crashes == [("RuntimeError", 0.01), ("RuntimeError", 0.02), ("RuntimeError", 0.04)]


async def test_a_source_that_breaks_its_bound_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    monkeypatch.setattr("premortem.app.loop.GIVE_UP_S", 0.2)

    class Hangs:
        name, target, interval_s = "hangs", "t", 0.1

        async def read(self, now: float) -> Reading:
            await asyncio.sleep(3600)
            return Reading("hangs", "t", now)

        async def close(self) -> None:
            await asyncio.sleep(0)

    watch = Watch([Hangs()], Pipeline(History([]), [], []), tick_s=0.1)
    errors = [r.error async for t in watch.ticks(until=watch.clock() + 0.6) for r in t.readings]
    assert errors
    assert set(errors) == {"no answer within 0.2 s"}


def test_what_may_raise_anything_is_contained() -> None:
    assert contained(lambda: True) is True
    assert contained(lambda: False) is False


def test_what_was_raised_is_told_without_its_words() -> None:
    def leaky() -> bool:
        raise ValueError("https://hooks.example/secret-token")

    told = contained(leaky)
    assert isinstance(told, str)
    assert told.startswith("ValueError in test_what_was_raised")
    assert "secret" not in told
