"""The JSON gateway, spoken to by a server that answers like one."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from premortem.engines.errors import EngineError
from premortem.engines.etcd import EtcdClient, find, healthy

store: dict[str, str] = {}


class Gateway(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.answer({"health": "true"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/v3/kv/range":
            value = store.get(body["key"])
            self.answer({} if value is None else {"kvs": [{"value": value}]})
        else:
            [want] = body["compare"]
            same = store.get(want["key"]) == want["value"] and want["target"] == "VALUE"
            if same:
                del store[body["success"][0]["requestDeleteRange"]["key"]]
            self.answer({"succeeded": True} if same else {})

    def answer(self, body: Any) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *args: object) -> None: ...


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.fixture
def url() -> Iterator[str]:
    store.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


DEAD = "http://127.0.0.1:9"


def test_deletes_only_what_it_expects(url: str) -> None:
    client = EtcdClient([url])
    store[b64("/leader")] = b64("node1")
    assert client.get("/leader") == "node1"
    assert not client.delete_if("/leader", "node2")
    assert client.get("/leader") == "node1"
    assert client.delete_if("/leader", "node1")
    assert client.get("/leader") is None
    assert not client.delete_if("/leader", "node1")


def test_asks_the_next_member_when_one_is_gone(url: str) -> None:
    store[b64("k")] = b64("v")
    assert EtcdClient([DEAD, url]).get("k") == "v"


def test_nobody_answers_is_one_line() -> None:
    with pytest.raises(EngineError, match="no etcd member answered") as caught:
        EtcdClient([DEAD, DEAD]).get("k")
    assert "\n" not in str(caught.value)


def test_health(url: str) -> None:
    assert healthy(url)
    assert not healthy(DEAD, 0.2)


def test_a_version_with_the_inconsistency_bug_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("premortem.engines.etcd.version_of", lambda *_: (3, 5, 1))
    assert "rehearsals only" in find().warning
    monkeypatch.setattr("premortem.engines.etcd.version_of", lambda *_: (3, 4, 23))
    assert find().warning == ""
