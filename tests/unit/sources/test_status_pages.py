"""HAProxy and Patroni: pages as their manuals describe them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from premortem.sources._patroni import parse_cluster
from premortem.sources.haproxy import Haproxy, parse_stats
from premortem.sources.patroni import Patroni

STATS = """\
# pxname,svname,qcur,qmax,scur,smax,slim,stot,econ,wretr,status,qtime,ctime,
shop,FRONTEND,,,12,40,2000,{total},,,OPEN,,,
shop,web1,0,3,6,20,,500,2,1,UP,,,
shop,web2,0,3,0,20,,480,90,7,DOWN 1/2,,,
shop,web3,0,3,0,20,,0,0,0,no check,,,
shop,BACKEND,5,9,12,40,200,980,{errors},8,UP,30,2,
db,FRONTEND,,,3,9,100,7,,,OPEN,,,
db,BACKEND,1,1,3,9,10,7,0,0,UP,,,
"""
CLUSTER = {
    "members": [
        {"name": "a", "role": "leader", "state": "running", "timeline": 3},
        {"name": "b", "role": "sync_standby", "state": "streaming", "timeline": 3, "lag": 0},
        {"name": "c", "role": "replica", "state": "streaming", "timeline": 3, "lag": 4096},
        {"name": "d", "role": "replica", "state": "start failed", "lag": "unknown"},
    ],
}


def page(body: str, status: int = 200):
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.0 {status} X\r\n\r\n{body}".encode())
        await writer.drain()
        writer.close()

    return handler


def test_haproxy_is_read_by_proxy() -> None:
    text = STATS.format(total=1000, errors=92)
    values, totals, rows = parse_stats(text, "shop")
    assert values == {
        "web.proxy.queue_length": 5.0,
        "web.proxy.sessions": 12.0,
        "web.proxy.sessions_max": 2000.0,
        "web.proxy.servers_up": 2.0,
        "web.proxy.servers_down": 1.0,
        "web.proxy.connect_ms": 2.0,
        "web.proxy.queue_ms": 30.0,
    }
    assert totals == {"stot": 1000.0, "econ": 92.0, "wretr": 8.0}
    assert [r["server"] for r in rows] == ["web2"]
    assert parse_stats(text)[0]["web.proxy.queue_length"] == 6.0


async def test_haproxys_counters_become_rates(serve) -> None:
    pages = [STATS.format(total=1000, errors=90), STATS.format(total=1100, errors=100)]

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await page(pages.pop(0))(reader, writer)

    source = Haproxy(f"http://127.0.0.1:{await serve(handler)}/stats;csv", proxy="shop")
    first, second = await source.read(1.0), await source.read(2.0)
    assert "web.proxy.requests_per_s" not in first.values
    assert second.values["web.proxy.requests_per_s"] == pytest.approx(
        10 * second.values["web.proxy.connect_errors_per_s"]
    )


@pytest.mark.parametrize(
    ("pieces", "error"),
    [("5\r\n# pxn\r\n{:x}\r\n{}\r\n0\r\n\r\n", None), ("ffff\r\n# pxn", "not an HTTP answer")],
    ids=["whole", "cut off"],
)
async def test_haproxy_sends_its_page_in_chunks(serve, pieces: str, error: str | None) -> None:
    rest = STATS.format(total=1, errors=0)[5:]

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(pieces.format(len(rest), rest).encode())
        await writer.drain()
        writer.close()

    reading = await Haproxy(f"http://127.0.0.1:{await serve(handler)}/;csv").read(1.0)
    assert reading.error == error
    assert bool(reading.values) == (error is None)


@pytest.mark.parametrize("source", [Haproxy, Patroni])
async def test_another_page_is_one_line(serve, source: type) -> None:
    port = await serve(page("<html>hello</html>"))
    reading = await source(f"http://127.0.0.1:{port}/").read(1.0)
    assert reading.values == {}
    assert "not" in (reading.error or "")


def test_patroni_counts_who_leads_and_who_follows() -> None:
    values, rows = parse_cluster(CLUSTER)
    assert values == {
        "db.cluster.members": 4.0,
        "db.cluster.leaders": 1.0,
        "db.cluster.followers": 2.0,
        "db.cluster.sync_standbys": 1.0,
        "db.cluster.paused": 0.0,
        "db.cluster.lag_bytes": 4096.0,
        "db.cluster.timeline": 3.0,
    }
    assert rows[3]["state"] == "start failed"


async def test_a_cluster_without_a_leader_is_an_error_with_values(serve) -> None:
    headless = {"members": CLUSTER["members"][1:], "pause": True}
    port = await serve(page(json.dumps(headless)))
    reading = await Patroni(f"http://127.0.0.1:{port}").read(1.0)
    assert reading.error == "the cluster has no running leader"
    assert reading.values["db.cluster.leaders"] == 0
    assert reading.values["db.cluster.paused"] == 1


@pytest.mark.parametrize("status", [404, 500])
async def test_a_status_is_an_error(serve, status: int) -> None:
    url = f"http://127.0.0.1:{await serve(page('', status))}"
    sources = (Haproxy(url), Patroni(url))
    errors = [(await s.read(1.0)).error or "" for s in sources]
    assert all(f"status {status}" in e for e in errors)


async def test_haproxys_socket_tells_the_same_as_its_page(tmp_path: Path) -> None:
    orders: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        orders.append(await reader.readline())
        writer.write(STATS.format(total=1000, errors=92).encode())
        writer.close()

    where = str(tmp_path / "s")
    server = await asyncio.start_unix_server(handler, where)
    source = Haproxy(f"unix:{where}", proxy="shop")
    async with server:
        reading = await source.read(1.0)
    gone = await Haproxy("unix:/nowhere/at/all").read(1.0)
    assert orders == [b"show stat\n"]
    assert reading.values["web.proxy.sessions"] == 12.0
    assert source.target == f"{where}/shop"
    assert gone.error == "connect No such file or directory"
