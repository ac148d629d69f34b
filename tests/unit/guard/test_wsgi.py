"""The guard before a WSGI application: threads instead of a loop, the same decisions."""

from __future__ import annotations

import io
import json
import socketserver
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.error import HTTPError
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.validate import validator

import pytest

from premortem.guard import Route, Settings, WsgiGuard


@dataclass
class Site:
    """Holds requests for /hold until released, and knows how many were inside at most."""

    release: threading.Event = field(default_factory=threading.Event)
    inside: int = 0
    most: int = 0
    calls: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    closed: int = 0

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        with self.lock:
            self.calls.append(path)
            self.inside += 1
            self.most = max(self.most, self.inside)
        try:
            if path == "/hold":
                assert self.release.wait(10)
            elif path == "/work":
                time.sleep(0.005)
            elif path == "/broken":
                raise RuntimeError("broken")
        finally:
            with self.lock:
                self.inside -= 1
        status = "500 Oops" if path == "/oops" else "200 OK"
        start(status, [("Content-Type", "text/plain"), ("Content-Length", "6")])
        return _Chunks(self)


class _Chunks:
    def __init__(self, site: Site) -> None:
        self.site = site

    def __iter__(self) -> Iterator[bytes]:
        yield b"ser"
        yield b"ved"

    def close(self) -> None:
        self.site.closed += 1


@dataclass
class Answer:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    took_s: float = 0.0


def send(app: Any, path: str = "/", method: str = "GET", body: bytes = b"", **more: str) -> Answer:
    answer = Answer()

    def start(status: str, headers: list[tuple[str, str]], *_: Any) -> Callable[[bytes], object]:
        answer.status = int(status[:3])
        answer.headers = dict(headers)
        return lambda data: None

    environ: dict[str, Any] = {
        "REQUEST_METHOD": method, "PATH_INFO": path, "SCRIPT_NAME": "", "QUERY_STRING": "",
        "SERVER_NAME": "test", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "203.0.113.7", "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0), "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(), "wsgi.multithread": True, "wsgi.multiprocess": False,
        "wsgi.run_once": False, **more,
    }  # fmt: skip
    began = time.monotonic()
    chunks = app(environ, start)
    try:
        answer.body = b"".join(chunks)
    finally:
        if hasattr(chunks, "close"):
            chunks.close()
    answer.took_s = time.monotonic() - began
    return answer


@contextmanager
def held(guard: WsgiGuard, site: Site, requests: int = 1) -> Iterator[None]:
    with ThreadPoolExecutor(requests) as pool:
        waiting = [pool.submit(send, guard, "/hold") for _ in range(requests)]
        until = time.monotonic() + 5
        while site.inside < requests and time.monotonic() < until:
            time.sleep(0.001)
        try:
            yield
        finally:
            site.release.set()
    assert [w.result().status for w in waiting] == [200] * requests


def guarded(site: Site, pool: Any = None, **wanted: Any) -> WsgiGuard:
    return WsgiGuard(site, Settings(**{"cap": 1, **wanted}), pool)


def test_a_request_is_passed_on_whole_and_its_body_is_closed() -> None:
    site = Site()
    answer = send(guarded(site), "/shop")
    assert (answer.status, answer.body, site.calls, site.closed) == (200, b"served", ["/shop"], 1)


def test_it_is_a_wsgi_application_by_the_standard_librarys_validator() -> None:
    answer = send(validator(guarded(Site())), "/shop")
    assert answer.body == b"served"


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_refusal_is_quick_small_and_says_when_to_return(method: str) -> None:
    site = Site()
    guard = guarded(site)
    with held(guard, site):
        answer = send(guard, "/", method)
    assert answer.status == 503
    assert 1 <= int(answer.headers["Retry-After"]) <= 5
    assert answer.body == (
        b"" if method == "HEAD" else b"Overloaded. Please try again in a moment.\n"
    )
    assert 0.07 < answer.took_s < 0.5
    assert site.calls == ["/hold"]


def test_one_who_waits_is_admitted_when_a_slot_is_freed() -> None:
    site = Site()
    guard = guarded(site)
    with ThreadPoolExecutor(1) as pool, held(guard, site):
        waiting = pool.submit(send, guard, "/next")
        time.sleep(0.02)
        assert site.calls == ["/hold"]
        site.release.set()
        assert waiting.result(5).status == 200


