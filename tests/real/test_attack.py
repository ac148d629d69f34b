"""What users meet and how it is counted, against real sockets."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest

from premortem.load.attack import Attack, attack
from premortem.load.journey import Choice, Plain, User
from premortem.load.pace import Constant
from premortem.load.requests import Settings
from tests.real._site import OK, Behave, answer, one, only, run, served, totals

pytestmark = pytest.mark.real


def test_every_user_has_an_id_of_their_own_on_every_request() -> None:
    async def two(user: User) -> None:
        await user.get("/a")
        await user.post("/b", form={"x": 1})

    with served(answer()) as server:
        result = run(server.url, two)
    ids = [
        line
        for request in server.requests
        for line in request.split(b"\r\n")
        if line.startswith(b"X-Client-Id: ")
    ]
    assert len(ids) == len(server.requests) == 2 * result.tally.total("offered")
    assert len(set(ids)) == result.tally.total("offered")


def test_a_journey_sees_answers_keeps_cookies_and_is_acknowledged(tmp_path: Path) -> None:
    def shop(peer: socket.socket, path: str, request: bytes) -> None:
        body = b'{"id": 7}' if b"Cookie: session=abc" in request else b"{}"
        head = b"HTTP/1.1 200 OK\r\nSet-Cookie: session=abc; Path=/\r\nContent-Length: %d\r\n\r\n"
        peer.sendall(head % len(body) + body)

    async def shopper(user: User) -> None:
        first = await user.get("/basket", params={"q": "a b"})
        assert first.status == 200 and first.headers["content-length"] == "2"
        order = await user.post("/checkout", json={"item": user.random.randrange(9)})
        user.acknowledge("order", order.json()["id"])

    ack_file = tmp_path / "ack.jsonl"
    with served(shop) as server:
        plan = Attack(server.url, (Choice(shopper),), Constant(40, 0.5), ack_file=ack_file)
        result = attack(plan)
    only(result, "served")
    lines = [json.loads(line) for line in ack_file.read_text().splitlines()]
    assert [line["id"] for line in lines] == [7] * result.tally.total("offered")
    assert any(b"GET /basket?q=a+b " in request for request in server.requests)


def test_a_time_out_closes_the_connection_and_is_retried() -> None:
    def silent(peer: socket.socket, path: str, request: bytes) -> None:
        pass

    with served(silent) as server:
        result = run(server.url, rate=20, retries=2, timeout_s=0.2)
        time.sleep(0.3)
    only(result, "failed")
    line = result.line()
    assert line["attempts"] == line["timeouts"] == 3 * line["offered"]
    assert line["errors"] == {"timeout": line["offered"]}
    assert server.disconnects == line["attempts"]
    assert line["response_ms"]["p50"] >= 600  # three time-outs, from the intended instant


def test_a_retry_that_succeeds_serves_the_user() -> None:
    seen: set[bytes] = set()

    def second_time(peer: socket.socket, path: str, request: bytes) -> None:
        peer.sendall(OK if request in seen else b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
        seen.add(request)

    with served(second_time) as server:
        result = run(server.url, retries=1)
    only(result, "served")
    assert result.tally.total("retries") == result.tally.total("offered")


def refusal(after_s: float, extra: bytes = b"Retry-After: 1\r\n") -> Behave:
    def behave(peer: socket.socket, path: str, request: bytes) -> None:
        time.sleep(after_s)
        peer.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n" + extra + b"\r\n")

    return behave


@pytest.mark.parametrize(
    ("behave", "outcome"),
    [
        (refusal(0.0), "refused"),
        (refusal(0.13), "failed"),
        (refusal(0.0, b""), "failed"),
        (answer(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), "failed"),
    ],
    ids=["at once", "too late", "without Retry-After", "not found"],
)
def test_what_counts_as_refused(behave: Behave, outcome: str) -> None:
    with served(behave) as server:
        result = run(server.url, rate=20)
    only(result, outcome)


def test_a_crowd_is_always_present() -> None:
    def slow(peer: socket.socket, path: str, request: bytes) -> None:
        time.sleep(0.02)
        peer.sendall(OK)

    with served(slow) as server:
        plan = Attack(
            server.url, (Choice(one),), Constant(0, 0.6), crowd=7, lag_p99_ms_max=1e6,
            cpu_ratio_max=1e6, settings=Settings(timeout_s=10.0),
        )  # fmt: skip
        result = attack(plan)
    only(result, "served")
    assert server.accepted == 7
    assert result.tally.total("offered") > 20  # 7 users, 0.6 s, 20 ms each: 210 at most


def client_ids(requests: list[bytes]) -> list[bytes]:
    found = []
    for request in requests:
        found += [h for h in request.split(b"\r\n") if h.startswith(b"X-Client-Id: ")]
    return found


@pytest.mark.parametrize("crowd", [0, 5])
@pytest.mark.parametrize("kinds", [1, 2])
def test_plain_journeys_are_users_of_their_own(crowd: int, kinds: int) -> None:
    choices = tuple(Choice(Plain(f"/{number}", name=f"n{number}")) for number in range(kinds))
    with served(answer()) as server:
        plan = Attack(
            server.url, choices, Constant(0 if crowd else 200, 0.6), crowd=crowd,
            lag_p99_ms_max=1e6, cpu_ratio_max=1e6, settings=Settings(timeout_s=10.0),
        )  # fmt: skip
        result = attack(plan)
    only(result, "served")
    tally, count = result.tally, result.tally.total("offered")
    ids = client_ids(server.requests)
    assert len(set(ids)) == len(ids) == count == tally.total("attempts")
    assert tally.lag.total == tally.service.total == tally.response().total == count
    assert set(tally.names) == {f"n{number}" for number in range(kinds)}
    assert sum(row.response.total for row in tally.seconds.values()) == count


def test_plain_users_who_fail_are_retried_and_the_next_ones_are_not_mixed_up() -> None:
    tries: dict[bytes, int] = {}

    def every_third_user_twice(peer: socket.socket, path: str, request: bytes) -> None:
        (user,) = client_ids([request])
        tries[user] = tries.get(user, 0) + 1
        fails = list(tries).index(user) % 3 == 0 and tries[user] <= 2
        peer.sendall(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n" if fails else OK)

    with served(every_third_user_twice) as server:
        plan = Attack(
            server.url, (Choice(Plain("/")),), Constant(150, 0.6), lag_p99_ms_max=1e6,
            settings=Settings(timeout_s=10.0, retries=2, backoff_s=0.01), cpu_ratio_max=1e6,
        )  # fmt: skip
        result = attack(plan)
    only(result, "served")
    count = result.tally.total("offered")
    assert list(tries.values()) == [3 if user % 3 == 0 else 1 for user in range(count)]
    assert result.tally.total("retries") == sum(tries.values()) - count
    assert result.tally.response().total == count


def test_too_many_users_are_said_not_dropped() -> None:
    with served(lambda peer, path, request: None) as server:
        result = run(server.url, rate=100, users_in_flight_max=3, timeout_s=0.2)
    found = totals(result)
    assert found["not_started"] > 0
    assert "users in flight" in " ".join(result.reasons)


def test_a_journey_that_errs_fails_its_user_and_says_why() -> None:
    async def brittle(user: User) -> None:
        (await user.get("/")).json()["missing"]

    with served(answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")) as server:
        result = run(server.url, brittle)
    only(result, "failed")
    assert "KeyError" in next(iter(result.tally.errors))


def test_users_on_their_way_at_the_end_are_counted_as_unfinished() -> None:
    async def dawdler(user: User) -> None:
        await user.get("/")
        await user.think(60.0)

    with served(answer()) as server:
        result = run(server.url, dawdler, drain_s=0.2)
    only(result, "unfinished")
    assert not result.valid


def test_a_late_generator_is_not_believed() -> None:
    async def busy(user: User) -> None:
        time.sleep(0.03)  # noqa: ASYNC251 - the journey that hogs the generator
        await user.get("/")

    with served(answer()) as server:
        plan = Attack(server.url, (Choice(busy),), Constant(100, 0.5))
        result = attack(plan)
    assert not result.valid
    assert "late" in result.reasons[0]
    generous = attack(replace(plan, base_url="http://127.0.0.1:9", lag_p99_ms_max=1e6))
    assert generous.valid
