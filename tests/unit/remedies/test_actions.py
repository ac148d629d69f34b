"""Remedies against small doubles of the guard and the database."""

import json
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from premortem.model import History, Metric, Reading
from premortem.remedies._hands import Hands, RemedyFailed
from premortem.remedies.cancel_blocker import CancelBlocker
from premortem.remedies.cap_pool import CapPool
from premortem.remedies.shed import Shed
from premortem.remedies.terminate_idle import TerminateIdle

LIMIT = Metric("web.in_flight_limit", "requests", "Limit.")


def history(limit: float | None) -> History:
    found = History([LIMIT])
    if limit is not None:
        found.observe(Reading("guard", "s", 1.0, {LIMIT.name: limit}))
    return found


class Knobs(BaseHTTPRequestHandler):
    """The guard's settings endpoint, as the wire sees it."""

    settings: dict[str, object]

    def do_POST(self) -> None:
        wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        ok = self.headers["X-Premortem-Token"] == "t"
        old = {k: self.settings[k] for k in wanted} if ok else {}
        if ok:
            self.settings.update(wanted)
        body = json.dumps({"old": old, "new": wanted}).encode()
        self.send_response(200 if ok else 403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def knobs() -> Iterator[tuple[str, dict[str, object]]]:
    settings: dict[str, object] = {"cap": 16, "retry_after_min_s": 1, "retry_after_max_s": 5}
    handler = type("Handler", (Knobs,), {"settings": settings})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", settings
    server.shutdown()
    server.server_close()
    thread.join()


async def test_cap_pool_lowers_the_cap_and_takes_it_back(knobs: Any) -> None:
    url, settings = knobs
    hands = Hands(url, "t", knee_in_flight=8)
    action = await CapPool().apply(hands, history(16.0))
    assert action is not None
    assert settings["cap"] == 8
    await CapPool().undo(hands, action)
    assert settings["cap"] == 16


async def test_cap_pool_never_raises_a_cap(knobs: Any) -> None:
    url, settings = knobs
    assert await CapPool().apply(Hands(url, "t", knee_in_flight=32), history(16.0)) is None
    assert settings["cap"] == 16


async def test_without_a_load_test_there_is_nothing_to_cap_at(knobs: Any) -> None:
    with pytest.raises(RemedyFailed, match="load test"):
        await CapPool().apply(Hands(knobs[0], "t"), history(16.0))


async def test_a_refused_token_is_told(knobs: Any) -> None:
    with pytest.raises(RemedyFailed, match="403"):
        await CapPool().apply(Hands(knobs[0], "wrong", knee_in_flight=8), history(16.0))


async def test_shed_asks_visitors_to_come_back_later(knobs: Any) -> None:
    url, settings = knobs
    hands = Hands(url, "t")
    action = await Shed().apply(hands, history(8.0))
    assert action is not None
    assert settings["retry_after_min_s"] == 20
    assert await Shed().apply(hands, history(8.0)) is None
    await Shed().undo(hands, action)
    assert settings["retry_after_max_s"] == 5


async def test_shed_needs_a_guard() -> None:
    with pytest.raises(RemedyFailed, match="guard"):
        await Shed().apply(Hands(), history(None))


class Database:
    """Answers statements in order and keeps what was asked."""

    def __init__(self, *answers: list[dict[str, Any]]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, Sequence[object]]] = []

    async def __call__(self, statement: str, values: Sequence[object]) -> list[dict[str, Any]]:
        self.asked.append((statement, values))
        return self.answers.pop(0)


ROOT = {"pid": 7, "waiters": 12, "state": "idle in transaction", "age_s": 30.0}


async def test_an_idle_root_blocker_is_ended() -> None:
    db = Database([ROOT], [{"done": True}])
    action = await CancelBlocker().apply(Hands(sql=db), history(None))
    assert action is not None
    assert "12 sessions were waiting" in action.text
    assert "pg_terminate_backend" in db.asked[1][0]


async def test_a_working_root_blocker_is_cancelled() -> None:
    db = Database([{**ROOT, "state": "active"}], [{"done": True}])
    await CancelBlocker().apply(Hands(sql=db), history(None))
    assert "pg_cancel_backend" in db.asked[1][0]


async def test_a_young_blocker_is_left_alone() -> None:
    db = Database([{**ROOT, "age_s": 0.5}])
    assert await CancelBlocker().apply(Hands(sql=db), history(None)) is None


async def test_terminate_idle_says_how_many() -> None:
    db = Database([{"pid": 1, "ended": True}, {"pid": 2, "ended": False}])
    action = await TerminateIdle().apply(Hands(sql=db), history(None))
    assert action is not None
    assert action.data["pids"] == [1]


async def test_no_connection_is_told() -> None:
    with pytest.raises(RemedyFailed, match="no connection"):
        await TerminateIdle().apply(Hands(), history(None))
