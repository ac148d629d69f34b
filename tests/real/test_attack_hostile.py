"""What a hostile, odd or absent server does: it never hangs or grows the engine."""

from __future__ import annotations

import resource
import socket
import time

import pytest

from premortem.load.journey import User
from premortem.load.sockets import Unreachable, resolve
from tests.real._site import OK, Behave, answer, only, run, served

pytestmark = pytest.mark.real


def drip(peer: socket.socket, path: str, request: bytes) -> None:
    for byte in OK:
        peer.sendall(bytes([byte]))
        time.sleep(0.02)


def endless_headers(peer: socket.socket, path: str, request: bytes) -> None:
    peer.sendall(b"HTTP/1.1 200 OK\r\n")
    for number in range(100_000):
        peer.sendall(b"X-%d: %s\r\n" % (number, b"x" * 200))


def gigabyte(peer: socket.socket, path: str, request: bytes) -> None:
    peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    for _ in range(1024):
        peer.sendall(b"x" * 1024 * 1024)


def half_closed(peer: socket.socket, path: str, request: bytes) -> None:
    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    peer.shutdown(socket.SHUT_WR)


def hang_up(peer: socket.socket, path: str, request: bytes) -> None:
    peer.shutdown(socket.SHUT_RDWR)


HOSTILE: dict[str, tuple[Behave, str]] = {
    "slow drip": (drip, "timeout"),
    "endless headers": (endless_headers, "headers longer than"),
    "a gigabyte": (gigabyte, "a body of more than"),
    "a gigabyte, stated": (
        answer(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n"),
        "a body of 1073741824 bytes",
    ),
    "half closed": (half_closed, "closed by the server"),
    "hangs up": (hang_up, "broken"),
    "too short": (answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"), "timeout"),
    "redirects in a circle": (
        answer(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"),
        "redirects",
    ),
    "not HTTP": (answer(b"220 mail.example.org ESMTP\r\n"), "not HTTP"),
    "bad chunk": (
        answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        "bad chunk size",
    ),
    "endless interim": (answer(b"HTTP/1.1 100 Continue\r\n\r\n" * 5000), "timeout"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_server_fails_its_users_in_time_and_memory(name: str) -> None:
    behave, why = HOSTILE[name]
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with served(behave) as server:
        began = time.monotonic()
        result = run(server.url, rate=20, timeout_s=0.2, body_bytes_max=1_000_000)
        assert time.monotonic() - began < 3.0
    only(result, "failed")
    assert why in next(iter(result.tally.errors))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 100_000


def test_more_than_was_announced_is_not_taken_for_the_next_answer() -> None:
    with served(answer(OK + b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")) as server:
        result = run(server.url)
    only(result, "served")
    assert server.accepted == result.tally.total("offered")


@pytest.mark.parametrize(
    "pieces",
    [
        (b"HTTP/1.1 100 Continue\r\n\r\n", OK),
        (OK[:37], OK[37:]),  # cut just before the last byte of the head's first line break
        (OK[:38], OK[38:]),
        (b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 ", OK[9:]),
    ],
)
def test_answers_in_pieces_are_put_together(pieces: tuple[bytes, bytes]) -> None:
    def piecemeal(peer: socket.socket, path: str, request: bytes) -> None:
        peer.sendall(pieces[0])
        time.sleep(0.005)
        peer.sendall(pieces[1])

    async def thrice(user: User) -> None:
        for _ in range(3):
            page = await user.get("/")
            user.check((page.status, page.text) == (200, "ok"), "the answer itself")

    with served(piecemeal) as server:
        result = run(server.url, thrice)
    only(result, "served")


def test_chunked_answers_and_those_that_end_with_the_connection() -> None:
    def odd(peer: socket.socket, path: str, request: bytes) -> None:
        if path == "/chunked":
            head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            for part in (head, b"3\r\nabc\r\n", b"2;x=y\r\nde\r\n0\r\n", b"X: 1\r\n\r\n"):
                peer.sendall(part)
        else:
            peer.sendall(b"HTTP/1.0 200 OK\r\n\r\nuntil the end")
            peer.shutdown(socket.SHUT_WR)

    async def both(user: User) -> None:
        user.check((await user.get("/chunked")).text == "abcde", "chunked body")
        user.check((await user.get("/rest")).text == "until the end", "rest body")

    with served(odd) as server:
        result = run(server.url, both)
    only(result, "served")


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    result = run(f"http://127.0.0.1:{port}", retries=1)
    only(result, "failed")
    assert result.tally.errors == {"broken: ECONNREFUSED": result.tally.total("offered")}


def test_of_several_addresses_the_one_that_answers_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        closed = sock.getsockname()[1]
    with socket.create_server(("127.0.0.1", 0)) as sock:
        ports = (closed, sock.getsockname()[1])
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", p)) for p in ports]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *given, **more: found)
        assert resolve("http://two").sockaddr == ("127.0.0.1", ports[1])


def test_a_name_that_does_not_resolve_says_so() -> None:
    with pytest.raises(Unreachable, match=r"nowhere\.invalid"):
        run("http://nowhere.invalid:1")
