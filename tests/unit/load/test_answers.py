"""The fast lane and the careful way say the same of every answer, however it is cut."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import given, settings
from hypothesis import strategies as st

from premortem.load.engine import Engine
from premortem.load.journey import Choice, User
from premortem.load.requests import Settings
from premortem.load.sockets import READY, Address, Connection

BODIES = [b"", b"ok", b"x" * 300, b"HTTP/1.1 500 No\r\n\r\n"]
HEADS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nDate: now\r\n\r\n",
    b"HTTP/1.1 201 Created\r\ncontent-length: %d\r\nSet-Cookie: a=b\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\nX: %d\r\n\r\n",
]
PAGES = st.tuples(st.sampled_from(HEADS), st.sampled_from(BODIES))
CUTS = st.lists(st.integers(1, 400), max_size=2)


@contextmanager
def engine_with(seen: list[tuple[int, bytes]]) -> Iterator[tuple[Engine, socket.socket]]:
    """An engine with one user on one connection, and the site's end of it."""

    async def reader(user: User) -> None:
        while True:
            page = await user.get("/")
            seen.append((page.status, page.body))

    ours, theirs = socket.socketpair()
    address = Address(socket.AF_UNIX, (), "here", "here", "", None)
    engine = Engine(address, (Choice(reader),), Settings(timeout_s=60.0, retries=0))
    engine._start = time.perf_counter()
    connection = Connection.__new__(Connection)
    ours.setblocking(False)
    for name, value in {
        "_address": address, "_epoll": engine._epoll, "exchange": None, "reader": None,
        "unsent": b"", "used": True, "stage": READY, "open": True, "sock": ours,
        "fd": ours.fileno(), "read": ours.recv, "write": ours.send,
    }.items():  # fmt: skip
        setattr(connection, name, value)
    engine._connections[connection.fd] = connection
    engine._idle.append(connection)
    engine._begin_user(time.perf_counter())
    try:
        yield engine, theirs
    finally:
        theirs.close()
        ours.close()
        engine._epoll.close()


def cut(whole: bytes, edges: list[int]) -> list[bytes]:
    places = sorted({0, len(whole), *(edge for edge in edges if edge < len(whole))})
    return [whole[a:b] for a, b in itertools.pairwise(places)]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(PAGES, st.lists(st.integers(1, 400), max_size=2)), min_size=1, max_size=12)
)
def test_every_answer_is_the_one_that_was_sent(
    answers: list[tuple[tuple[bytes, bytes], list[int]]],
) -> None:
    seen: list[tuple[int, bytes]] = []
    expected = []
    with engine_with(seen) as (engine, site):
        (fd,) = engine._connections
        for (head, given_body), edges in answers:
            body = b"" if b" 204 " in head else given_body
            expected.append((int(head[9:12]), body))
            for piece in cut(head % len(body) + body, edges):
                site.send(piece)
                engine._serve([(fd, 1)], float("inf"))
        assert seen == expected
        assert engine._row.requests_ok == len(expected)
        engine._samples.settle(engine.tally, engine._row)
        assert engine.tally.service.total == engine._row.names["/"].total == len(expected)
