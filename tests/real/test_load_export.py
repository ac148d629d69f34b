"""Exported journeys, run for two seconds by the real k6 and the real Locust."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qsl

import pytest

from premortem.load.declared import read_sheet
from premortem.load.export.k6 import to_k6
from premortem.load.export.locust import to_locust
from premortem.load.pace import Constant

pytestmark = pytest.mark.real

TOML = r"""
[feeds]
product = "products.csv"

[headers]
X-User = "{user}"

[[journey]]
name = "shopper"
  [[journey.step]]
  get = "/category/{1..40}"
  name = "browse"
  think_s = [0.01, 0.02]
  extract.token = {field = "csrf"}
  extract.item = {regex = '/product/([0-9]+)', any = true}
  extract.sid = {cookie = "session"}
  extract.h = {header = "X-Id"}
  [[journey.step]]
  post = "/basket?x={uuid}"
  params = {page = "{1..3}"}
  form = {item = "{product.id}", csrf = "{token}", sid = "{sid}", h = "{h}", b = "{brace}x}"}
  check.contains = "basket"
  check.lacks = "error"
  check.matches = '"id": \d'
  check.json = {"basket.open" = true}
  extract.basket = {json = "$.basket.id"}
  [[journey.step]]
  put = "/odd"
  json = {basket = "{basket}", list = [1, true, "a{item}"]}
  expect = [409]
[[journey]]
name = "reader"
rounds = {mean = 2.5}
think_s = {p50 = 0.01, p90 = 0.03}
  [[journey.task]]
  weight = 5
    [[journey.task.step]]
    get = "/news/{product.colour}"
  [[journey.task]]
    [[journey.task.step]]
    get = "/"
"""
PAGE = b'<input name="csrf" value="t&amp;1"><a href="/product/7">'
BASKET = b'{"basket": {"id": 9, "open": true}}'


class Shop(BaseHTTPRequestHandler):
    """Answers, and notes what it was asked."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[tuple[str, str, bytes, str]]] = []

    def answer(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.asked.append((self.command, self.path, sent, str(self.headers.get("X-User"))))
        body = BASKET if self.path.startswith("/basket") else PAGE
        self.send_response(409 if self.path == "/odd" else 200)
        self.send_header("X-Id", "5")
        self.send_header("Set-Cookie", "session=s1; Path=/")
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(ConnectionError):  # whoever asked may have reached the end of its test
            self.wfile.write(body)

    do_GET = do_POST = do_PUT = answer

    def log_message(self, *given: object) -> None:
        pass


@pytest.fixture
def shop() -> Iterator[str]:
    """The address of a running shop."""
    Shop.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def tool(name: str) -> str:
    peers = os.environ.get("PREMORTEM_PEERS", "")
    places = (os.environ.get("PATH", ""), str(Path(sys.executable).parent), f"{peers}/venv/bin")
    found = shutil.which(name, path=":".join(places))
    if found is None:
        pytest.skip(f"needs {name}: pip install {name}, or PREMORTEM_PEERS=folder of its venv")
    return found


@pytest.fixture
def journey(tmp_path: Path) -> Path:
    (tmp_path / "products.csv").write_text("id,colour\n17,red\n18,blue\n")
    path = tmp_path / "shop.toml"
    path.write_text(TOML)
    return path


def check_requests() -> None:
    def of(method: str, start: str) -> list[tuple[str, bytes, str]]:
        return [
            asked[1:] for asked in Shop.asked if asked[0] == method and asked[1].startswith(start)
        ]

    posts, puts = of("POST", "/basket?x="), of("PUT", "/odd")
    assert posts and puts and of("GET", "/news/") and of("GET", "/category/")
    for path, body, user in posts:
        fields = dict(parse_qsl(body.decode()))
        assert fields.pop("item") in ("17", "18")
        assert fields == {"csrf": "t&1", "sid": "s1", "h": "5", "b": "{x}"}
        assert "&page=" in path and len(user) > 2
    for _, body, _ in puts:
        assert json.loads(body) == {"basket": 9, "list": [1, True, "a7"]}


@pytest.mark.slow
def test_k6_runs_the_script(journey: Path, tmp_path: Path, shop: str) -> None:
    script, summary = tmp_path / "load.js", tmp_path / "summary.json"
    script.write_text(to_k6(read_sheet(journey), shop, Constant(20, 2.0)))
    command = [tool("k6"), "run", "--quiet", "--no-usage-report", "--summary-export", str(summary)]
    done = subprocess.run(
        [*command, str(script)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    checks = json.loads(summary.read_text())["metrics"]["checks"]
    assert checks["fails"] == 0 and checks["passes"] > 20, done.stdout
    check_requests()


@pytest.mark.slow
def test_locust_runs_the_file(journey: Path, tmp_path: Path, shop: str) -> None:
    file = tmp_path / "locustfile.py"
    file.write_text(to_locust(read_sheet(journey), shop))
    command = [tool("locust"), "-f", str(file), "--headless", "--only-summary"]
    done = subprocess.run(
        [*command, "-u", "6", "-r", "6", "-t", "2s"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr  # 1 when any request failed
    check_requests()
