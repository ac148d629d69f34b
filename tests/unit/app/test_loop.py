"""The loop with sources made by hand: one that hangs, one that breaks, one that tells."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar

from premortem.app.assemble import new_pipeline
from premortem.app.loop import Watch
from premortem.model import Action, Diagnosis, History, Reading, Verdict
from premortem.pipeline import Pipeline, Tick
from premortem.remedies._hands import Hands, RemedyFailed
from premortem.remedies.policy import Policy

TICK_S = 0.2


@dataclass
class Told:
    """A source that does what it is told."""

    name: ClassVar[str] = "told"
    what: Callable[[], float]
    target: str = "t"
    interval_s: float = 0.1
    closed: bool = False
    reads: list[float] = field(default_factory=list)

    async def read(self, now: float) -> Reading:
        self.reads.append(now)
        return Reading(self.name, self.target, now, {"db.up": self.what()})

    async def close(self) -> None:
        self.closed = True


@dataclass
class Hangs(Told):
    async def read(self, now: float) -> Reading:
        await asyncio.sleep(3600)
        return Reading(self.name, self.target, now)


def broken() -> float:
    raise ZeroDivisionError("a bug")


class Always:
    """A cause that is confirmed at once."""

    remedies = ("mend",)

    def judge(self, history: History) -> Verdict:
        return Verdict("always", "database", "confirmed", "it is")


class Mend:
    def __init__(self, fails: bool = False) -> None:
        self.applied = 0
        self.fails = fails

    async def apply(self, hands: Hands, history: History) -> Action | None:
        if self.fails:
            raise RemedyFailed("no hands")
        self.applied += 1
        return Action("mend", "db", "mended", "unmend")

    async def undo(self, hands: Hands, action: Action) -> None: ...


async def ticks(watch: Watch, count: int) -> list[Tick]:
    found: list[Tick] = []
    async with aclosing(watch.ticks()) as stream:
        async for tick in stream:
            found.append(tick)
            if len(found) == count:
                break
    return found


async def test_a_source_that_hangs_or_breaks_blinds_nobody() -> None:
    good, bad, stuck = Told(lambda: 1.0), Told(broken, "b"), Hangs(lambda: 1.0, "c")
    found = await ticks(Watch([good, bad, stuck], new_pipeline(), tick_s=TICK_S), 2)
    seen = [r for tick in found for r in tick.readings]
    assert any(r.target == "t" and r.values == {"db.up": 1.0} for r in seen)
    assert any(r.error and "ZeroDivisionError in told: a bug" in r.error for r in seen)
    assert good.closed
    assert bad.closed
    assert stuck.closed


async def test_ticks_keep_to_the_second() -> None:
    found = await ticks(Watch([Told(lambda: 1.0)], new_pipeline()), 3)
    gaps = [b.now - a.now for a, b in pairwise(found)]
    assert all(0.7 < gap < 1.5 for gap in gaps)


def acting(policy: Policy, mend: Mend) -> Watch:
    pipeline = Pipeline(new_pipeline().history, (), (Always(),))
    return Watch([], pipeline, policy=policy, remedies={"mend": mend}, tick_s=TICK_S)


async def test_nothing_is_touched_unless_allowed() -> None:
    mend = Mend()
    found = await ticks(acting(Policy(), mend), 2)
    assert mend.applied == 0
    assert "proposed" in [e.kind for t in found for e in t.events]


async def test_an_allowed_remedy_is_applied_once_and_told() -> None:
    mend = Mend()
    found = await ticks(acting(Policy(act=True, allow=("mend",)), mend), 3)
    assert mend.applied == 1
    told = [e for t in found for e in t.events if e.kind == "acted"]
    assert told[0].text == "mended"
    assert told[0].data["undo"] == "unmend"


async def test_a_remedy_that_fails_is_told() -> None:
    found = await ticks(acting(Policy(act=True, allow=("mend",)), Mend(fails=True)), 3)
    assert any("no hands" in e.text for t in found for e in t.events)


async def test_the_end_of_trouble_is_told_after_a_quiet_while() -> None:
    watch = acting(Policy(), Mend())
    watch._consider(Diagnosis(0.0, ()))
    assert watch._resolution(Diagnosis(0.0, (), (), "x", "database")) == []
    assert watch._resolution(Diagnosis(10.0, ())) == []
    told = watch._resolution(Diagnosis(16.0, ()))
    assert told[0].kind == "resolved"
    assert told[0].data["lasted_s"] == 10.0
