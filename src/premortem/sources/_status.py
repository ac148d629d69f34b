"""Fetches the status object of a site that runs premortem's guard.

The guard answers ``GET /-/premortem/status`` with one JSON object of metric name to value. One
keep-alive connection serves every source that reads the same site, and one fetch every source
that reads it at the same instant.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

from premortem.model import Metric, Reading
from premortem.sources._contract import say

__all__ = ["STATUS_PATH", "StatusClient", "StatusError", "StatusSource", "client"]

STATUS_PATH = "/-/premortem/status"
_BYTES_MAX = 256 * 1024
_SAME_INSTANT_S = 0.2
"""Two sources that ask within this time mean the same beat."""


class StatusError(Exception):
    """The status could not be had; the text says why."""


@dataclass(slots=True, weakref_slot=True)
class StatusClient:
    """A keep-alive connection of one to one site's guard."""

    url: str
    token: str = field(default="", repr=False)
    timeout_s: float = 1.0
    _streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)
    _last: tuple[float, Mapping[str, float] | str] | None = None
    """When, and what came of it: the status, or why there is none."""

    async def fetch(self, now: float) -> Mapping[str, float]:
        """The status as of ``now``. Raises ``StatusError``."""
        async with self._lock:
            if self._last is None or abs(now - self._last[0]) > _SAME_INSTANT_S:
                try:
                    self._last = now, await self._get()
                except StatusError as problem:
                    self._last = now, str(problem)
                    self._drop()
            found = self._last[1]
        if isinstance(found, str):
            raise StatusError(found)
        return found

    async def close(self) -> None:
        """Drop the connection; a later fetch opens another."""
        self._drop()

    def _drop(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    async def _get(self) -> Mapping[str, float]:
        try:
            async with asyncio.timeout(self.timeout_s):
                kept = self._streams is not None
                try:
                    return await self._ask()
                except (ConnectionError, asyncio.IncompleteReadError):
                    if not kept:
                        raise
                    self._drop()  # the server had closed the kept connection: once more
                    return await self._ask()
        except TimeoutError:
            raise StatusError(f"no answer within {self.timeout_s:g} s") from None
        except asyncio.IncompleteReadError:
            raise StatusError("connection closed before the answer") from None
        except (asyncio.LimitOverrunError, ValueError) as problem:
            raise StatusError(f"not a status answer: {say(problem)}") from None
        except OSError as problem:
            raise StatusError(f"connect {say(problem)}") from None

    async def _ask(self) -> Mapping[str, float]:
        parts = urlsplit(self.url)
        if self._streams is None:
            port = parts.port or (443 if parts.scheme == "https" else 80)
            self._streams = await asyncio.open_connection(
                parts.hostname, port, ssl=parts.scheme == "https" or None
            )
        reader, writer = self._streams
        token = f"X-Premortem-Token: {self.token}\r\n" if self.token else ""
        writer.write(
            f"GET {STATUS_PATH} HTTP/1.1\r\nHost: {parts.netloc}\r\nUser-Agent: premortem\r\n"
            f"{token}Accept: application/json\r\n\r\n".encode()
        )
        status, headers = _head(await reader.readuntil(b"\r\n\r\n"))
        body = await _body(reader, headers)
        if headers.get("connection", "").lower() == "close":
            self._drop()
        if status != 200:
            raise StatusError(f"status {status} from {STATUS_PATH}: {_ADVICE.get(status, '')}")
        return _numbers(body)


_ADVICE = {
    403: "set the guard's token",
    401: "set the guard's token",
    404: "the site does not run premortem's guard, or wants its token",
}


def _head(raw: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = raw.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines if line)
    return int(first.split()[1]), {k.strip().lower(): v.strip() for k, _, v in pairs}


async def _body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return await reader.readexactly(_bounded(int(headers.get("content-length", "0"))))
    body = b""
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        body += await reader.readexactly(_bounded(size + len(body)) - len(body))
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
    return body


def _bounded(size: int) -> int:
    if not 0 <= size <= _BYTES_MAX:
        raise ValueError(f"{size} bytes")
    return size


def _numbers(body: bytes) -> Mapping[str, float]:
    found = json.loads(body)
    if not isinstance(found, dict):
        raise ValueError("no JSON object")  # noqa: TRY004 - a bad answer, not a bad argument
    return {
        str(k): float(v)
        for k, v in found.items()
        if isinstance(v, int | float) and not isinstance(v, bool)
    }


_clients: WeakValueDictionary[tuple[str, str], StatusClient] = WeakValueDictionary()


def client(url: str, token: str) -> StatusClient:
    """The client of that site; sources that read the same site share it."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is not an http or https URL with a host")
    key = (f"{parts.scheme}://{parts.netloc}", token)
    found = _clients.get(key)
    if found is None:
        found = _clients[key] = StatusClient(key[0], token)
    return found


@dataclass(slots=True)
class StatusSource:
    """A source whose readings are one share of a site's status."""

    name: ClassVar[str]
    metrics: ClassVar[tuple[Metric, ...]]
    """Which of the status' numbers are this source's."""

    url: str
    token: str = field(default="", repr=False)
    """Needed when the guard is not asked over loopback."""
    interval_s: float = 1.0
    target: str = field(init=False)
    _client: StatusClient = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Raises ``ValueError`` for a URL that is not http or https or names no host."""
        self._client = client(self.url, self.token)
        self.target = urlsplit(self.url).netloc.rpartition("@")[2]

    async def read(self, now: float) -> Reading:
        """One status, bounded by 1 s; one fetch for all sources that read at the same instant."""
        try:
            found = await self._client.fetch(now)
        except StatusError as problem:
            return Reading(self.name, self.target, now, error=str(problem))
        values = {m.name: found[m.name] for m in self.metrics if m.name in found}
        error = None if values else f"the site's status says nothing for the source {self.name}"
        return Reading(self.name, self.target, now, values, error=error)

    async def close(self) -> None:
        """Drop the kept connection."""
        await self._client.close()
