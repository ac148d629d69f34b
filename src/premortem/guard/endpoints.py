"""``/-/premortem/status`` and ``/-/premortem/settings``: answered even when all else is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Protocol

from premortem.guard.call import Receive, Scope, Send
from premortem.guard.settings import Settings

__all__ = ["PREFIX", "answer"]

PREFIX = "/-/premortem/"
TOKEN_HEADER = b"x-premortem-token"
BODY_MAX_BYTES = 4_096
"""A settings change is some 100 bytes."""

FORWARDED = frozenset((b"x-forwarded-for", b"forwarded", b"x-real-ip", b"via"))
"""A proxy on this machine connects from loopback for the whole world: then loopback proves
nothing."""


class Controlled(Protocol):
    """What the endpoints need of the guard."""

    settings: Settings

    def values(self) -> Mapping[str, float]: ...

    def change(self, wanted: object) -> Mapping[str, object]: ...


async def answer(guard: Controlled, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request beneath :data:`PREFIX`.

    Status is for loopback clients and for whoever sends the token; settings only for the token.
    Whoever may not see an endpoint is told that there is none.
    """
    status, data = await _answer(guard, scope, receive)
    body = json.dumps(data).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    head = scope["method"] == "HEAD"
    await send({"type": "http.response.body", "body": b"" if head else body})


async def _answer(
    guard: Controlled, scope: Scope, receive: Receive
) -> tuple[int, Mapping[str, object]]:
    method, name = scope["method"], scope["path"].removeprefix(PREFIX)
    known = guard.settings.token
    trusted = bool(known) and _same(dict(scope["headers"]).get(TOKEN_HEADER, b""), known)
    if name == "status" and (trusted or _local(scope)):
        return (200, guard.values()) if method in ("GET", "HEAD") else (405, _error("GET only"))
    if name != "settings" or not known:
        return 404, _error("not found")
    if not trusted:
        return 403, _error("X-Premortem-Token is missing or wrong")
    if method != "POST":
        return 405, _error("POST only")
    return await _change(guard, receive)


def _error(words: str) -> Mapping[str, object]:
    return {"error": words}


def _same(given: bytes, known: str) -> bool:
    """Compared in a time that tells nothing about where they differ."""
    import hmac  # noqa: PLC0415 - 5 ms of the guard's import time for a rare request

    return hmac.compare_digest(given, known.encode())


async def _change(guard: Controlled, receive: Receive) -> tuple[int, Mapping[str, object]]:
    try:
        return 200, guard.change(json.loads(await _body(receive)))
    except RecursionError:
        return 400, _error("the JSON is nested too deeply")
    except ValueError as error:  # JSON and Unicode errors are ValueErrors too
        return 400, _error(str(error))


async def _body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > BODY_MAX_BYTES:
            raise ValueError(f"the body is longer than {BODY_MAX_BYTES} bytes")
        if not message.get("more_body"):
            return bytes(body)


def _local(scope: Scope) -> bool:
    client = scope.get("client")
    host = client[0] if client else ""
    loopback = host == "::1" or host.removeprefix("::ffff:").startswith("127.")
    return loopback and FORWARDED.isdisjoint(name for name, _ in scope["headers"])
