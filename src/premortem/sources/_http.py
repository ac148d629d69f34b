"""One question, small and bounded, for sources that read somebody's status page or socket."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from urllib.parse import urlsplit

from premortem.sources._contract import say

__all__ = ["FetchError", "ask_socket", "checked", "get"]

_BYTES_MAX = 8 * 1024 * 1024
"""An exporter with 50,000 series writes about 5 MB."""


class FetchError(Exception):
    """The page could not be had; the text says why."""


def checked(url: str) -> str:
    """``host:port`` of an http or https URL. Raises ``ValueError`` for any other."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is not an http or https URL with a host")
    return f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


async def get(url: str, timeout_s: float, method: str = "GET") -> tuple[int, str]:
    """Status and body over a connection of its own, by HTTP/1.0. Raises ``FetchError``."""
    try:
        async with asyncio.timeout(timeout_s):
            return await _get(url, method)
    except TimeoutError:
        raise FetchError(f"no answer within {timeout_s:g} s") from None
    except (ValueError, IndexError):
        raise FetchError("not an HTTP answer") from None
    except OSError as problem:
        raise FetchError(f"connect {say(problem)}") from None


async def ask_socket(path: str, order: str, timeout_s: float) -> str:
    """One order to a Unix socket that answers with a text and hangs up. Raises ``FetchError``."""
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                writer.write(order.encode() + b"\n")
                answer = b""
                while (chunk := await reader.read(65536)) and len(answer) < _BYTES_MAX:
                    answer += chunk
            finally:
                writer.transport.abort()
    except TimeoutError:
        raise FetchError(f"no answer within {timeout_s:g} s") from None
    except OSError as problem:
        raise FetchError(f"connect {say(problem)}") from None
    return answer.decode("utf-8", "replace")


async def _get(url: str, method: str) -> tuple[int, str]:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    reader, writer = await asyncio.open_connection(
        parts.hostname, parts.port or (443 if secure else 80), ssl=secure or None
    )
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        host = parts.netloc.rpartition("@")[2]
        writer.write(
            f"{method} {path} HTTP/1.0\r\nHost: {host}\r\nUser-Agent: premortem\r\n\r\n".encode()
        )
        answer = b""
        while (chunk := await reader.read(65536)) and len(answer) < _BYTES_MAX:
            answer += chunk
    finally:
        writer.transport.abort()
    if not answer.startswith(b"HTTP/1."):
        raise ValueError("not HTTP")
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head.lower():  # HAProxy does so even to HTTP/1.0
        body = b"".join(_chunks(body))
    return int(head.split(None, 2)[1]), body.decode("utf-8", "replace")


def _chunks(body: bytes) -> Iterator[bytes]:
    """The pieces of a chunked body. Raises ``ValueError`` when it is cut off."""
    while True:
        size, _, rest = body.partition(b"\r\n")
        length = int(size.partition(b";")[0], 16)
        if length == 0:
            return
        if not 0 < length <= len(rest):
            raise ValueError("a chunk is cut off")
        yield rest[:length]
        body = rest[length + 2 :]
