"""What a user sees: one GET over a fresh connection, each phase timed apart.

A phase that timed out is reported with the time that was waited: a lower bound. A polite refusal
(503 with Retry-After) is told apart from a failure, because a site that sheds load on purpose is
doing what it should.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections import deque
from dataclasses import dataclass, field
from typing import ClassVar
from urllib.parse import urlsplit

from premortem.model import Metric, Reading
from premortem.sources._contract import say

__all__ = ["METRICS", "UNREACHABLE", "HttpProbe"]

METRICS = (
    Metric("user.http.dns_ms", "ms", "Time to resolve the site's name."),
    Metric("user.http.connect_ms", "ms", "Time to open a TCP connection to the site."),
    Metric("user.http.tls_ms", "ms", "Time of the TLS handshake; https only."),
    Metric("user.http.first_byte_ms", "ms", "From sending the request to the first byte."),
    Metric("user.http.total_ms", "ms", "The whole probe, from name to last byte."),
    Metric("user.http.status", "code", "The answer's HTTP status; 0 without an answer."),
    Metric("user.http.ok_ratio", "ratio", "Share of the last 10 probes answered 2xx or 3xx."),
    Metric(
        "user.http.status_5xx_ratio",
        "ratio",
        "Share of the last 10 probes answered 5xx, polite refusals apart.",
    ),
    Metric(
        "user.http.refused_ratio",
        "ratio",
        "Share of the last 10 probes refused politely: 503 with Retry-After.",
    ),
)

UNREACHABLE = {"url": "http://127.0.0.1:1/"}

_HEAD_BYTES_MAX = 16 * 1024
_BODY_BYTES_MAX = 64 * 1024
_ADDRESSES_MAX = 2  # "localhost" is two; trying more would not fit into the read's bound
_OUTCOMES = 10


class _Failed(Exception):
    """A phase did not come to its end; the text is the reading's error."""


@dataclass(slots=True)
class _Probe:
    """One probe on its way: what was timed so far."""

    started: float
    deadline: float
    values: dict[str, float] = field(default_factory=dict)
    status: int = 0
    retry_after: str | None = None

    def left_s(self, most_s: float) -> float:
        return max(0.01, min(most_s, self.deadline - time.perf_counter()))


