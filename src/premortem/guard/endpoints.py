"""``/-/premortem/status`` and ``/-/premortem/settings``: answered even when all else is refused."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Protocol

from premortem.guard.call import Receive, Scope, Send
from premortem.guard.settings import Settings

__all__ = ["BODY_MAX_BYTES", "PREFIX", "answer", "change", "is_local", "respond"]

PREFIX = "/-/premortem/"
TOKEN_HEADER = b"x-premortem-token"
BODY_MAX_BYTES = 4_096
"""A settings change is some 100 bytes."""

FORWARDED = frozenset((b"x-forwarded-for", b"forwarded", b"x-real-ip", b"via"))
"""A proxy on this machine connects from loopback for the whole world: then loopback proves
nothing."""


class Controlled(Protocol):
    """What the endpoints need of the guard."""

    @property
    def settings(self) -> Settings: ...

    def values(self) -> Mapping[str, float]: ...

    def change(self, wanted: object) -> Mapping[str, object]: ...


def respond(
    guard: Controlled, method: str, path: str, token: bytes, *, local: bool
) -> tuple[int, Mapping[str, object]] | None:
    """Status and data for a request beneath :data:`PREFIX`; ``None``: :func:`change` its body.

    Status is for loopback clients and for whoever sends the token; settings only for the token.
    Whoever may not see an endpoint is told that there is none.
    """
    name = path.removeprefix(PREFIX)
    known = guard.settings.token
    trusted = bool(known) and _same(token, known)
    if name == "status" and (trusted or local):
        return (200, guard.values()) if method in ("GET", "HEAD") else (405, _error("GET only"))
    if name != "settings" or not known:
        return 404, _error("not found")
    if not trusted:
        return 403, _error("X-Premortem-Token is missing or wrong")
    if method != "POST":
        return 405, _error("POST only")
    return None


def change(guard: Controlled, body: bytes) -> tuple[int, Mapping[str, object]]:
    """Change the settings as the JSON in ``body`` says; status and data of the answer."""
    try:
        return 200, guard.change(json.loads(body))
    except RecursionError:
        return 400, _error("the JSON is nested too deeply")
    except ValueError as error:  # JSON and Unicode errors are ValueErrors too
        return 400, _error(str(error))


def is_local(host: str, header_names: Iterable[bytes]) -> bool:
    """Whether a request comes from this machine, and not through a proxy on it."""
    loopback = host == "::1" or host.removeprefix("::ffff:").startswith("127.")
    return loopback and FORWARDED.isdisjoint(header_names)


async def answer(guard: Controlled, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer an ASGI request beneath :data:`PREFIX`."""
    client, headers = scope.get("client"), dict(scope["headers"])
    found = respond(
        guard,
        scope["method"],
        scope["path"],
        headers.get(TOKEN_HEADER, b""),
        local=is_local(client[0] if client else "", headers),
    )
    status, data = found or await _change(guard, receive)
    body = json.dumps(data).encode()
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
                (b"cache-control", b"no-store"),
            ],
        }
    )
    head = scope["method"] == "HEAD"
    await send({"type": "http.response.body", "body": b"" if head else body})


def _error(words: str) -> Mapping[str, object]:
    return {"error": words}


def _same(given: bytes, known: str) -> bool:
    """Compared in a time that tells nothing about where they differ."""
    import hmac  # noqa: PLC0415 - 5 ms of the guard's import time for a rare request

    return hmac.compare_digest(given, known.encode())


async def _change(guard: Controlled, receive: Receive) -> tuple[int, Mapping[str, object]]:
    try:
        return change(guard, await _body(receive))
    except ValueError as error:
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
