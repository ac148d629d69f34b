"""One request of remote write: compressed, posted, and what the receiver's answer means."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

import premortem

__all__ = ["Post", "Refused", "Sender", "Unsent", "snappy"]

PATIENCE_S = 10.0
"""For one request; a receiver that needs longer is drowning."""


class Refused(Exception):
    """The receiver will never take this request (4xx); the text is its answer."""


class Unsent(Exception):
    """The receiver did not take the request now; it may later."""

    def __init__(self, why: str, after_s: float = 0.0) -> None:
        super().__init__(why)
        self.after_s = after_s
        """How long it asked us to wait, 0 when it did not say."""


Sender = Callable[[bytes], None]
"""Sends one compressed request. Raises :class:`Refused` or :class:`Unsent`."""


def snappy(content: bytes) -> bytes:
    """Compress as remote write wants it: snappy's block format."""
    import cramjam  # noqa: PLC0415 - premortem[fleet]; only who sends needs it

    return bytes(cramjam.snappy.compress_raw(content))


def _checked(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("remote_write must be an http or https URL with a host")
    if parts.username or parts.password:
        raise ValueError("remote_write: no password in a URL; put a bearer token into token_file")


@dataclass(slots=True)
class Post:
    """A sender over one kept connection, opened again when it broke."""

    url: str
    token: str = field(default="", repr=False)
    within_s: float = PATIENCE_S
    _connection: http.client.HTTPConnection | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Raises ``ValueError`` for a URL that cannot be used."""
        _checked(self.url)

    def __call__(self, body: bytes) -> None:
        """Send one request. Raises :class:`Refused` or :class:`Unsent`."""
        parts = urlsplit(self.url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": "snappy",
            "X-Prometheus-Remote-Write-Version": "0.1.0",
            "User-Agent": f"premortem/{premortem.__version__}",
        } | ({"Authorization": f"Bearer {self.token}"} if self.token else {})
        try:
            if self._connection is None:
                self._connection = _connection(parts, self.within_s)
            self._connection.request("POST", path, body, headers)
            answer = self._connection.getresponse()
            words = answer.read().decode("utf-8", "replace").strip()
        except (OSError, http.client.HTTPException) as problem:
            self.close()
            raise Unsent(f"{parts.hostname}:{parts.port}: {problem}") from None
        _judge(answer.status, words, answer.getheader("Retry-After"))

    def close(self) -> None:
        """Drop the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _connection(parts: SplitResult, within_s: float) -> http.client.HTTPConnection:
    secure = parts.scheme == "https"
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    return kind(parts.hostname or "", parts.port, timeout=within_s)


def _judge(status: int, words: str, retry_after: str | None) -> None:
    """What a status means: 2xx taken, 429 and 5xx later, anything else never."""
    if 200 <= status < 300:
        return
    said = f"status {status}: {words.partition(chr(10))[0][:200]}"
    if status == 429 or status >= 500:
        wait = (retry_after or "").strip()
        raise Unsent(said, float(wait) if wait.isdecimal() else 0.0)
    raise Refused(said)