def test_never_more_than_the_cap_are_inside_and_nobody_is_lost() -> None:
    site = Site()
    guard = guarded(site, cap=4)
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda _: send(guard, "/work").status, range(400)))
    assert site.most <= 4
    assert answers.count(200) + answers.count(503) == 400
    assert answers.count(200) == len(site.calls) > 0
    assert guard.values()["web.in_flight"] == 0


def test_a_broken_application_frees_its_slot() -> None:
    guard = guarded(Site())
    with pytest.raises(RuntimeError, match="broken"):
        send(guard, "/broken")
    assert send(guard).status == 200


def test_a_response_that_is_cut_short_frees_its_slot_and_counts_as_an_error() -> None:
    site = Site()
    guard = guarded(site)
    chunks: Any = guard({"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, lambda *_: lambda data: None)
    assert guard.values()["web.in_flight"] == 1
    next(iter(chunks))
    chunks.close()
    assert guard.values()["web.in_flight"] == 0
    assert site.closed == 1


def test_health_checks_pass_when_all_is_full() -> None:
    site = Site()
    guard = guarded(site)
    with held(guard, site):
        assert send(guard, "/healthz").status == 200


def test_the_more_important_class_is_served_first() -> None:
    site = Site()
    guard = guarded(site, routes=(Route("*", "/checkout", "high"),), queue_timeout_ms=2000.0)
    with ThreadPoolExecutor(2) as pool, held(guard, site):
        low = pool.submit(send, guard, "/browse")
        time.sleep(0.02)
        high = pool.submit(send, guard, "/checkout")
        time.sleep(0.02)
        site.release.set()
        assert (low.result(5).status, high.result(5).status) == (200, 200)
    assert site.calls == ["/hold", "/checkout", "/browse"]


def test_status_is_for_this_machine_or_the_token_and_counts_what_happened() -> None:
    site = Site()
    guard = guarded(site, token="hush", pool=lambda: {"pool.in_use": 3.0})
    path = "/-/premortem/status"
    assert send(guard, path).status == 404
    assert send(guard, path, REMOTE_ADDR="127.0.0.1", HTTP_X_FORWARDED_FOR="1.2.3.4").status == 404
    assert send(guard, path, HTTP_X_PREMORTEM_TOKEN="hush").status == 200
    send(guard, "/oops")
    with held(guard, site):
        send(guard, "/")
        time.sleep(0.3)
        values = json.loads(send(guard, path, REMOTE_ADDR="127.0.0.1").body)
    assert (values["web.in_flight"], values["web.refused_per_s"]) == (1, 1)
    assert (values["web.errors_per_s"], values["pool.in_use"]) == (1, 3)


def test_settings_change_for_the_token_alone() -> None:
    guard = guarded(Site(), token="hush")
    path, body = "/-/premortem/settings", b'{"cap": 3}'
    assert send(guard, path, "POST", body).status == 403
    answer = send(guard, path, "POST", body, HTTP_X_PREMORTEM_TOKEN="hush")
    assert json.loads(answer.body) == {"old": {"cap": 1}, "new": {"cap": 3}}
    assert guard.settings.cap == 3
    bad = send(guard, path, "POST", b'{"cap": 0}', HTTP_X_PREMORTEM_TOKEN="hush")
    assert bad.status == 400
    long = send(guard, path, "POST", b" " * 5000, HTTP_X_PREMORTEM_TOKEN="hush")
    assert (long.status, guard.settings.cap) == (400, 3)


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a test's output is its verdict."""


def test_behind_a_real_server_over_real_sockets() -> None:
    site = Site()
    with _Server(("127.0.0.1", 0), _Quiet) as server:
        server.set_app(guarded(site, cap=2, queue_max=0))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        with ThreadPoolExecutor(2) as pool:
            busy = [pool.submit(urllib.request.urlopen, f"{url}/hold") for _ in range(2)]
            until = time.monotonic() + 5
            while site.inside < 2 and time.monotonic() < until:
                time.sleep(0.001)
            with pytest.raises(HTTPError) as refused:
                urllib.request.urlopen(f"{url}/")
            site.release.set()
            for answer in busy:
                with answer.result(5) as response:
                    assert response.read() == b"served"
        server.shutdown()
    assert refused.value.code == 503
    refused.value.close()