@dataclass(slots=True)
class HttpProbe:
    """GET ``url`` as a user would. Keeps no connection."""

    name: ClassVar[str] = "http_probe"

    url: str
    interval_s: float = 1.0
    connect_timeout_s: float = 1.0
    """A lost SYN is sent again after 1 s: whoever waits longer has lost packets."""
    answer_timeout_s: float = 2.0
    whole_timeout_s: float = 2.3
    """Ends any probe, so that a read stays under its bound of 2.5 s."""
    verify_tls: bool = True
    target: str = field(init=False)
    _outcomes: deque[str] = field(init=False, repr=False)
    _lookup: asyncio.Task[list[tuple[str, int]]] | None = field(
        init=False, repr=False, default=None
    )
    _context: ssl.SSLContext | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        """Raises ``ValueError`` for a URL that is not http or https or names no host."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{self.url!r} is not an http or https URL with a host")
        self.target = f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
        self._outcomes = deque(maxlen=_OUTCOMES)

    async def read(self, now: float) -> Reading:
        """Probe once."""
        started = time.perf_counter()
        probe = _Probe(started, started + self.whole_timeout_s)
        error: str | None = None
        try:
            await self._run(probe)
        except _Failed as failed:
            error = str(failed)
        error = error or _complaint(probe)
        probe.values["user.http.total_ms"] = (time.perf_counter() - started) * 1000
        probe.values["user.http.status"] = float(probe.status)
        self._outcomes.append(_outcome(probe, error))
        return Reading(self.name, self.target, now, probe.values | self._shares(), error=error)

    async def close(self) -> None:
        """Only a name lookup can be under way."""
        if self._lookup is not None:
            self._lookup.cancel()
            self._lookup = None

    def _shares(self) -> dict[str, float]:
        seen, total = self._outcomes, len(self._outcomes)
        return {
            "user.http.ok_ratio": seen.count("ok") / total,
            "user.http.status_5xx_ratio": seen.count("5xx") / total,
            "user.http.refused_ratio": seen.count("refused") / total,
        }

    async def _run(self, probe: _Probe) -> None:
        url = urlsplit(self.url)
        addresses = await self._resolve(probe, url.hostname or "", url.port or 0)
        sock = await self._connect(probe, addresses)
        reader, writer = await asyncio.open_connection(sock=sock, limit=_HEAD_BYTES_MAX)
        try:
            if url.scheme == "https":
                await self._tls(probe, writer, url.hostname or "")
            await self._ask(probe, reader, writer, _request(self.url))
        finally:
            writer.transport.abort()  # a probe never waits for a farewell

    async def _resolve(self, probe: _Probe, host: str, port: int) -> list[tuple[str, int]]:
        begun = time.perf_counter()
        port = port or (443 if self.url.startswith("https") else 80)
        if self._lookup is None:  # one at a time: a hung resolver must not pile up threads
            self._lookup = asyncio.create_task(_addresses(host, port))
        left_s = probe.left_s(self.connect_timeout_s)
        try:
            await asyncio.wait({self._lookup}, timeout=left_s)
            if not self._lookup.done():
                raise _Failed(f"dns: timeout after {left_s:g} s")
            done, self._lookup = self._lookup, None
            return done.result()
        except OSError as problem:
            raise _Failed(f"dns: {say(problem)}") from None
        finally:
            probe.values["user.http.dns_ms"] = (time.perf_counter() - begun) * 1000

    async def _connect(self, probe: _Probe, addresses: list[tuple[str, int]]) -> socket.socket:
        failed = "connect: no address"
        for address in addresses[:_ADDRESSES_MAX]:
            begun, left_s = time.perf_counter(), probe.left_s(self.connect_timeout_s)
            try:
                return await connect(address, left_s)
            except TimeoutError:
                failed = f"connect timeout after {left_s:.3g} s"
            except OSError as problem:
                failed = f"connect {say(problem)}"
            finally:
                probe.values["user.http.connect_ms"] = (time.perf_counter() - begun) * 1000
        raise _Failed(failed)

    async def _tls(self, probe: _Probe, writer: asyncio.StreamWriter, host: str) -> None:
        if self._context is None:  # loading the authorities takes longer than a handshake
            self._context = _tls_context(self.verify_tls)
        begun, left_s = time.perf_counter(), probe.left_s(self.answer_timeout_s)
        try:
            async with asyncio.timeout(left_s):
                await writer.start_tls(self._context, server_hostname=host)
        except TimeoutError:
            raise _Failed(f"tls: timeout after {left_s:.3g} s") from None
        except (OSError, ssl.SSLError) as problem:
            raise _Failed(f"tls: {say(problem)}") from None
        finally:
            probe.values["user.http.tls_ms"] = (time.perf_counter() - begun) * 1000

    async def _ask(
        self,
        probe: _Probe,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        request: bytes,
    ) -> None:
        begun, left_s = time.perf_counter(), probe.left_s(self.answer_timeout_s)
        waiting = "first byte"
        try:
            async with asyncio.timeout(left_s):
                writer.write(request)
                head = await reader.read(1)
                probe.values["user.http.first_byte_ms"] = (time.perf_counter() - begun) * 1000
                if not head:
                    raise _Failed("connection closed before the first byte")
                waiting = "head"
                head += await reader.readuntil(b"\r\n\r\n")
                probe.status, probe.retry_after = _read_head(head)
                waiting = "body"
                await _skip_body(reader)
        except TimeoutError:
            probe.values.setdefault("user.http.first_byte_ms", (time.perf_counter() - begun) * 1000)
            raise _Failed(f"{waiting} timeout after {left_s:.3g} s") from None
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            raise _Failed("not an HTTP answer") from None
        except OSError as problem:
            raise _Failed(f"connection broken before the {waiting}: {say(problem)}") from None


async def connect(address: tuple[str, int], timeout_s: float) -> socket.socket:
    """Open a TCP connection to a numeric address. Raises ``OSError`` or ``TimeoutError``."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        async with asyncio.timeout(timeout_s):
            await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:  # cancelled too: no socket stays open; raised again
        sock.close()
        raise
    return sock


def _tls_context(verify: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def _addresses(host: str, port: int) -> list[tuple[str, int]]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(str(where[0]), int(where[1])) for *_, where in found]


def _request(url: str) -> bytes:
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    host = parts.netloc.rpartition("@")[2]
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: premortem\r\n"
        "Accept: */*\r\nConnection: close\r\n\r\n"
    ).encode("ascii", "replace")


def _read_head(head: bytes) -> tuple[int, str | None]:
    lines = head.decode("latin-1").split("\r\n")
    version, _, rest = lines[0].partition(" ")
    if not version.startswith("HTTP/1."):
        raise ValueError("not HTTP/1")
    retry_after = None
    for line in lines[1:]:
        key, _, value = line.partition(":")
        if key.strip().lower() == "retry-after":
            retry_after = value.strip()
    return int(rest[:3]), retry_after


async def _skip_body(reader: asyncio.StreamReader) -> None:
    left = _BODY_BYTES_MAX
    while left > 0 and (chunk := await reader.read(left)):
        left -= len(chunk)


def _complaint(probe: _Probe) -> str | None:
    if probe.status < 400:
        return None
    if probe.status == 503 and probe.retry_after is not None:
        return f"shed: 503 with Retry-After {probe.retry_after}"
    return f"status {probe.status}"


def _outcome(probe: _Probe, error: str | None) -> str:
    if error is None:
        return "ok"
    if error.startswith("shed"):
        return "refused"
    return "5xx" if probe.status >= 500 else "failed"
