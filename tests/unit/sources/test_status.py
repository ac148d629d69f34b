"""The guard's status: one connection, one fetch, numbers only."""

from __future__ import annotations

import asyncio
import json

import pytest

from premortem.sources.guard import Guard
from premortem.sources.pool import Pool

STATUS = {
    "web.in_flight": 8,
    "web.loop_lag_ms": 0.5,
    "pool.in_use": 7,
    "pool.waiting": True,
    "web.queue_length": "many",
    "other.thing": 1,
}


class Site:
    """Answers any number of requests on any number of connections."""

    def __init__(self, body: bytes, *, status: int = 200, chunked: bool = False, most: int = 99):
        self.body, self.status, self.chunked, self.most = body, status, chunked, most
        self.connections = 0
        self.requests: list[bytes] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        for _ in range(self.most):
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            head = f"HTTP/1.1 {self.status} X\r\n".encode()
            if self.chunked:
                half = len(self.body) // 2
                head += b"Transfer-Encoding: chunked\r\n\r\n"
                for piece in (self.body[:half], self.body[half:]):
                    head += f"{len(piece):x}\r\n".encode() + piece + b"\r\n"
                writer.write(head + b"0\r\n\r\n")
            else:
                writer.write(head + f"Content-Length: {len(self.body)}\r\n\r\n".encode())
                writer.write(self.body)
            await writer.drain()
        writer.close()


@pytest.mark.parametrize("chunked", [False, True])
async def test_each_source_takes_its_own_numbers(serve, chunked: bool) -> None:
    port = await serve(Site(json.dumps(STATUS).encode(), chunked=chunked))
    guard, pool = Guard(f"http://127.0.0.1:{port}"), Pool(f"http://127.0.0.1:{port}/shop")
    seen = await asyncio.gather(guard.read(1.0), pool.read(1.0))
    await guard.close()
    assert [r.error for r in seen] == [None, None]
    assert seen[0].values == {"web.in_flight": 8.0, "web.loop_lag_ms": 0.5}
    assert seen[1].values == {"pool.in_use": 7.0}


async def test_one_connection_and_one_fetch_serve_both(serve) -> None:
    site = Site(json.dumps(STATUS).encode())
    port = await serve(site)
    guard, pool = Guard(f"http://127.0.0.1:{port}"), Pool(f"http://127.0.0.1:{port}")
    for now in (1.0, 2.0, 3.0):
        await asyncio.gather(guard.read(now), pool.read(now))
    await guard.close()
    assert (site.connections, len(site.requests)) == (1, 3)
    assert site.requests[0].startswith(b"GET /-/premortem/status HTTP/1.1\r\n")


async def test_a_connection_closed_by_the_site_is_opened_again(serve) -> None:
    site = Site(json.dumps(STATUS).encode(), most=1)
    port = await serve(site)
    guard = Guard(f"http://127.0.0.1:{port}")
    errors = []
    for now in (1.0, 2.0, 3.0):
        errors.append((await guard.read(now)).error)
        await asyncio.sleep(0.01)
    await guard.close()
    assert errors == [None, None, None]
    assert site.connections == 3


async def test_the_token_is_sent(serve) -> None:
    site = Site(b"{}")
    port = await serve(site)
    guard = Guard(f"http://127.0.0.1:{port}", token="s3cret")
    await guard.read(1.0)
    await guard.close()
    assert b"X-Premortem-Token: s3cret\r\n" in site.requests[0]
    assert "s3cret" not in repr(guard)


@pytest.mark.parametrize(
    ("site", "error"),
    [
        (Site(b"", status=404), "the site does not run premortem's guard"),
        (Site(b"", status=403), "set the guard's token"),
        (Site(b'{"pool.in_use": 1}'), "the site's status says nothing for the source guard"),
        (Site(b"[1, 2]"), "not a status answer: no JSON object"),
        (Site(b"{oh"), "not a status answer"),
        (Site(b"x" * 300_000), "not a status answer: 300000 bytes"),
    ],
    ids=["404", "403", "nothing", "list", "broken", "large"],
)
async def test_a_bad_answer_is_one_line(serve, site: Site, error: str) -> None:
    port = await serve(site)
    guard = Guard(f"http://127.0.0.1:{port}")
    reading = await guard.read(1.0)
    await guard.close()
    assert reading.values == {}
    assert error in (reading.error or "")


async def test_a_silent_site_is_an_error_after_a_second(serve) -> None:
    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    port = await serve(silent)
    guard = Guard(f"http://127.0.0.1:{port}")
    guard._client.timeout_s = 0.1
    assert (await guard.read(1.0)).error == "no answer within 0.1 s"
    await guard.close()


async def test_nobody_listens() -> None:
    assert (await Pool("http://127.0.0.1:1").read(1.0)).error == "connect refused"


@pytest.mark.parametrize("url", ["x", "ftp://x", "http://"])
def test_a_bad_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="not an http or https URL"):
        Guard(url)
