"""Climbs towards a PostgreSQL server over a raw socket and says how far it got.

TCP connect, SSLRequest, (TLS,) startup message with the real user and database, up to the first
request for a password, an error, or readiness. It never authenticates. Each rung is timed: a slow
TCP rung is the network, a slow or absent reply to SSLRequest the server's first process, a SQLSTATE
the server's own word. The protocol: https://www.postgresql.org/docs/current/protocol-flow.html.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
import time
from dataclasses import dataclass, field

from premortem.sources._contract import say

__all__ = ["Address", "Climb", "climb", "error_text", "startup_message"]

_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
_TERMINATE = b"X\x00\x00\x00\x04"
_PROTOCOL_3_0 = 196608
_MESSAGE_BYTES_MAX = 64 * 1024
_MESSAGES_MAX = 64

_WORDS = {"53300": "too many connections"}
"""The server words 53300 in three ways; one is enough to search for."""

_ABOUT_WHO_ASKS = ("28", "3D")
"""Classes of SQLSTATE (authorisation, unknown database) that say nothing against the server."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where and as whom to knock."""

    host: str
    """A name, an address, or the folder of a Unix socket (it starts with a slash)."""
    port: int
    user: str
    database: str


@dataclass(slots=True)
class Climb:
    """How far it got: ``ms`` by rung, the SQLSTATE if the server said one, what went wrong."""

    ms: dict[str, float] = field(default_factory=dict)
    sqlstate: str | None = None
    error: str | None = None
    rung: str = "TCP connect"

    @property
    def serving(self) -> bool:
        """The server answers and would take ordinary work from someone with the right password."""
        return self.error is None

    @property
    def refused(self) -> bool:
        """No slot was left."""
        return self.sqlstate == "53300"

    def metrics(self) -> dict[str, float]:
        """The timed rungs as ``db.connect.*``, and their sum once the top was reached."""
        values = {f"db.connect.{rung}_ms": ms for rung, ms in self.ms.items()}
        return values | ({"db.connect_ms": sum(self.ms.values())} if "startup" in self.ms else {})


async def climb(address: Address, within_s: float) -> Climb:
    """One climb, at most ``within_s`` long. Never raises for what it meets."""
    found = Climb()
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(within_s):
            reader, writer = await _connect(address, found)
            await _ask_ssl(reader, writer, address, found)
            await _start(reader, writer, address, found)
    except TimeoutError:
        found.error = _timeout_text(found.rung, within_s)
    except asyncio.IncompleteReadError:
        found.error = f"connection closed instead of a {found.rung}"
    except (OSError, ValueError, struct.error) as problem:
        text = say(problem)
        found.error = text if text == "refused" else f"{found.rung}: {text}"
    finally:
        if writer is not None:
            writer.transport.abort() if found.error else writer.close()
    return found


def _timeout_text(rung: str, within_s: float) -> str:
    if rung == "TCP connect":
        return f"connect timeout after {within_s:g} s"
    return f"no {rung} within {within_s:g} s"


async def _connect(
    address: Address, found: Climb
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    begun = time.perf_counter()
    if address.host.startswith("/"):
        path = f"{address.host}/.s.PGSQL.{address.port}"
        streams = await asyncio.open_unix_connection(path)
    else:
        streams = await asyncio.open_connection(address.host, address.port)
    _took(found, "tcp", begun)
    return streams


async def _ask_ssl(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: Address, found: Climb
) -> None:
    found.rung, begun = "reply to SSLRequest", time.perf_counter()
    writer.write(_SSL_REQUEST)
    reply = await reader.readexactly(1)
    _took(found, "ssl_reply", begun)
    if reply == b"E":  # too early in its life to talk about TLS
        raise ValueError("an error instead of yes or no")
    if reply == b"S":
        found.rung, begun = "TLS handshake", time.perf_counter()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # no secret is sent
        await writer.start_tls(context, server_hostname=address.host)
        _took(found, "tls", begun)


async def _start(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: Address, found: Climb
) -> None:
    found.rung, begun = "reply to startup", time.perf_counter()
    writer.write(startup_message(address.user, address.database))
    for _ in range(_MESSAGES_MAX):
        kind, body = await _message(reader)
        found.ms.setdefault("startup", (time.perf_counter() - begun) * 1000)
        if kind == b"E":
            found.sqlstate, found.error = error_text(body)
            return
        if kind == b"R" and body[:4] != b"\0\0\0\0":
            return  # a password is asked for; who hangs up now is not worth a line in the log
        if kind == b"Z":  # ready: no password is needed here
            writer.write(_TERMINATE)
            return


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    kind, length = struct.unpack("!ci", await reader.readexactly(5))
    if not 4 <= length <= _MESSAGE_BYTES_MAX:
        raise ValueError("not the PostgreSQL protocol")
    return kind, await reader.readexactly(length - 4)


def startup_message(user: str, database: str) -> bytes:
    """The first message of protocol 3.0.

    >>> startup_message("u", "d")[8:]
    b'user\\x00u\\x00database\\x00d\\x00application_name\\x00premortem\\x00\\x00'
    """
    pairs = (("user", user), ("database", database), ("application_name", "premortem"))
    body = b"".join(f"{k}\0{v}\0".encode() for k, v in pairs) + b"\0"
    return struct.pack("!ii", len(body) + 8, _PROTOCOL_3_0) + body


def error_text(body: bytes) -> tuple[str, str | None]:
    """SQLSTATE and one line of an ErrorResponse; no line for an error that is about who asks.

    >>> error_text(b"SFATAL\\0C57P03\\0Mthe database system is starting up\\0\\0")
    ('57P03', '57P03 starting up')
    >>> error_text(b"C28000\\0Mno pg_hba.conf entry\\0\\0")
    ('28000', None)
    """
    fields = {f[:1]: f[1:].decode("utf-8", "replace") for f in body.split(b"\0") if f}
    code = fields.get(b"C", "?")
    if code[:2] in _ABOUT_WHO_ASKS:
        return code, None
    said = _WORDS.get(code) or fields.get(b"M", "").removeprefix("the database system is ")
    return code, f"{code} {said}"


def _took(found: Climb, rung: str, begun: float) -> None:
    found.ms[rung] = (time.perf_counter() - begun) * 1000
