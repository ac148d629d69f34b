"""Readings on their way to a fleet's history: names, messages, the queue and its bounds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from premortem.app.remote_post import Post, Refused, Unsent
from premortem.app.remote_wire import Grouper, write_request
from premortem.app.remote_write import RemoteWrite
from premortem.app.series_names import clash, error_label, names_back, series_name
from premortem.model import Reading
from premortem.sources._declared import declared_metrics

USED = "premortem_db_connections_used"
DECLARED = [m.name for m in declared_metrics()]


def reading(at: float, value: float = 1.0, error: str | None = None) -> Reading:
    return Reading("postgres", "db", at, {"db.connections.used": value}, error=error)


def names(series: dict) -> list[str]:
    return [dict(labels)["__name__"] for labels in series]


# -- names


def test_no_two_metrics_share_a_series_and_all_come_back() -> None:
    assert clash(DECLARED) is None
    assert names_back(DECLARED) == {series_name(m): m for m in DECLARED}
    assert len(names_back(DECLARED)) == len(DECLARED)


def test_a_clash_is_named() -> None:
    assert clash(["db.wait.cpu", "db.wait_cpu"]) == ("db.wait.cpu", "db.wait_cpu")
    assert clash(["reading"]) == ("premortem_reading", "reading")


def test_the_figures_of_an_error_do_not_multiply_series() -> None:
    texts = {error_label(f"no reply to a query for {i / 10} s") for i in range(1000)}
    assert texts == {"no reply to a query for # s"}


@pytest.mark.parametrize("text", ["53300 too many", "status 503", "57P03 starting up", "refused"])
def test_what_causes_are_judged_by_stays(text: str) -> None:
    assert error_label(text) == text


# -- messages


def test_a_reading_is_one_sample_a_value_and_one_for_itself() -> None:
    series = Grouper().group([("shop", reading(1.5, 7.0))])
    assert series == {
        (
            ("__name__", "premortem_reading"),
            ("site", "shop"),
            ("source", "postgres"),
            ("target", "db"),
        ): [(1500, 1.0)],
        (("__name__", USED), ("site", "shop"), ("source", "postgres"), ("target", "db")): [
            (1500, 7.0)
        ],
    }


def test_a_failure_is_a_series_with_its_words() -> None:
    failed = Reading("postgres", "db", 2.0, error="refused")
    (labels, points), *rest = Grouper().group([("shop", failed)]).items()
    assert rest == []
    assert dict(labels)["error"] == "refused"
    assert points == [(2000, 0.0)]


def test_samples_that_are_not_newer_are_left_out_and_counted() -> None:
    grouper = Grouper()
    series = grouper.group([("shop", reading(at)) for at in (1.0, 3.0, 2.0, 3.0)])
    assert all([at for at, _ in points] == [1000, 3000] for points in series.values())
    assert grouper.group([("shop", reading(2.5))]) == {}
    assert grouper.left_out == 2 * 3


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_left_out(value: float) -> None:
    assert names(Grouper().group([("shop", reading(1.0, value))])) == ["premortem_reading"]
    assert Grouper().group([("shop", reading(value))]) == {}


def test_series_and_errors_are_bounded() -> None:
    grouper = Grouper(series_max=3, errors_max=2)
    texts = ("a", "b", "c", "d")
    series = grouper.group([("shop", reading(float(i), error=t)) for i, t in enumerate(texts)])
    assert len(series) == 3
    assert grouper.left_out > 0
    labels = Grouper(errors_max=2).group([("s", reading(i, error=t)) for i, t in enumerate(texts)])
    assert [dict(k).get("error") for k in labels] == ["a", None, "b", "other errors"]


def test_the_request_is_protobuf() -> None:
    """Read back field by field as the specification describes it."""
    body = write_request(Grouper().group([("shop", reading(1.5, 7.0))]))
    request = list(fields(body))
    assert [number for number, _ in request] == [1, 1]
    series = list(fields(request[1][1]))
    labels = [dict(fields(content)) for number, content in series if number == 1]
    assert [(x[1].decode(), x[2].decode()) for x in labels] == [
        ("__name__", USED),
        ("site", "shop"),
        ("source", "postgres"),
        ("target", "db"),
    ]
    assert series[-1][1] == b"\x09\x00\x00\x00\x00\x00\x00\x1c\x40\x10\xdc\x0b"  # 7.0, 1500


def fields(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Length-delimited fields only."""
    at = 0
    while at < len(content):
        tag = content[at]
        assert tag & 7 == 2
        length = shift = 0
        while True:
            at += 1
            length |= (content[at] & 0x7F) << shift
            shift += 7
            if content[at] < 0x80:
                break
        at += 1
        yield tag >> 3, content[at : at + length]
        at += length


