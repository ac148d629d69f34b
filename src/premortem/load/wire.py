"""HTTP/1.1 responses, read from whatever a server sends. Pure: bytes in, a response out.

Written for hostile servers: the head, each chunk line and the body are bounded, nothing is parsed
twice, and everything that is not HTTP/1.1 raises :class:`BadResponse` (RFC 9112 sections 4 to 7).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["BODY_MAX_BYTES", "BadResponse", "Head", "Heads", "Reader", "parse_head"]

HEAD_MAX_BYTES = 64 * 1024
"""nginx and browsers allow 8 to 256 KB of headers; more is a fault or an attack."""
BODY_MAX_BYTES = 16 * 1024 * 1024
"""A page is megabytes at most; a body of gigabytes must not fill the generator's memory."""
CHUNK_LINE_MAX_BYTES = 4 * 1024
HEADS_MAX = 512
"""Distinct heads remembered: one a second (the Date) times the site's pages, then start anew."""

CHUNKED = -1
UNTIL_CLOSE = -2
SIZE_LINE, CHUNK_END, TRAILERS = -1, -2, -3
"""What a chunked body expects next when no chunk is open."""
TRAILERS_MAX = 100
NO_BODY = frozenset({204, 304})


class BadResponse(ValueError):
    """What arrived is not an HTTP/1.1 response, or is larger than allowed."""


@dataclass(frozen=True, slots=True)
class Head:
    """Status line and headers of a response."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case; repeated ones joined by ``, ``."""
    cookies: tuple[str, ...]
    """The values of ``Set-Cookie``, which must not be joined."""
    length: int
    """Bytes of the body, or ``CHUNKED`` or ``UNTIL_CLOSE``."""
    close: bool
    """Whether the server will close the connection after this response."""


def parse_head(raw: bytes) -> Head:
    """Parse a head without its closing empty line. Raises :class:`BadResponse`.

    >>> parse_head(b"HTTP/1.1 200 OK\\r\\nContent-Length: 5").length
    5
    """
    status_line, *lines = raw.split(b"\r\n")
    version, _, rest = status_line.partition(b" ")
    code = rest[:3]
    if version not in (b"HTTP/1.1", b"HTTP/1.0") or not code.isdigit() or len(code) != 3:
        raise BadResponse(f"not an HTTP/1.1 status line: {status_line[:60]!r}")
    status = int(code)
    if status < 100 or rest[3:4] not in (b"", b" "):
        raise BadResponse(f"not an HTTP/1.1 status line: {status_line[:60]!r}")
    headers: dict[str, str] = {}
    cookies: list[str] = []
    for line in lines:
        name, value = _header(line)
        if name == "set-cookie":
            cookies.append(value)
        elif name in headers:
            headers[name] = f"{headers[name]}, {value}"
        else:
            headers[name] = value
    tokens = headers.get("connection", "").lower()
    close = "close" in tokens or (version == b"HTTP/1.0" and "keep-alive" not in tokens)
    length = _length(status, headers)
    return Head(status, headers, tuple(cookies), length, close or length == UNTIL_CLOSE)


def _header(line: bytes) -> tuple[str, str]:
    name, colon, value = line.partition(b":")
    if not colon or not name or name != name.strip():
        raise BadResponse(f"not a header: {line[:60]!r}")
    return name.decode("latin-1").lower(), value.strip().decode("latin-1")


def _length(status: int, headers: Mapping[str, str]) -> int:
    if status < 200 or status in NO_BODY:
        return 0
    coding = headers.get("transfer-encoding")
    if coding is not None:
        return CHUNKED if coding.lower().rpartition(",")[2].strip() == "chunked" else UNTIL_CLOSE
    stated = headers.get("content-length")
    if stated is None:
        return UNTIL_CLOSE
    values = {part.strip() for part in stated.split(",")}
    value = values.pop()
    if values or not (value.isascii() and value.isdigit()) or len(value) > 18:
        raise BadResponse(f"bad Content-Length: {stated[:60]!r}")
    return int(value)


class Heads:
    """Heads already parsed. Servers repeat the same head until the Date moves on a second."""

    __slots__ = ("known",)

    def __init__(self) -> None:
        self.known: dict[bytes, Head] = {}

    def parse(self, raw: bytes) -> Head:
        head = self.known.get(raw)
        if head is None:
            head = parse_head(raw)
            if len(self.known) >= HEADS_MAX:
                self.known.clear()
            self.known[raw] = head
        return head


