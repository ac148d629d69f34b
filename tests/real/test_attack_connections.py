"""How connections are shared, kept, waited for and replaced."""

from __future__ import annotations

import socket
import time

import pytest

from premortem.load.journey import User
from tests.real._site import OK, answer, only, run, served

pytestmark = pytest.mark.real


def test_users_are_served_and_share_connections() -> None:
    with served(answer()) as server:
        result = run(server.url, rate=100)
    only(result, "served")
    assert result.valid
    assert server.accepted < result.tally.total("offered") / 2
    assert result.line()["response_ms"]["p50"] < 50


def test_each_user_has_a_connection_of_their_own_when_told() -> None:
    async def two(user: User) -> None:
        await user.get("/a")
        await user.get("/b")

    with served(answer()) as server:
        result = run(server.url, two, keep_alive=False)
    only(result, "served")
    assert server.accepted == result.tally.total("offered")


def test_users_with_their_own_connection_survive_its_closing() -> None:
    async def slow_reader(user: User) -> None:
        await user.get("/")
        await user.think(0.05)
        await user.post("/")

    def once(peer: socket.socket, path: str, request: bytes) -> None:
        peer.sendall(OK)
        peer.shutdown(socket.SHUT_RDWR)

    with served(once) as server:
        result = run(server.url, slow_reader, keep_alive=False)
    only(result, "served")
    assert result.tally.total("retries") == 0


def test_a_connection_that_went_stale_is_replaced_without_failing_anyone() -> None:
    def once(peer: socket.socket, path: str, request: bytes) -> None:
        peer.sendall(OK)
        time.sleep(0.01)
        peer.shutdown(socket.SHUT_RDWR)

    with served(once) as server:
        result = run(server.url, rate=100)
    only(result, "served")
    assert result.tally.total("retries") == 0


def test_few_connections_are_waited_for_and_the_wait_is_measured() -> None:
    def slow(peer: socket.socket, path: str, request: bytes) -> None:
        time.sleep(0.02)
        peer.sendall(OK)

    with served(slow) as server:
        result = run(server.url, rate=80, connections_max=2, timeout_s=5.0)
    only(result, "served")
    assert server.accepted <= 2
    assert result.tally.wait.total > 0


def test_an_upload_goes_on_when_the_server_reads_slowly() -> None:
    sizes: list[int] = []

    def slow(peer: socket.socket, path: str, request: bytes) -> None:
        read = len(request)
        while read < 3_000_000:
            time.sleep(0.001)
            read += len(peer.recv(200_000))
        sizes.append(read)
        peer.sendall(OK)

    async def sender(user: User) -> None:
        await user.post("/", body=b"z" * 3_000_000)

    with served(slow) as server:
        result = run(server.url, sender, rate=20, timeout_s=10.0)
    only(result, "served")
    assert all(3_000_000 < size < 3_001_000 for size in sizes)
