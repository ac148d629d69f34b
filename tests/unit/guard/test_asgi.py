"""What a request meets: admission, waiting, refusal, the client that leaves."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from premortem.guard import Guard, Route, Settings
from premortem.guard.testing import Client, Site, held


@pytest.fixture
async def site() -> Site:
    return Site()


def guarded(site: Site, **wanted: Any) -> Guard:
    return Guard(site, Settings(**{"cap": 1, **wanted}))


async def test_a_request_is_passed_on_and_answered(site: Site) -> None:
    answer = await Client(guarded(site)).send("/shop")
    assert (answer.status, answer.body, site.calls) == (200, b"served", ["/shop"])


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
async def test_a_refusal_is_quick_small_and_says_when_to_return(site: Site, method: str) -> None:
    guard = guarded(site)
    async with held(guard, site):
        answer = await Client(guard).send("/", method)
    assert answer.status == 503
    assert 1 <= int(answer.headers[b"retry-after"]) <= 5
    body = b"Overloaded. Please try again in a moment.\n"
    assert answer.headers[b"content-length"] == str(len(body)).encode()
    assert answer.body == (b"" if method == "HEAD" else body)
    assert 0.07 < answer.took_s < 0.5, "80 ms; test_overload holds it to 85 in virtual time"
    assert site.calls == ["/hold"]


async def test_return_times_are_spread(site: Site) -> None:
    guard = guarded(site, queue_max=0, retry_after_min_s=3, retry_after_max_s=4)
    async with held(guard, site):
        answers = [await Client(guard).send("/") for _ in range(60)]
    assert {a.headers[b"retry-after"] for a in answers} == {b"3", b"4"}


async def test_one_who_waits_is_admitted_when_a_slot_is_freed(site: Site) -> None:
    guard = guarded(site)
    async with held(guard, site):
        waiting = asyncio.create_task(Client(guard).send("/next"))
        await asyncio.sleep(0.02)
        assert site.calls == ["/hold"]
    assert (await waiting).status == 200
    assert site.calls == ["/hold", "/next"]


async def test_a_client_that_leaves_while_waiting_costs_nothing(site: Site) -> None:
    guard = guarded(site)
    async with held(guard, site):
        client = Client(guard)
        waiting = asyncio.create_task(client.send("/never"))
        await asyncio.sleep(0.01)
        client.leave()
        answer = await waiting
        assert (answer.status, answer.took_s < 0.07) == (0, True)
        assert guard.values()["web.queue_length"] == 0
    await asyncio.sleep(0.11)
    assert site.calls == ["/hold"]
    assert guard.values()["web.abandoned_ratio"] == 0.5


async def test_a_client_that_leaves_in_the_turn_in_which_it_is_admitted_costs_nothing(
    site: Site,
) -> None:
    guard = guarded(site)
    async with held(guard, site):
        client = Client(guard)
        waiting = asyncio.create_task(client.send("/never"))
        await asyncio.sleep(0.01)
        client.leave()
    await waiting
    assert site.calls == ["/hold"]
    assert guard.values()["web.in_flight"] == 0


async def test_a_slot_is_in_use_until_the_application_has_returned(site: Site) -> None:
    guard = guarded(site)
    client = Client(guard)
    async with held(guard, site):
        waiting = asyncio.create_task(client.send("/slow/0.1"))
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.01)
    client.leave()
    await asyncio.sleep(0.02)
    assert site.calls == ["/hold", "/slow/0.1"]
    assert guard.values()["web.in_flight"] == 1
    await waiting
    assert guard.values()["web.in_flight"] == 0


async def test_a_client_that_leaves_with_its_answer_was_served() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"all of it"})
        client.leave()
        assert (await receive())["type"] == "http.disconnect"

    guard = Guard(app, Settings(cap=1))
    client = Client(guard)
    await client.send("/")
    await asyncio.sleep(0.11)
    values = guard.values()
    assert (values["web.served_per_s"], values["web.abandoned_ratio"]) == (1, 0)


async def test_a_body_read_ahead_reaches_the_application_whole(site: Site) -> None:
    guard = guarded(site)
    chunks = [b"a" * 50_000, b"b" * 50_000, b"c" * 50_000]
    async with held(guard, site):
        client = Client(guard)
        waiting = asyncio.create_task(client.send("/upload", "POST", body=chunks))
        await asyncio.sleep(0.02)
        assert client.chunks_read == 2, "reading ahead is bounded at 64 KiB"
    await waiting
    assert site.bodies == [b"".join(chunks)]


async def test_an_exception_frees_the_slot_and_is_passed_on(site: Site) -> None:
    guard = guarded(site)
    with pytest.raises(RuntimeError, match="boom"):
        await Client(guard).send("/boom")
    assert (await Client(guard).send("/broken")).status == 500
    assert (await Client(guard).send("/")).status == 200
    await asyncio.sleep(0.11)
    values = guard.values()
    assert (values["web.errors_per_s"], values["web.served_per_s"]) == (2, 1)
    assert values["web.in_flight"] == 0


@pytest.mark.parametrize("path", ["/hold/working", "/waiting"])
async def test_a_server_that_cancels_leaves_no_slot_taken(site: Site, path: str) -> None:
    guard = guarded(site, cap=2 if "hold" in path else 1)
    async with held(guard, site):
        cancelled = asyncio.create_task(Client(guard).send(path))
        await asyncio.sleep(0.01)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        values = guard.values()
        assert (values["web.in_flight"], values["web.queue_length"]) == (1, 0)
    await asyncio.sleep(0.11)
    assert guard.values()["web.abandoned_ratio"] == 0.5


@pytest.mark.parametrize(("patience", "status_code"), [(b"0", 503), (b"500", 200), (b"x", 200)])
async def test_a_deadline_that_has_passed_is_refused_at_once(
    site: Site, patience: bytes, status_code: int
) -> None:
    headers = [(b"x-premortem-deadline-ms", patience)]
    answer = await Client(guarded(site)).send("/", headers=headers)
    assert (answer.status, len(site.calls)) == (status_code, status_code == 200)


async def test_checkout_goes_before_browsing(site: Site) -> None:
    guard = guarded(site, routes=(Route("POST", "/checkout", "high"), Route("*", "/bulk", "low")))
    async with held(guard, site):
        tasks = []
        for path, method in (("/bulk", "GET"), ("/checkout", "GET"), ("/checkout/pay", "POST")):
            tasks.append(asyncio.create_task(Client(guard).send(path, method)))
            await asyncio.sleep(0.005)
    assert [(await task).status for task in tasks] == [200, 200, 200]
    assert site.calls == ["/hold", "/checkout/pay", "/checkout", "/bulk"]


async def test_a_callable_classifies_and_may_leave_it_to_the_routes(site: Site) -> None:
    routes = (Route("*", "/bulk", "low"),)
    vip = lambda scope: "high" if (b"x-vip", b"1") in scope["headers"] else None  # noqa: E731
    guard = Guard(site, Settings(cap=1, routes=routes), classify=vip)
    async with held(guard, site):
        tasks = [asyncio.create_task(Client(guard).send("/bulk"))]
        await asyncio.sleep(0.005)
        vip_headers = [(b"x-vip", b"1")]
        tasks.append(asyncio.create_task(Client(guard).send("/bulk/vip", headers=vip_headers)))
        await asyncio.sleep(0.005)
    await asyncio.gather(*tasks)
    assert site.calls == ["/hold", "/bulk/vip", "/bulk"]


async def test_health_checks_pass_however_full_it_is(site: Site) -> None:
    guard = guarded(site, queue_max=0)
    async with held(guard, site):
        assert (await Client(guard).send("/healthz")).status == 200
        assert (await Client(guard).send("/")).status == 503


async def test_websockets_pass_untouched() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope, receive, send))

    triple = ({"type": "websocket", "path": "/"}, object(), object())
    await Guard(app, Settings(cap=1))(*triple)  # type: ignore[arg-type]
    assert seen == [triple]


async def test_lifespan_starts_and_stops_the_clockwork() -> None:
    running: list[bool] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        running.append(guard._tick is not None)

    guard = Guard(app, Settings(cap=1))
    await guard({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
    assert (running, guard._tick) == ([True], None)


def test_one_guard_may_be_used_on_one_loop_after_another() -> None:
    async def twice(site: Site, guard: Guard) -> int:
        site.released = asyncio.Event()
        async with held(guard, site):
            return (await Client(guard).send("/")).status

    async def make() -> Site:
        return Site()

    site = asyncio.run(make())
    guard = guarded(site)
    assert [asyncio.run(twice(site, guard)) for _ in range(2)] == [503, 503]
