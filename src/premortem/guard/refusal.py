"""The answer to a request for which there is no room: 503, small, prepared beforehand."""

from __future__ import annotations

from time import monotonic_ns

from premortem.guard.call import Message, Scope, Send

__all__ = ["BODY", "Refusal"]

BODY = b"Overloaded. Please try again in a moment.\n"


class Refusal:
    """Sends a 503 with ``Retry-After`` drawn evenly from ``min_s`` to ``max_s`` whole seconds."""

    def __init__(self, min_s: int, max_s: int) -> None:
        self._starts: list[Message] = [
            {
                "type": "http.response.start",
                "status": 503,
                "headers": [
                    (b"content-type", b"text/plain; charset=utf-8"),
                    (b"content-length", str(len(BODY)).encode()),
                    (b"retry-after", str(seconds).encode()),
                ],
            }
            for seconds in range(min_s, max_s + 1)
        ]

    async def send(self, scope: Scope, send: Send) -> None:
        """Send it; a HEAD gets the headers alone."""
        dice = monotonic_ns() // 1_000  # microseconds are chance enough to spread a crowd
        start = self._starts[dice % len(self._starts)]
        await send({**start, "headers": list(start["headers"])})  # servers may add to them
        head = scope["method"] == "HEAD"
        await send({"type": "http.response.body", "body": b"" if head else BODY})
