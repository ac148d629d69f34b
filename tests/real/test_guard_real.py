"""The guard in front of a Starlette application on a real uvicorn, over real sockets."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route as Path

from premortem.guard import Guard, Settings

pytestmark = pytest.mark.real


async def shop(request: Request) -> PlainTextResponse:
    await asyncio.sleep(float(request.query_params.get("s", "0")))
    return PlainTextResponse("served " + (await request.body()).decode())


@asynccontextmanager
async def served(settings: Settings) -> AsyncIterator[int]:
    """The port of a running site."""
    app = Guard(Starlette(routes=[Path("/", shop, methods=["GET", "POST"])]), settings)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none"))
    serving = asyncio.create_task(server.serve([listener]))
    try:
        while not server.started:  # noqa: ASYNC110 - uvicorn offers a flag, no event
            await asyncio.sleep(0.01)
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await serving
        listener.close()


async def ask(port: int, line: str = "GET /", headers: str = "", body: str = "") -> str:
    """One request on its own connection; the whole response as text."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
    writer.write(f"{head}{headers}\r\n{body}".encode())
    try:
        return (await reader.read()).decode()
    finally:
        writer.close()
        await writer.wait_closed()


async def values(port: int) -> dict[str, float]:
    response = await ask(port, "GET /-/premortem/status")
    return json.loads(response.partition("\r\n\r\n")[2])


async def test_serves_refuses_reports_and_notices_who_left() -> None:
    async with served(Settings(cap=1)) as port:
        slow = asyncio.create_task(ask(port, "GET /?s=0.4"))
        await asyncio.sleep(0.05)
        began = asyncio.get_running_loop().time()
        refused, head = await asyncio.gather(ask(port, "POST /", body="cart"), ask(port, "HEAD /"))
        took_s = asyncio.get_running_loop().time() - began
        impatient = asyncio.create_task(ask(port, "GET /never"))
        await asyncio.sleep(0.03)
        impatient.cancel()
        seen = await values(port)
        assert "served" in await slow
        assert "served cart" in await ask(port, "POST /", body="cart")

        assert refused.startswith("HTTP/1.1 503 ")
        assert "retry-after: " in refused.lower()
        assert head.startswith("HTTP/1.1 503 ")
        assert head.endswith("\r\n\r\n")
        assert took_s < 0.2, "80 ms in the queue and the way back, on a busy machine"
        assert (seen["web.in_flight"], seen["web.in_flight_limit"]) == (1, 1)
        await asyncio.sleep(0.12)
        after = await values(port)
        assert (after["web.served_per_s"], after["web.refused_per_s"]) == (2, 2)
        assert after["web.abandoned_ratio"] == pytest.approx(1 / 5)
        assert after["web.in_flight"] == 0