class Reader:
    """One response, piece by piece. ``feed`` and ``end`` say whether it is complete."""

    __slots__ = (
        "_bodiless", "_body_max", "_heads", "_left", "_raw", "_trailers", "body", "head", "surplus",
    )  # fmt: skip

    def __init__(
        self, heads: Heads, *, bodiless: bool = False, body_bytes_max: int = BODY_MAX_BYTES
    ) -> None:
        self._heads = heads
        self._bodiless = bodiless  # the answer to HEAD states a length but has no body
        self._body_max = body_bytes_max
        self._raw = bytearray()
        self._left = SIZE_LINE
        self._trailers = 0
        self.head: Head | None = None
        self.body = bytearray()
        self.surplus = False
        """More arrived than the response holds: the connection cannot be used again."""

    def feed(self, data: bytes) -> bool:
        """Take in what arrived; true once the response is complete. Raises :class:`BadResponse`."""
        if self.head is None:
            self._raw += data
            head = self._take_head()
            if head is None:
                return False
            data = bytes(self._raw)
            self._raw.clear()
        else:
            head = self.head
        if self._bodiless:
            self.surplus = bool(data)
            return True
        if head.length == CHUNKED:
            self._raw += data
            return self._take_chunks()
        if head.length == UNTIL_CLOSE:
            self._grow(data)
            return False
        missing = head.length - len(self.body)
        self._grow(data[:missing])
        self.surplus = len(data) > missing
        return len(data) >= missing

    def end(self) -> bool:
        """The server closed the connection; true if that completes the response."""
        return self.head is not None and self.head.length == UNTIL_CLOSE

    def _take_head(self) -> Head | None:
        """The final head, once it is there; interim ones (100, 103) are passed over."""
        while True:
            end = self._raw.find(b"\r\n\r\n", 0, HEAD_MAX_BYTES)
            if end < 0:
                if len(self._raw) >= HEAD_MAX_BYTES:
                    raise BadResponse(f"headers longer than {HEAD_MAX_BYTES} bytes")
                if not b"HTTP/1.".startswith(self._raw[:7]):
                    raise BadResponse(f"not HTTP/1.1: {bytes(self._raw[:60])!r}")
                return None
            head = self._heads.parse(bytes(self._raw[:end]))
            del self._raw[: end + 4]
            if head.status >= 200:
                break
            if head.status == 101:
                raise BadResponse("the server switched protocols")
        if head.length > self._body_max and not self._bodiless:
            raise BadResponse(f"a body of {head.length} bytes, allowed are {self._body_max}")
        self.head = head
        return head

    def _grow(self, data: bytes | bytearray) -> None:
        self.body += data
        if len(self.body) > self._body_max:
            raise BadResponse(f"a body of more than {self._body_max} bytes")

    def _take_chunks(self) -> bool:
        """Move whole pieces from the raw bytes to the body; true after the last chunk."""
        raw, at = self._raw, 0
        done = False
        while not done:
            if self._left > 0:
                piece = raw[at : at + self._left]
                if not piece:
                    break
                self._grow(piece)
                self._left -= len(piece)
                at += len(piece)
                if not self._left:
                    self._left = CHUNK_END
                continue
            end = raw.find(b"\r\n", at, at + CHUNK_LINE_MAX_BYTES)
            if end < 0:
                if len(raw) - at >= CHUNK_LINE_MAX_BYTES:
                    raise BadResponse(f"a chunk line longer than {CHUNK_LINE_MAX_BYTES} bytes")
                break
            done = self._take_line(bytes(raw[at:end]))
            at = end + 2
        del raw[:at]
        self.surplus = done and bool(raw)
        return done

    def _take_line(self, line: bytes) -> bool:
        """A line between chunks; true if it ends the body."""
        if self._left == CHUNK_END:
            if line:
                raise BadResponse("a chunk longer than it said")
            self._left = SIZE_LINE
            return False
        if self._left == TRAILERS:
            self._trailers += 1
            if self._trailers > TRAILERS_MAX:
                raise BadResponse(f"more than {TRAILERS_MAX} trailers")
            return not line
        self._left = _chunk_size(line) or TRAILERS
        return False


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    if not 1 <= len(digits) <= 16 or digits.strip(b"0123456789abcdefABCDEF"):
        raise BadResponse(f"bad chunk size: {line[:60]!r}")
    return int(digits, 16)
