"""A surge to three times the capacity, on an event loop whose time is virtual.

The loop jumps to its next timer instead of sleeping, so the result is the same on any machine.
The site is a database that slows down with the square of what is in flight beyond eight (the
universal scalability law without its linear term).
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from premortem.guard import Guard, Route, Settings
from premortem.guard.testing import Answer, Client

T = TypeVar("T")
KNEE = 8
SERVICE_S = 0.02
CAPACITY_PER_S = KNEE / SERVICE_S
PATIENCE_S = 0.25
"""Clients give up after so long: work that ends later is no goodput."""


class Jump(selectors.SelectSelector):
    """Lets the time that would be slept pass at once."""

    now = 1_000.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise RuntimeError("nothing will ever happen again")
        self.now += max(0.0, timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that takes no time."""

    def __init__(self) -> None:
        self.jump = Jump()
        super().__init__(self.jump)

    def time(self) -> float:
        return self.jump.now


@pytest.fixture(autouse=True)
def virtual_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("asgi", "testing"):
        monkeypatch.setattr(f"premortem.guard.{module}.monotonic", _now)


def _now() -> float:
    return asyncio.get_running_loop().time()


def run(world: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(world)


class Database:
    """An application whose every request costs a database that can be overrun."""

    def __init__(self) -> None:
        self.in_flight = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.in_flight += 1
        beyond = max(0, self.in_flight - KNEE)
        try:
            await asyncio.sleep(SERVICE_S * (1 + beyond / KNEE) * (1 + beyond**2 / 50))
        finally:
            self.in_flight -= 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"served"})


async def guarded(settings: Settings) -> Guard:
    return Guard(Database(), settings)


async def surge(app: Any, rate_per_s: float, seconds: float, path: str = "/") -> list[Answer]:
    """Send at a steady rate, whatever comes back; clients leave when their patience ends."""

    async def one(client: Client) -> Answer:
        task = asyncio.create_task(client.send(path))
        done, _ = await asyncio.wait([task], timeout=PATIENCE_S)
        if not done:
            client.leave()
        return await task

    tasks = []
    for _ in range(int(rate_per_s * seconds)):
        tasks.append(asyncio.create_task(one(Client(app))))
        await asyncio.sleep(1 / rate_per_s)
    return await asyncio.gather(*tasks)


def goodput_per_s(answers: list[Answer], seconds: float) -> float:
    return sum(a.status == 200 and a.took_s <= PATIENCE_S for a in answers) / seconds


def served_ratio(answers: list[Answer]) -> float:
    return sum(a.status == 200 for a in answers) / len(answers)


@pytest.mark.parametrize("times", [1.2, 3, 10])
def test_in_a_surge_the_capacity_is_served_and_refusals_are_quick(times: float) -> None:
    async def world() -> list[Answer]:
        guard = await guarded(Settings(cap=KNEE))
        return await surge(guard, times * CAPACITY_PER_S, 1.0)

    answers = run(world())
    refused = [a.took_s for a in answers if a.status == 503]
    assert goodput_per_s(answers, 1.0) >= 0.97 * CAPACITY_PER_S
    assert {a.status for a in answers} == {200, 503}
    assert max(refused) < 0.085


def test_without_the_guard_the_same_surge_serves_next_to_nothing() -> None:
    answers = run(surge(Database(), 3 * CAPACITY_PER_S, 1.0))
    assert goodput_per_s(answers, 1.0) < 0.1 * CAPACITY_PER_S


def test_after_the_surge_everybody_is_served_again() -> None:
    async def world() -> tuple[list[Answer], dict[str, float]]:
        guard = await guarded(Settings(cap=KNEE))
        await surge(guard, 3 * CAPACITY_PER_S, 1.0)
        after = await surge(guard, 0.5 * CAPACITY_PER_S, 1.0)
        return after, guard.values()

    after, values = run(world())
    assert served_ratio(after) == 1
    assert (values["web.in_flight"], values["web.queue_length"]) == (0, 0)


@pytest.mark.parametrize(("kind", "least", "most"), [("high", 0.99, 1.0), ("normal", 0.1, 0.6)])
def test_in_a_surge_checkout_is_served_if_it_is_more_important(
    kind: str, least: float, most: float
) -> None:
    async def world() -> list[list[Answer]]:
        guard = await guarded(Settings(cap=KNEE, routes=(Route("*", "/checkout", kind),)))
        return await asyncio.gather(
            surge(guard, 0.4 * CAPACITY_PER_S, 1.0, "/checkout"),
            surge(guard, 2.6 * CAPACITY_PER_S, 1.0, "/browse"),
        )

    checkout, browse = run(world())
    assert least <= served_ratio(checkout) <= most
    assert served_ratio(checkout + browse) == pytest.approx(1 / 3, abs=0.03), "no slot idles"


def test_a_cap_above_the_knee_is_brought_down_by_the_slow_answers() -> None:
    async def world(adaptive: bool) -> float:
        guard = await guarded(Settings(cap=4 * KNEE, slow_ms=60, adaptive=adaptive))
        await surge(guard, 3 * CAPACITY_PER_S, 1.0)
        return goodput_per_s(await surge(guard, 3 * CAPACITY_PER_S, 2.0), 2.0)

    assert run(world(True)) > 1.5 * run(world(False))
