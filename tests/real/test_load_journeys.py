"""A recorded visit, imported and played: each user has a session, a token and an order."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from premortem.load.attack import Attack, attack
from premortem.load.imports.har import har_draft
from premortem.load.pace import Constant
from premortem.load.requests import Settings
from premortem.load.spec import choices_from
from tests.real._site import only

pytestmark = pytest.mark.real


class Shop(BaseHTTPRequestHandler):
    """Takes an order only with the session's cookie and its own token; an order has a new id."""

    protocol_version = "HTTP/1.1"
    sessions: dict[str, str]
    orders: set[str]

    def session(self) -> str:
        return str(self.headers.get("Cookie", "")).removeprefix("session=")

    def do_GET(self) -> None:
        if self.path == "/login":
            session, token = secrets.token_hex(8), secrets.token_hex(8)
            self.sessions[session] = token
            page = f'<input type="hidden" name="csrf" value="{token}">'
            self.answer(200, page, "text/html", {"Set-Cookie": f"session={session}; Path=/"})
        else:
            known = self.path.removeprefix("/order/") in self.orders
            self.answer(200 if known and self.session() in self.sessions else 404, "yours")

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        if form.get("csrf", [""])[0] != self.sessions.get(self.session()):
            self.answer(403, "no")
            return
        order = str(90_000 + len(self.orders) + secrets.randbelow(9))
        self.orders.add(order)
        self.answer(201, json.dumps({"order": {"id": int(order)}}), "application/json")

    def answer(self, status: int, text: str, kind: str = "text/html", more: object = None) -> None:
        self.send_response(status)
        for name, value in (more or {}).items():  # type: ignore[attr-defined]
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *given: object) -> None:
        pass


@pytest.fixture
def shop() -> Iterator[str]:
    Shop.sessions, Shop.orders = {}, set()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def entry(second: int, method: str, url: str, kind: str, body: str, **more: object) -> object:
    return {
        "startedDateTime": f"2026-01-05T10:00:{second:02}Z", "time": 900 + 50 * second,
        "request": {"method": method, "url": url, "headers": [], **more},
        "response": {
            "status": 200, "headers": [{"name": "Set-Cookie", "value": "session=old0session1"}],
            "content": {"mimeType": kind, "text": body},
        },
    }  # fmt: skip


def recording(url: str) -> object:
    """As a browser would have saved it, with the values of that one visit."""
    form = {"mimeType": "application/x-www-form-urlencoded", "text": "csrf=0123456789abcdef&item=7"}
    order = '{"order": {"id": 77123}}'
    page = '<input type="hidden" name="csrf" value="0123456789abcdef">'
    return {"log": {"entries": [
        entry(0, "GET", f"{url}/login", "text/html", page),
        entry(1, "POST", f"{url}/order", "application/json", order, postData=form),
        entry(2, "GET", f"{url}/order/77123", "text/html", "yours"),
    ]}}  # fmt: skip


def test_an_imported_recording_is_played_with_fresh_values(shop: str, tmp_path: Path) -> None:
    for name, text in har_draft(recording(shop)).files("shop.toml").items():
        (tmp_path / name).write_text(text)
    plan = Attack(
        shop, choices_from(str(tmp_path / "shop.toml")), Constant(20, 1.0),
        settings=Settings(timeout_s=10.0, retries=0), lag_p99_ms_max=1e6, cpu_ratio_max=1e6,
    )  # fmt: skip
    result = attack(plan)
    only(result, "served")
    assert len(Shop.sessions) == result.tally.total("offered")
    assert set(result.tally.names) == {"GET /login", "POST /order", "GET /order/:id"}
