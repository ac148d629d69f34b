"""Status, settings, what the limit does, and what is counted."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from premortem.guard import Guard, Settings
from premortem.guard.testing import Answer, Client, Site, held

TOKEN = (b"x-premortem-token", b"hush")
WEB = {
    "web.abandoned_ratio",
    "web.errors_per_s",
    "web.in_flight",
    "web.in_flight_limit",
    "web.loop_lag_ms",
    "web.queue_length",
    "web.queue_wait_ms",
    "web.refused_per_s",
    "web.repeat_ratio",
    "web.requests_per_s",
    "web.served_per_s",
}


@pytest.fixture
async def site() -> Site:
    return Site()


def guarded(site: Site, pool: Any = None, **wanted: Any) -> Guard:
    return Guard(site, Settings(**{"cap": 1, **wanted}), pool)


async def ask(guard: Guard, host: str = "127.0.0.1", method: str = "GET", **more: Any) -> Answer:
    return await Client(guard, host).send("/-/premortem/status", method, **more)


async def tell(guard: Guard, wanted: Any, *headers: tuple[bytes, bytes]) -> Answer:
    body = wanted if isinstance(wanted, bytes) else json.dumps(wanted).encode()
    return await Client(guard).send("/-/premortem/settings", "POST", headers, [body])


async def test_status_is_answered_however_full_it_is(site: Site) -> None:
    guard = guarded(site, pool=lambda: {"pool.in_use": 3})
    async with held(guard, site):
        waiting = asyncio.create_task(Client(guard).send("/"))
        await asyncio.sleep(0.2)
        values = (await ask(guard)).json
    await waiting
    assert set(values) == WEB | {"web.response_ms", "pool.in_use"}
    assert (values["web.in_flight"], values["web.refused_per_s"]) == (1, 1)
    assert values["pool.in_use"] == 3
    assert values["web.response_ms"] > 150, "nothing was served: the age of the oldest in flight"


@pytest.mark.parametrize(
    ("host", "headers", "expected"),
    [
        ("127.0.0.1", [], 200),
        ("::1", [], 200),
        ("::ffff:127.0.0.1", [], 200),
        ("203.0.113.7", [], 404),
        ("127.0.0.1", [(b"x-forwarded-for", b"127.0.0.1")], 404),
        ("203.0.113.7", [TOKEN], 200),
        ("203.0.113.7", [(b"x-premortem-token", b"guess")], 404),
        ("203.0.113.7", [(b"x-premortem-token", b"")], 404),
    ],
)
async def test_status_is_for_loopback_or_the_token(
    site: Site, host: str, headers: list[tuple[bytes, bytes]], expected: int
) -> None:
    guard = guarded(site, token="hush")
    assert (await ask(guard, host, headers=headers)).status == expected
    assert (await ask(guard, host, "HEAD", headers=headers)).body == b""


async def test_an_empty_token_opens_nothing(site: Site) -> None:
    empty = (b"x-premortem-token", b"")
    assert (await ask(guarded(site), "203.0.113.7", headers=[empty])).status == 404
    assert (await tell(guarded(site), {"cap": 8}, empty)).status == 404


async def test_settings_can_be_changed_and_changed_back(site: Site) -> None:
    guard = guarded(site, cap=44, token="hush")
    answer = await tell(guard, {"cap": 8}, TOKEN)
    assert (answer.status, answer.json) == (200, {"old": {"cap": 44}, "new": {"cap": 8}})
    assert guard.values()["web.in_flight_limit"] == 8
    await tell(guard, answer.json["old"], TOKEN)
    assert guard.values()["web.in_flight_limit"] == 44


@pytest.mark.parametrize(
    ("wanted", "headers", "status", "words"),
    [
        ({"cap": 8}, [], 403, "missing or wrong"),
        ({"cap": 8}, [(b"x-premortem-token", b"guess")], 403, "missing or wrong"),
        ({"cap": 0}, [TOKEN], 400, "cap must be a whole number of at least 1, got 0"),
        ({"token": "mine"}, [TOKEN], 400, "'token' is not one of"),
        (b"\xff", [TOKEN], 400, "utf-8"),
        (b"{", [TOKEN], 400, "Expecting"),
        (b"[" * 4000, [TOKEN], 400, "nested"),
        (b'{"cap": 8}' + b" " * 5000, [TOKEN], 400, "longer than 4096 bytes"),
    ],
)
async def test_a_bad_change_says_so_in_one_line_and_changes_nothing(
    site: Site, wanted: Any, headers: list[tuple[bytes, bytes]], status: int, words: str
) -> None:
    guard = guarded(site, cap=44, token="hush")
    answer = await tell(guard, wanted, *headers)
    assert answer.status == status
    assert words in answer.json["error"]
    assert guard.settings.cap == 44


@pytest.mark.parametrize(
    ("path", "method", "expected"),
    [("settings", "GET", 405), ("status", "POST", 405), ("", "GET", 404), ("x", "GET", 404)],
)
async def test_other_ways_to_ask(site: Site, path: str, method: str, expected: int) -> None:
    guard = guarded(site, token="hush")
    answer = await Client(guard).send(f"/-/premortem/{path}", method, [TOKEN])
    assert (answer.status, site.calls) == (expected, [])


async def test_a_larger_cap_admits_those_who_wait_at_once(site: Site) -> None:
    guard = guarded(site, token="hush")
    async with held(guard, site):
        waiting = asyncio.create_task(Client(guard).send("/"))
        await asyncio.sleep(0.01)
        await tell(guard, {"cap": 2}, TOKEN)
        assert (await waiting).status == 200


async def test_the_limit_shrinks_while_answers_are_slow_and_ramps_back(site: Site) -> None:
    guard = guarded(site, cap=8, slow_ms=10)
    await asyncio.gather(*(Client(guard).send("/slow/0.1") for _ in range(8)))
    assert guard.values()["web.in_flight_limit"] < 8
    await asyncio.sleep(0.8)
    assert guard.values()["web.in_flight_limit"] == 8


async def test_the_limit_shrinks_when_nothing_is_answered_at_all(site: Site) -> None:
    guard = guarded(site, cap=8, slow_ms=50)
    async with held(guard, site, requests=8):
        await asyncio.sleep(0.4)
        assert guard.values()["web.in_flight_limit"] < 8


@pytest.mark.parametrize("wanted", [{"adaptive": False}, {"slow_ms": 1000}])
async def test_the_limit_stays_at_the_cap_when_told_or_when_nothing_is_slow(
    site: Site, wanted: dict[str, Any]
) -> None:
    guard = guarded(site, cap=8, **{"slow_ms": 50, **wanted})
    async with held(guard, site, requests=8):
        await asyncio.sleep(0.4)
        assert guard.values()["web.in_flight_limit"] == 8


async def test_the_limit_shrinks_when_the_pool_makes_requests_wait(site: Site) -> None:
    guard = guarded(site, pool=lambda: {"pool.wait_ms": 50}, cap=8)
    await Client(guard).send("/")
    await asyncio.sleep(0.35)
    assert guard.values()["web.in_flight_limit"] < 8


async def test_a_client_that_left_a_slow_request_is_counted(site: Site) -> None:
    guard = guarded(site)
    client = Client(guard)
    task = asyncio.create_task(client.send("/slow/0.15"))
    await asyncio.sleep(0.01)
    client.leave()
    await task
    await Client(guard).send("/")
    await asyncio.sleep(0.11)
    values = guard.values()
    assert (values["web.abandoned_ratio"], values["web.served_per_s"]) == (0.5, 1)


async def test_a_patient_client_is_not_taken_for_gone(site: Site) -> None:
    guard = guarded(site)
    answer = await Client(guard).send("/slow/0.15", "POST", body=[b"a", b"b"])
    await asyncio.sleep(0.11)
    values = guard.values()
    assert (answer.status, site.bodies) == (200, [b"ab"])
    assert (values["web.abandoned_ratio"], values["web.served_per_s"]) == (0, 1)
    assert 140 < values["web.response_ms"] < 400


async def test_who_asks_the_same_again_is_a_repeat(site: Site) -> None:
    guard = guarded(site)
    me, you = Client(guard), Client(guard, "203.0.113.8")
    for client, path, method, headers in (
        (me, "/", "GET", []),
        (me, "/", "GET", []),  # the repeat
        (me, "/", "POST", []),
        (me, "/other", "GET", []),
        (you, "/", "GET", []),
        (me, "/", "GET", [(b"x-client-id", b"someone else behind the same address")]),
    ):
        await client.send(path, method, headers)
    await asyncio.sleep(0.11)
    assert guard.values()["web.repeat_ratio"] == pytest.approx(1 / 6)


async def test_a_blocked_loop_is_seen(site: Site) -> None:
    guard = guarded(site)
    await Client(guard).send("/")
    time.sleep(0.15)  # noqa: ASYNC251 - the very mistake that the lag is to show
    await asyncio.sleep(0.15)
    assert guard.values()["web.loop_lag_ms"] > 80


async def test_a_call_to_another_service_is_seen_while_it_hangs_and_after(site: Site) -> None:
    guard = guarded(site)
    with guard.downstream():
        await asyncio.sleep(0.05)
        assert guard.values()["web.downstream_ms"] >= 45
    await asyncio.sleep(0.11)
    assert 45 <= guard.values()["web.downstream_ms"] < 100
