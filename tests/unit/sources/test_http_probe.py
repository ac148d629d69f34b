"""The outside view: phases, failures and the shares of the last ten probes."""

from __future__ import annotations

import asyncio
import socket

import pytest

from premortem.sources.http_probe import HttpProbe

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
BUSY = b"HTTP/1.1 503 Busy\r\nretry-after: 2\r\nContent-Length: 0\r\n\r\n"


def saying(*answers: bytes, requests: list[bytes] | None = None):
    left = list(answers)

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        if requests is not None:
            requests.append(request)
        writer.write(left.pop(0) if len(left) > 1 else left[0])
        await writer.drain()
        writer.close()

    return handler


async def test_every_phase_is_timed(serve) -> None:
    requests: list[bytes] = []
    port = await serve(saying(OK, requests=requests))
    reading = await HttpProbe(f"http://127.0.0.1:{port}/shop?q=1").read(5.0)
    assert reading.error is None
    phases = [f"user.http.{p}_ms" for p in ("dns", "connect", "first_byte", "total")]
    assert all(reading.values[p] >= 0 for p in phases)
    assert reading.values["user.http.total_ms"] >= reading.values["user.http.first_byte_ms"]
    assert reading.values["user.http.status"] == 200
    assert "user.http.tls_ms" not in reading.values
    assert requests[0].startswith(b"GET /shop?q=1 HTTP/1.1\r\nHost: 127.0.0.1")
    assert b"User-Agent: premortem\r\n" in requests[0]
    assert b"Connection: close\r\n" in requests[0]


async def test_a_refusal_is_polite_and_a_500_is_not(serve) -> None:
    bad = b"HTTP/1.1 500 Oh\r\n\r\n"
    port = await serve(saying(OK, BUSY, bad, bad))
    probe = HttpProbe(f"http://127.0.0.1:{port}/")
    errors = [(await probe.read(float(n))).error for n in range(4)]
    reading = await probe.read(9.0)
    assert errors == [None, "shed: 503 with Retry-After 2", "status 500", "status 500"]
    assert reading.values["user.http.ok_ratio"] == pytest.approx(1 / 5)
    assert reading.values["user.http.refused_ratio"] == pytest.approx(1 / 5)
    assert reading.values["user.http.status_5xx_ratio"] == pytest.approx(3 / 5)


async def test_the_shares_forget_what_is_older_than_ten_probes(serve) -> None:
    port = await serve(saying(BUSY, OK))
    probe = HttpProbe(f"http://127.0.0.1:{port}/")
    readings = [await probe.read(float(n)) for n in range(11)]
    assert readings[9].values["user.http.refused_ratio"] == pytest.approx(0.1)
    assert readings[10].values["user.http.refused_ratio"] == 0


async def test_nobody_listens() -> None:
    reading = await HttpProbe("http://127.0.0.1:1/").read(1.0)
    assert reading.error == "connect refused"
    assert reading.values["user.http.status"] == 0
    assert "user.http.connect_ms" in reading.values
    assert "user.http.first_byte_ms" not in reading.values


async def test_an_unknown_name_is_a_dns_failure() -> None:
    reading = await HttpProbe("http://no-such-name.invalid/").read(1.0)
    assert reading.error is not None
    assert reading.error.startswith("dns: ")


async def test_a_silent_site_costs_the_time_out_and_says_how_long_was_waited(serve) -> None:
    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    port = await serve(silent)
    probe = HttpProbe(f"http://127.0.0.1:{port}/", answer_timeout_s=0.1)
    reading = await probe.read(1.0)
    assert reading.error == "first byte timeout after 0.1 s"
    assert reading.values["user.http.first_byte_ms"] >= 100


async def test_a_full_accept_queue_is_a_connect_time_out() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        probe = HttpProbe(f"http://127.0.0.1:{listener.getsockname()[1]}/", connect_timeout_s=0.1)
        reading = await probe.read(1.0)
        for filler in fillers:
            filler.close()
    assert reading.error == "connect timeout after 0.1 s"
    assert reading.values["user.http.connect_ms"] >= 100


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", "connection closed before the first byte"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "not an HTTP answer"),
        (b"HTTP/1.1 two hundred\r\n\r\n", "not an HTTP answer"),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 10_000, "not an HTTP answer"),
        (b"HTTP/1.1 200 OK\r\nhalf", "not an HTTP answer"),
    ],
)
async def test_a_strange_answer_is_one_line(serve, answer: bytes, error: str) -> None:
    port = await serve(saying(answer))
    assert (await HttpProbe(f"http://127.0.0.1:{port}/").read(1.0)).error == error


async def test_a_plain_port_is_a_tls_failure(serve) -> None:
    port = await serve(saying(OK))
    reading = await HttpProbe(f"https://127.0.0.1:{port}/", answer_timeout_s=0.3).read(1.0)
    assert reading.error is not None
    assert reading.error.startswith("tls: ")
    assert "user.http.tls_ms" in reading.values


async def test_an_endless_body_is_not_read_to_its_end(serve) -> None:
    sent = 0

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 1024)
            sent += 1024
            await writer.drain()

    port = await serve(endless)
    assert (await HttpProbe(f"http://127.0.0.1:{port}/").read(1.0)).error is None
    assert sent >= 64 * 1024


@pytest.mark.parametrize("url", ["ftp://x/", "x", "http://", "http:///path"])
def test_a_bad_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="not an http or https URL"):
        HttpProbe(url)
