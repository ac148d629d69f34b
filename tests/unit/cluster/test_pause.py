"""The pause at the pooler: what is sent, what counts as held, and the guard that ends it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from premortem.cluster import housekeeping
from premortem.cluster.acts import Acts
from premortem.cluster.steps import Outcome, Script, Step
from premortem.engines.errors import EngineError
from premortem.engines.pgbouncer import Console


class Sent(Console):
    """Remembers the orders; refuses those that are named."""

    orders: list[str] = []  # noqa: RUF012 - set anew by every test
    refuses: dict[str, str] = {}  # noqa: RUF012

    def _order(self, order: str, within_s: float) -> Any:
        self.orders.append(order)
        if order in self.refuses:
            raise EngineError(self.refuses[order])


@pytest.fixture
def console() -> Sent:
    Sent.orders, Sent.refuses = [], {}
    return Sent("127.0.0.1", 1, "premortem", "", ("app", 'my "shop"'))


def test_each_database_is_paused_by_its_name(console: Sent) -> None:
    console.pause(1.0)
    assert sorted(console.orders) == ['PAUSE "app"', 'PAUSE "my ""shop"""']


def test_one_that_was_not_held_is_no_error_and_stops_no_other(console: Sent) -> None:
    console.refuses['RESUME "app"'] = "ERROR: database app is not paused"
    console.resume()
    assert len(console.orders) == 2
    console.refuses['RESUME "app"'] = "the pooler does not answer"
    with pytest.raises(EngineError, match="does not answer"):
        console.resume()
    assert len(console.orders) == 4  # the other one was let through all the same


class Quiet(Acts):
    """Every step goes well, or waits for ever."""

    async def perform(self, step: Step) -> Outcome:
        if step.kind == "await_route":
            await asyncio.sleep(60)
        return Outcome(ok=True)


def script(last: str) -> Script:
    yield Step("checkpoint")
    yield Step("pause")
    yield Step(last)  # type: ignore[arg-type]
    return Outcome(ok=True)


def acts() -> Acts:
    async def start(_: str) -> None: ...

    return Quiet(SimpleNamespace(), start, lambda _: None)  # type: ignore[arg-type]


async def test_who_asked_for_a_pause_holds_it_until_the_script_ends() -> None:
    ours = acts()
    running = asyncio.create_task(ours.play(script("await_route")))
    await asyncio.sleep(0.01)
    assert len(ours.holders) == 1
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ours.holders == set()
    assert (await ours.play(script("resume"))).ok
    assert ours.holders == set()


@pytest.mark.parametrize(("held", "resumed"), [(False, 1), (True, 0)])
async def test_the_guard_ends_only_what_nobody_holds(
    monkeypatch: pytest.MonkeyPatch, held: bool, resumed: int
) -> None:
    monkeypatch.setattr(housekeeping, "GUARD_S", 0.001)
    seen: list[str] = []
    console = SimpleNamespace(paused=lambda: not seen, resume=lambda: seen.append("resume"))
    ours = acts()
    if held:
        ours.holders.add(object())
    owner = SimpleNamespace(
        acts=ours, say=lambda _: None, state=SimpleNamespace(pgbouncer=True, console=console)
    )
    guard = asyncio.create_task(housekeeping.pause_guard(owner))  # type: ignore[arg-type]
    await asyncio.sleep(0.1)
    guard.cancel()
    assert len(seen) == resumed
