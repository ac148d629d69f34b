"""Doubles for tests without a network: a client, and an application that can be held up.

>>> import asyncio
>>> from premortem.guard import Guard, Settings
>>> async def full() -> int:
...     site = Site()
...     guard = Guard(site, Settings(cap=1, queue_max=0))
...     async with held(guard, site):
...         return (await Client(guard).send("/")).status
>>> asyncio.run(full())
503
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from premortem.guard.call import App, Message, Receive, Scope, Send

__all__ = ["Answer", "Client", "Site", "held"]


@dataclass(slots=True)
class Answer:
    """What one request got back; status 0 when nothing was sent."""

    status: int = 0
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""
    took_s: float = 0.0

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class Client:
    """Sends requests to an ASGI application from one address."""

    def __init__(self, app: App, host: str = "203.0.113.7") -> None:
        self.app = app
        self.host = host
        self.chunks_read = 0
        """Body messages read from this client so far."""
        self._left = asyncio.Event()

    def leave(self) -> None:
        """Hang up, whatever is being waited for."""
        self._left.set()

    async def send(
        self,
        path: str = "/",
        method: str = "GET",
        headers: Iterable[tuple[bytes, bytes]] = (),
        body: Iterable[bytes] = (b"",),
    ) -> Answer:
        """Send one request and return its answer; ``body`` is sent chunk by chunk."""
        answer, chunks = Answer(), list(body)

        async def receive() -> Message:
            if self._left.is_set() or not chunks:
                await self._left.wait()
                return {"type": "http.disconnect"}
            self.chunks_read += 1
            chunk = chunks.pop(0)
            return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = dict(message["headers"])
            else:
                answer.body += message.get("body", b"")

        began = monotonic()
        await self.app(self._scope(path, method, headers), receive, send)
        answer.took_s = monotonic() - began
        return answer

    def _scope(self, path: str, method: str, headers: Iterable[tuple[bytes, bytes]]) -> Scope:
        return {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": b"",
            "headers": list(headers),
            "client": (self.host, 4000),
        }


class Site:
    """An application: ``/hold…`` waits for :meth:`release`, ``/slow/0.2`` takes 0.2 s, ``/boom``
    raises, ``/broken`` answers 500, a POST is read to its end, all else answers at once."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        """Paths that reached the application, in order."""
        self.bodies: list[bytes] = []
        self.released = asyncio.Event()

    def release(self) -> None:
        """Let the held requests go on."""
        self.released.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        self.calls.append(path)
        if path.startswith("/hold"):
            await self.released.wait()
        elif path.startswith("/slow/"):
            await asyncio.sleep(float(path.rpartition("/")[2]))
        elif path == "/boom":
            raise RuntimeError("boom")
        if scope["method"] == "POST":
            self.bodies.append(await _body(receive))
        status = 500 if path == "/broken" else 200
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"served"})


async def _body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return bytes(body)


@asynccontextmanager
async def held(app: App, site: Site, requests: int = 1) -> AsyncIterator[None]:
    """``requests`` requests to ``/hold`` are in the site during the block and served after it."""
    tasks = [asyncio.create_task(Client(app).send("/hold")) for _ in range(requests)]
    await asyncio.sleep(0)
    try:
        yield
    finally:
        site.release()
        await asyncio.gather(*tasks)
