"""What is asked of a fleet's history, and what its failures look like to a person."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from premortem.app.cli import _guarded
from premortem.app.plan_input import demand_from_store
from premortem.app.promql import HistoryError, Promql
from premortem.app.recorded import remembered
from premortem.model import Series
from premortem.sources._declared import declared_metrics

DECLARED = [m.name for m in declared_metrics()]
Asked = dict[str, str]


@contextmanager
def history(*answers: object, status: int = 200) -> Iterator[tuple[Promql, list[Asked]]]:
    """A server that gives ``answers`` one after the other, the last for ever."""
    asked: list[Asked] = []
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            asked.append({k: v[0] for k, v in parse_qs(parts.query).items()})
            asked[-1] |= {"path": parts.path, "token": self.headers.get("Authorization", "")}
            self.send_response(status)
            self.end_headers()
            answer = left.pop(0) if len(left) > 1 else left[0]
            self.wfile.write(answer if isinstance(answer, bytes) else json.dumps(answer).encode())

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield Promql(f"http://127.0.0.1:{server.server_port}/prometheus/", "secret"), asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def matrix(*points: tuple[float, float], name: str = "premortem_db_up") -> dict[str, object]:
    labels = {"__name__": name, "site": "shop", "source": "postgres", "target": "db"}
    values = [[at, str(value)] for at, value in points]
    result = [{"metric": labels, "values": values}] if points else []
    return {"status": "success", "data": {"resultType": "matrix", "result": result}}


def test_raw_samples_are_asked_for_ten_minutes_at_a_time() -> None:
    first, second = matrix((100.0, 1), (101.0, 1), (700.0, 1)), matrix((700.0, 1), (900.0, 0))
    with history(first, second) as (far, asked):
        found = list(far.readings('a"b', DECLARED, 100.0, 1000.0))
    assert [r.at for r in found] == [101.0, 700.0, 900.0]  # each once, the edges not twice
    assert [(a["path"], a["time"]) for a in asked] == [
        ("/prometheus/api/v1/query", "700.000"),
        ("/prometheus/api/v1/query", "1000.000"),
    ]
    assert asked[0]["query"] == '{__name__=~"premortem_.+",site="a\\"b"}[600000ms]'
    assert asked[1]["query"].endswith("[300000ms]")
    assert asked[0]["token"] == "Bearer secret"


def test_long_spans_of_means_are_asked_in_parts_that_prometheus_takes() -> None:
    with history(matrix((1200.0, 5.0), (1800.0, float("nan")))) as (far, asked):
        days_400 = 400 * 86_400.0
        found = far.series("shop", "web.requests_per_s", 0.0, days_400, 600.0)
    assert found == Series((600.0,) * 6, (5.0,) * 6)  # stamped at the start of each step
    assert len(asked) == 6  # 57,600 steps
    assert all((float(a["end"]) - float(a["start"])) / 600 < 11_000 for a in asked)
    inner = 'premortem_web_requests_per_s{site="shop"}[600000ms]'
    assert asked[0]["query"] == f"sum(avg_over_time({inner}))"


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (503, b"starting up", "status 503: starting up"),
        (200, b"<html>", "neither a recording nor JSON"),
        (422, {"status": "error", "error": "too many samples"}, "too many samples"),
    ],
)
def test_a_failure_is_one_line_without_the_token(status: int, body: object, words: str) -> None:
    with history(body, status=status) as (far, _), pytest.raises(HistoryError) as caught:
        list(far.readings("shop", DECLARED, 0.0, 1.0))
    assert words in str(caught.value)
    assert "secret" not in str(caught.value) + repr(far)


def test_a_site_that_nobody_wrote_names_those_there_are() -> None:
    sites = {"status": "success", "data": ["game", "shop"]}
    with history(matrix(), sites) as (far, _), pytest.raises(HistoryError, match="game, shop"):
        list(remembered(far, "zoo", 0.0, 1.0))


@pytest.mark.parametrize("url", ["", "ftp://a", "http://", "http://me:hunter2@a"])
def test_a_bad_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="URL") as caught:
        Promql(url)
    assert "hunter2" not in str(caught.value)


def test_the_plan_takes_an_address_for_a_history() -> None:
    points = tuple((600.0 * i, float(i)) for i in range(1, 5))
    with history(matrix(*points), matrix()) as (far, _):
        demand = demand_from_store(Path(far.url), "shop", "web.requests_per_s", 2400.0)
    assert (demand.start, demand.rates) == (0.0, (1.0, 2.0, 3.0, 4.0))


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (("--prometheus", "http://127.0.0.1:1", "--site", "x"), 3, "refused"),
        (("--prometheus", "http://127.0.0.1:1"), 2, "--site"),
        (("--prometheus", "nonsense", "--site", "x"), 2, "URL"),
        (("--prometheus", "http://a", "--site", "x", "--from", "noon"), 2, "is no time"),
        (("--prometheus", "http://a", "--site", "x", "--from", "3d"), 2, "a day"),
        (("--prometheus", "http://a", "--site", "x", "--to", "1h"), 2, "a later one"),
        (("--prometheus", "http://a", "--recording", "x"), 2, "choose one"),
        (("--url", "http://a", "--map", "nginx"), 2, "--recording"),
        (("--recording", "/nowhere/x", "--map", "apache"), 2, "ready are"),
    ],
)
def test_the_command_refuses_in_one_line(
    argv: tuple[str, ...], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _guarded(["diagnose", *argv]) == code
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
