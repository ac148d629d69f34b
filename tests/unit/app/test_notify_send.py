"""Sending: through apprise to a real receiver, with time-outs, repeats and bounds."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from premortem.app.config import BadConfig
from premortem.app.notify import Notice
from premortem.app.notify_send import STUCK_MAX, WAITING_MAX, Letter, Post, apprise_sends

# apprise loads a module that Python 3.13 drops; it has its own ready for then
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

LETTER = Letter("shop: db_io", "one\ntwo", "failure")


class Receiver(ThreadingHTTPServer):
    """Takes what apprise's json:// posts; answers ``status``."""

    daemon_threads = True
    status = 200

    def __init__(self) -> None:
        self.got: list[dict[str, str]] = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"json://127.0.0.1:{self.server_address[1]}/secret-path"


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.status == 200:
            self.server.got.append(json.loads(text))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def wait_for(what: Callable[[], bool], within_s: float = 5.0) -> None:
    deadline = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_message_arrives_through_apprise(receiver: Receiver) -> None:
    post = Post(apprise_sends([receiver.url]), print)
    post.put(LETTER)
    wait_for(lambda: post.figures()["1:json"] == (1, 0, 0, 0))
    post.close()
    assert [(m["title"], m["message"], m["type"]) for m in receiver.got] == [
        ("shop: db_io", "one\ntwo", "failure")
    ]


def test_a_service_that_refuses_is_tried_again_and_never_named_by_its_secret(
    receiver: Receiver,
) -> None:
    said: list[str] = []
    post = Post(apprise_sends([receiver.url]), said.append, again_after_s=(0.05, 0.05))
    receiver.status = 500
    post.put(LETTER)
    wait_for(lambda: post.figures()["1:json"][1] == 1)
    assert post.figures()["1:json"][3] == 3  # attempts
    assert said == ["a message could not be sent to address 1:json: shop: db_io"]
    receiver.status = 200
    post.put(LETTER)
    wait_for(lambda: len(receiver.got) == 1)
    post.close()


def test_an_address_that_apprise_does_not_know_is_told_by_its_number() -> None:
    with pytest.raises(BadConfig, match=r"^\[notify\]: address 2 is none that apprise knows$"):
        apprise_sends(["json://127.0.0.1/", "carrier-pigeon://roof?secret=1"])


def test_one_address_does_not_wait_for_another() -> None:
    blocked = threading.Event()
    sends = {"slow": lambda *_: blocked.wait(10), "fast": lambda *_: True}
    post = Post(sends, print)
    for _ in range(3):
        post.put(LETTER)
    wait_for(lambda: post.figures()["fast"][0] == 3)
    assert post.figures()["slow"][0] == 0
    blocked.set()
    post.close()


def test_an_attempt_that_never_ends_is_left_and_such_attempts_are_bounded() -> None:
    blocked = threading.Event()
    begun: list[float] = []

    def hang(*_: str) -> bool:
        begun.append(time.monotonic())
        return blocked.wait(10)

    post = Post({"stuck": hang}, lambda _: None, attempt_s=0.05, again_after_s=(0.01,) * 9)
    post.put(LETTER)
    wait_for(lambda: post.figures()["stuck"][1] == 1)
    assert len(begun) == STUCK_MAX
    blocked.set()
    wait_for(lambda: threading.active_count() < 5)
    post.put(LETTER)
    wait_for(lambda: post.figures()["stuck"][0] == 1)
    post.close()


def test_a_client_that_raises_counts_as_refused() -> None:
    def broken(*_: str) -> bool:
        raise RuntimeError("bug in a plug-in")

    post = Post({"x": broken}, lambda _: None, again_after_s=())
    post.put(LETTER)
    wait_for(lambda: post.figures()["x"][1] == 1)
    post.close()


def test_handing_over_never_waits_and_the_queue_is_bounded() -> None:
    blocked = threading.Event()
    post = Post({"slow": lambda *_: blocked.wait(10)}, lambda _: None)
    begun = time.monotonic()
    for _ in range(WAITING_MAX + 20):
        post.put(LETTER)
    assert time.monotonic() - begun < 0.5
    assert post.figures()["slow"][1] >= 19
    blocked.set()
    post.close()


def test_the_kind_follows_from_what_happened() -> None:
    def kind(kind: str, step: str) -> str:
        return Letter.of(Notice("s", kind, "x", step, 1.0, 0.0, 0.0), "t", "b").kind  # type: ignore[arg-type]

    assert kind("page", "opened") == kind("page", "again") == "failure"
    assert kind("warning", "opened") == "warning"
    assert kind("page", "resolved") == kind("warning", "resolved") == "success"
