"""A few pages over HTTP for machines: /metrics and /healthz. Nothing else is answered.

Small on purpose: it must answer while everything else is in trouble, and cost nothing. GET and HEAD
only, one request a connection, 8 KB of head, 5 s, 32 connections at once.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from premortem.app.config import BadConfig, WatchConfig, read_secret

__all__ = ["Door", "Page", "Reply", "serve"]

HEAD_BYTES_MAX = 8 * 1024
WITHIN_S = 5.0
AT_ONCE_MAX = 32

_REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    503: "Service Unavailable",
}


@dataclass(frozen=True, slots=True)
class Reply:
    """What a page answers."""

    status: int
    text: str
    kind: str = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Page:
    """A page, and whether it wants the token where there is one."""

    make: Callable[[], Reply]
    guarded: bool = True


@dataclass(frozen=True, slots=True)
class Door:
    """Where to listen, and the token that guarded pages want (empty: none)."""

    host: str
    port: int
    token: str = field(default="", repr=False)

    @classmethod
    def of(cls, config: WatchConfig) -> Door | None:
        """The configured door. Raises :class:`BadConfig` for an open one without a token."""
        address = config.address()
        if address is None:
            return None
        token = read_secret(config.token_file) if config.token_file else ""
        if not token and not _loopback(address[0]):
            raise BadConfig(
                f"[watch]: listen {config.listen} can be reached from outside; "
                "give it a token_file, or listen on 127.0.0.1"
            )
        return cls(*address, token)


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@asynccontextmanager
async def serve(door: Door, pages: Mapping[str, Page]) -> AsyncIterator[int]:
    """Answer until the end of the block; yields the port. Raises ``OSError`` when it is taken."""
    at_once = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal at_once
        if at_once >= AT_ONCE_MAX:
            writer.transport.abort()
            return
        at_once += 1
        try:
            async with asyncio.timeout(WITHIN_S):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(_http(head, door.token, pages))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.transport.abort()
        finally:
            at_once -= 1

    server = await asyncio.start_server(answer, door.host, door.port, limit=HEAD_BYTES_MAX)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def _http(head: bytes, token: str, pages: Mapping[str, Page]) -> bytes:
    method, reply = "GET", Reply(400, "bad request\n")
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split()
    if len(words) == 3:
        method, path = words[0], words[1].partition("?")[0]
        reply = _reply(method, path, _bearer(lines[1:]), token, pages)
    body = reply.text.encode()
    extra = 'WWW-Authenticate: Bearer realm="premortem"\r\n' if reply.status == 401 else ""
    head_out = (
        f"HTTP/1.1 {reply.status} {_REASONS[reply.status]}\r\nContent-Type: {reply.kind}\r\n"
        f"Content-Length: {len(body)}\r\n{extra}Cache-Control: no-store\r\n"
        "X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
    )
    return head_out.encode() + (b"" if method == "HEAD" else body)


def _reply(method: str, path: str, given: str, token: str, pages: Mapping[str, Page]) -> Reply:
    page = pages.get(path)
    if page is None:
        return Reply(404, f"there are: {', '.join(sorted(pages))}\n")
    if method not in ("GET", "HEAD"):
        return Reply(405, "GET only\n")
    if page.guarded and token and not hmac.compare_digest(given.encode(), token.encode()):
        return Reply(401, "the token is missing or wrong (Authorization: Bearer …)\n")
    return page.make()


def _bearer(lines: list[str]) -> str:
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip().lower() == "authorization":
            scheme, _, given = value.strip().partition(" ")
            return given.strip() if scheme.lower() == "bearer" else ""
    return ""
