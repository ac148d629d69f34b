"""Exporters: the page, the expressions over it, and the mappings that come with premortem."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from premortem.sources._declared import declared_metrics
from premortem.sources._expression import Past, Sample, Scene, parse
from premortem.sources.prometheus import Prometheus, mapping_from, ready_mappings, samples

EXPOSITION = """\
# HELP node_load1 1m load average.
# TYPE node_load1 gauge
node_load1 0.75
http_total{code="200",path="/a } b"} 100 1700000000000
http_total{code="500",path="say \\"hi\\""} 7
http_total{code="500",path="/"} 3
broken{
odd NaN
"""


CORES: Sequence[Sample] = [
    ("cpu", {"mode": "idle", "cpu": "0"}, 10.0),
    ("cpu", {"mode": "idle", "cpu": "1"}, 20.0),
    ("cpu", {"mode": "user", "cpu": "0"}, 5.0),
]


BAD = (
    *("", "a b", "a{b}", 'a{b="c}', "sum(a", "sum(1)", "rate()", "a +", "(a", "a)", "()", "or a"),
    *("a or", "1..2", "rate(a) b", "(" * 50 + "a" + ")" * 50),
)


def page(body: str, status: int = 200):
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.0 {status} X\r\n\r\n{body}".encode())
        await writer.drain()
        writer.close()

    return handler


def scene(samples: Sequence[Sample] = CORES, at: float = 10.0, past: Past | None = None) -> Scene:
    return Scene.of(at, samples, past or Past())


async def test_an_exporter_is_read_by_the_mapping(serve) -> None:
    port = await serve(page(EXPOSITION))
    source = Prometheus(
        f"http://127.0.0.1:{port}/metrics",
        {
            "host.load_per_core": "node_load1",
            "web.in_flight": 'http_total{code="500"}',
            "web.errors_per_s": 'rate(http_total{code="500"})',
            "db.up": "pg_up",
        },
    )
    first, second = await source.read(1.0), await source.read(2.0)
    assert first.values == {"host.load_per_core": 0.75, "web.in_flight": 10.0}
    assert second.values["web.errors_per_s"] == 0
    assert (first.error, second.error) == (None, None)
    assert [r["text"] for r in second.rows] == ["no series pg_up"]


async def test_another_exporter_is_an_error(serve) -> None:
    port = await serve(page(EXPOSITION))
    reading = await Prometheus(f"http://127.0.0.1:{port}/", {"db.up": "pg_up"}).read(1.0)
    assert reading.error == "none of the wanted series: is it the right exporter?"


async def test_a_status_is_an_error(serve) -> None:
    port = await serve(page("", 404))
    assert (await Prometheus(f"http://127.0.0.1:{port}/", {}).read(1.0)).error == "status 404"


def test_labels_may_hold_anything() -> None:
    found = list(samples(EXPOSITION))
    assert found[1] == ("http_total", {"code": "200", "path": "/a } b"}, 100.0)
    assert found[2][1]["path"] == 'say "hi"'
    assert len(found) == 5


@pytest.mark.parametrize(
    "text",
    BAD,
)
def test_a_bad_expression_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not like name"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("cpu", 35.0),
        ('cpu{mode="idle"}', 30.0),
        ('cpu{mode="idle", cpu="1"}', 20.0),
        ('max(cpu{mode="idle"})', 20.0),
        ("min(cpu)", 5.0),
        ("count(cpu)", 3.0),
        ("2 + 3 * 4 - 6 / 3", 12.0),
        ("(2 + 3) * 4", 20.0),
        ("1e3 * 2.5", 2500.0),
        ('1 - cpu{mode="user"} / cpu', 1 - 5 / 35),
        ("gone or cpu", 35.0),
        ("cpu or gone", 35.0),
        ("cpu + (gone or 0)", 35.0),
        ("10 - 3 - 2", 5.0),
        ("gone", None),
        ("cpu + gone", None),
        ("1 / 0", None),
        ("rate(cpu)", None),
    ],
)
def test_what_an_expression_is_worth(text: str, value: float | None) -> None:
    assert parse(text).value(scene()) == value


def test_a_rate_is_the_growth_of_each_series_a_second() -> None:
    then = scene(at=10.0).passed()
    later = [(n, la, v + 4.0) for n, la, v in CORES] + [("cpu", {"mode": "new"}, 99.0)]
    assert parse("rate(cpu)").value(scene(later, 12.0, then)) == 6.0
    assert parse("rate(cpu)").value(scene(later, 10.0, then)) is None


def test_a_counter_that_was_reset_is_unknown_not_negative() -> None:
    then = scene(at=10.0).passed()
    reset = [(n, la, 0.0) for n, la, _ in CORES]
    assert parse("rate(cpu)").value(scene(reset, 12.0, then)) is None


def test_the_ready_mappings_are_there() -> None:
    assert ready_mappings() == ("nginx", "node_exporter", "postgres_exporter")
    with pytest.raises(ValueError, match="no mapping is called 'apache'; there are: nginx"):
        mapping_from("apache")


@pytest.mark.parametrize("name", ready_mappings())
def test_a_ready_mapping_fills_only_declared_metrics(name: str) -> None:
    assert set(mapping_from(name)) <= {m.name for m in declared_metrics()}
