"""What stands before the shop's pages in a rehearsal: a cache, another service, and its switches.

ASGI middleware beneath the guard.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import nullcontext
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from premortem.drills.sites.switches import Live

__all__ = ["Edge"]

NEIGHBOUR_TIMEOUT_S = 10.0
"""A usual time-out of an HTTP client; it is what lets a slow service take a site down."""
PAGES_MAX = 1000
"""Pages the cache holds; the rehearsal's visitors ask for fewer."""
LOOK_EVERY_S = 0.05


class Edge:
    """Serves a page from the cache, or asks the other service and the application."""

    def __init__(self, app: ASGIApp, live: Live, neighbour_port: int, *, cached: bool) -> None:
        self._app = app
        self._live = live
        self._port = neighbour_port
        self._cached = cached
        self._pages: dict[str, list[Message]] = {}
        self._blocker: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["path"] == "/health":
            await self._app(scope, receive, send)
            return
        if self._blocker is None:
            self._blocker = asyncio.create_task(self._block_on_order())
        now = self._live.now
        if now.wait_ms:
            await asyncio.sleep(now.wait_ms / 1000)
        if now.burn_ms:
            burn(now.burn_ms / 1000)
        if scope["path"].startswith("/product/"):
            await self._ask_neighbour(scope.get("premortem.guard"))
        await self._page(scope, receive, send)

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = scope["path"]
        cacheable = self._cached and scope["method"] == "GET"
        if cacheable and self._live.now.cache and key in self._pages:
            for message in self._pages[key]:
                await send(message)
            return
        kept: list[Message] = []

        async def keep(message: Message) -> None:
            kept.append(message)
            await send(message)

        await self._app(scope, receive, keep if cacheable else send)
        if kept and kept[0].get("status") == 200 and len(self._pages) < PAGES_MAX:
            self._pages[key] = kept

    async def _ask_neighbour(self, guard: Any) -> None:
        """How long does the delivery take? The page is shown without it when nobody says."""
        try:
            with guard.downstream() if guard is not None else nullcontext():
                async with asyncio.timeout(NEIGHBOUR_TIMEOUT_S):
                    reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                    writer.write(b"GET /delivery HTTP/1.1\r\nHost: neighbour\r\n\r\n")
                    await reader.read()
                    writer.close()
        except (OSError, TimeoutError):
            return

    async def _block_on_order(self) -> None:
        done = self._live.now.block_loop_s
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            asked = self._live.now.block_loop_s
            if asked != done:
                done = asked
                time.sleep(asked)  # noqa: ASYNC251 - blocking the loop is what is rehearsed


def burn(seconds: float) -> None:
    """Use the processor for so long, as an expensive template does."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sum(range(500))