# -- the queue


class Receiver:
    """Takes or refuses as told; remembers how many requests came."""

    def __init__(self, *answers: Exception | None) -> None:
        self.answers = list(answers)
        self.calls = 0

    def __call__(self, body: bytes) -> None:
        assert body
        self.calls += 1
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer


def until(true: Callable[[], bool], within_s: float = 3.0) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_everything_is_sent_by_the_end() -> None:
    receiver = Receiver()
    with RemoteWrite(receiver) as sink:
        sink.append("shop", [reading(float(i)) for i in range(1200)])
    assert sink.counts.sent == 1200
    assert sink.counts.queued == sink.counts.dropped == 0
    assert receiver.calls == 3


def test_a_receiver_that_is_away_gets_it_later() -> None:
    receiver = Receiver(Unsent("status 500"), Unsent("refused"))
    sink = RemoteWrite(receiver, pauses_s=(0.01,))
    sink.append("shop", [reading(1.0)])
    until(lambda: sink.counts.sent == 1)
    assert receiver.calls == 3
    assert sink.counts.last_error == "refused"
    sink.close()


def test_what_is_refused_is_counted_and_not_tried_again() -> None:
    receiver = Receiver(Refused("status 400: out of order"))
    with RemoteWrite(receiver) as sink:
        sink.append("shop", [reading(1.0)])
    assert (sink.counts.refused, sink.counts.sent, receiver.calls) == (1, 0, 1)
    assert sink.counts.last_error == "status 400: out of order"


def test_a_receiver_that_hangs_delays_nobody_and_memory_is_bounded() -> None:
    release = threading.Event()
    sink = RemoteWrite(lambda _: release.wait(10.0) and None, queue_max=100)
    begun = time.perf_counter()
    for i in range(3000):
        sink.append("shop", [reading(float(i))])
    assert time.perf_counter() - begun < 1.0
    assert sink.counts.queued <= 100
    assert sink.counts.dropped >= 3000 - 100 - 500
    release.set()
    sink.close()
    assert sink.counts.sent + sink.counts.dropped == 3000


def test_a_dead_receiver_does_not_hold_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("premortem.app.remote_write.CLOSE_S", 0.2)

    def dead(_: bytes) -> None:
        raise Unsent("refused")

    sink = RemoteWrite(dead)
    sink.append("shop", [reading(1.0)])
    begun = time.perf_counter()
    sink.close()
    sink.close()
    assert time.perf_counter() - begun < 2.0
    assert sink.counts.dropped == 1


# -- one request


@contextmanager
def answering(status: int, retry_after: str = "") -> Iterator[tuple[str, list[dict[str, str]]]]:
    seen: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            seen.append(dict(self.headers))
            self.send_response(status)
            if retry_after:
                self.send_header("Retry-After", retry_after)
            words = b"" if status == 204 else b"words"
            if words:
                self.send_header("Content-Length", str(len(words)))
            self.end_headers()
            self.wfile.write(words)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/api/v1/write", seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_the_headers_are_those_of_remote_write_and_the_token_is_sent() -> None:
    with answering(204) as (url, seen):
        post = Post(url, "secret")
        post(b"x")
        post(b"x")
        post.close()
    assert seen[0]["Content-Encoding"] == "snappy"
    assert seen[0]["X-Prometheus-Remote-Write-Version"] == "0.1.0"
    assert seen[1]["Authorization"] == "Bearer secret"
    assert "secret" not in repr(post)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, Refused), (404, Refused), (429, Unsent), (500, Unsent), (503, Unsent)],
)
def test_a_status_says_whether_to_try_again(status: int, kind: type[Exception]) -> None:
    with answering(status, "7") as (url, _):
        post = Post(url)
        with pytest.raises(kind, match=f"status {status}: words") as caught:
            post(b"x")
        post.close()
    assert getattr(caught.value, "after_s", 7.0) == 7.0


def test_nobody_there_is_for_later() -> None:
    with pytest.raises(Unsent, match="refused"):
        Post("http://127.0.0.1:1/write")(b"x")


@pytest.mark.parametrize("url", ["ftp://a/b", "prometheus:9090", "http://"])
def test_a_bad_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="http or https"):
        RemoteWrite.to(url)


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(ValueError, match="token_file") as caught:
        RemoteWrite.to("http://me:hunter2@127.0.0.1/write")
    assert "hunter2" not in str(caught.value)
