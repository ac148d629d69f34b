"""The pages' frame: health without a database, honest errors, checked input."""

from __future__ import annotations

import logging
import socket

import anyio
import pytest
from starlette.types import Message, Receive, Scope, Send

from premortem.drills.sites import pages
from premortem.drills.sites.database import Database
from premortem.drills.sites.game.app import build as build_game
from premortem.drills.sites.serve import listening, main
from premortem.drills.sites.shop.app import build as build_shop

NOWHERE = Database("host=127.0.0.1 port=1 connect_timeout=2", "connection_per_request")


def ask(app: object, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    """One request straight into the application."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    async def run(app: object, scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, send)  # type: ignore[operator]

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [],
        "query_string": b"",
    }
    anyio.run(run, app, scope, receive, send)
    return sent[0]["status"], b"".join(m.get("body", b"") for m in sent[1:])


@pytest.mark.parametrize("build", [build_shop, build_game])
def test_health_needs_no_database(build: object) -> None:
    assert ask(build(NOWHERE), "GET", "/health") == (200, b'{"status":"up"}')  # type: ignore[operator]


def test_a_database_that_is_away_is_an_honest_500_and_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        status, body = ask(build_shop(NOWHERE), "GET", "/product/1")
    assert (status, body) == (500, b"the database did not answer\n")
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("500 GET /product/1: connection")
    assert "\n" not in caplog.messages[0]


def test_a_form_without_its_number_is_a_400() -> None:
    class Unused(Database):
        def connect(self) -> object:  # type: ignore[override]
            from contextlib import nullcontext

            return nullcontext(None)

    app = build_game(Unused("", "connection_per_request"))
    assert ask(app, "POST", "/login", b"player=abc") == (400, b"player must be a whole number\n")
    status, _ = ask(app, "POST", "/login", b"x" * (pages.FORM_BYTES_MAX + 1))
    assert status == 400


def test_a_pool_has_exactly_its_size() -> None:
    database = Database.of("host=127.0.0.1 port=1", "pool", 7)
    assert database.pool is not None
    assert (database.pool.min_size, database.pool.max_size) == (7, 7)
    assert Database.of("", "connection_per_request", 7).pool is None


def test_two_workers_share_a_port_and_a_stranger_does_not() -> None:
    with listening(0) as first:
        port = first.getsockname()[1]
        listening(port).close()
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        with pytest.raises(OSError, match="in use"):
            listening(stranger.getsockname()[1])


def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--site", "shop", "--dsn-file", "/no/such", "--port", "0"]) == 3
    assert capsys.readouterr().err == "serve: /no/such: No such file or directory\n"
    with pytest.raises(SystemExit, match="2"):
        main(["--site", "forum", "--dsn-file", "x", "--port", "0"])
