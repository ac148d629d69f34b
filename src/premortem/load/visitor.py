"""One user on a journey: what the engine drives and what the journey sees as ``User``."""

from __future__ import annotations

import json as jsonlib
import random
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from premortem.load.journey import Response
from premortem.load.stats import Arrived

if TYPE_CHECKING:
    from premortem.load.sockets import Connection

__all__ = ["Exchange", "Pause", "Site", "Visitor"]

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
PATH_SAFE = "/:?#[]@!$&'()*+,;=%-._~"
"""RFC 3986: what may stand in a path and query as it is."""


@dataclass(frozen=True, slots=True)
class Site:
    """What every request of a run has in common."""

    prefix: str
    """Path of the base URL, without the slash at its end."""
    shared: str
    """The rest of the request line and the headers all requests share, up to the number that ends
    the client's id."""
    run: str
    """Start of every ``X-Client-Id``: tells the users of two runs apart."""
    seed: int
    acknowledge: Callable[[str, object, str], None]

    def target(self, path: str, params: Mapping[str, object] | None = None) -> str:
        """The request target: prefix and path, quoted where it must be."""
        if params:
            path += ("&" if "?" in path else "?") + urlencode(params)
        if not (path.isascii() and path.isprintable()) or " " in path:
            path = quote(path, safe=PATH_SAFE)
        if not path.startswith("/"):
            raise ValueError(f"a path starts with /, not {path!r}")
        return self.prefix + path


class Exchange:
    """A request on its way to a response, through all its attempts. Journeys await it."""

    # Defaults on the class: most requests never set them, and what is not set costs nothing.
    alone = False
    """Whether it is all its user does: a :class:`Lone`."""
    arrived: Arrived
    """Of a lone one: the row its user is counted in."""
    method = "GET"
    extra = ""
    """Headers of this request alone."""
    body = b""
    expect: Sequence[int] = ()
    attempts = 0
    hops = 0
    resent = False
    intended = started = 0.0
    connection: Connection | None = None

    def __init__(self, user: Visitor, target: str, name: str, message: bytes) -> None:
        self.user = user
        self.target = target
        self.name = name
        self.message = message

    def serialise(self) -> bytes:
        """The bytes to send."""
        user = self.user
        head = f"{self.method} {self.target}{user.site.shared}{user.number}\r\n{self.extra}"
        if user.cookies:
            pairs = "; ".join(f"{name}={value}" for name, value in user.cookies.items())
            head = f"{head}Cookie: {pairs}\r\n"
        return f"{head}\r\n".encode("latin-1") + self.body

    def redirect(self, target: str, status: int) -> None:
        """Go to another target; after 303, and as browsers do after 301 and 302, with GET."""
        if status == 303 or (status in (301, 302) and self.method == "POST"):
            self.method, self.extra, self.body = "GET", "", b""
        self.target = target
        self.message = self.serialise()

    def __await__(self) -> Generator[Exchange, Response, Response]:
        return (yield self)


class Pause:
    """A think time. Journeys await it."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __await__(self) -> Generator[Pause, None, None]:
        yield self


class Visitor:
    """A user in flight. Implements :class:`premortem.load.journey.User`."""

    __slots__ = ("_random", "arrived", "connection", "cookies", "coroutine", "number", "site")

    def __init__(self, site: Site, number: int, arrived: Arrived) -> None:
        self.site = site
        self.number = number
        self.arrived = arrived
        self.cookies: dict[str, str] | None = None
        self.coroutine: Coroutine[Any, Any, None] | None = None
        self.connection: Connection | None = None
        self._random: random.Random | None = None

    @property
    def id(self) -> str:
        return f"{self.site.run}-{self.number}"

    @property
    def random(self) -> random.Random:
        if self._random is None:
            self._random = random.Random(f"{self.site.seed}:{self.number}")
        return self._random

    def cookie(self, name: str) -> str:
        if self.cookies is None:
            raise LookupError(f"no cookie {name!r}")
        return self.cookies[name]

    def get(
        self, path: str, *, name: str = "", params: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None, expect: Sequence[int] = (),
    ) -> Exchange:  # fmt: skip
        if params or headers or self.cookies:
            return self.request(
                "GET", path, name=name, params=params, headers=headers, expect=expect
            )
        site = self.site
        target = site.target(path)
        message = f"GET {target}{site.shared}{self.number}\r\n\r\n".encode("latin-1")
        exchange = Exchange(self, target, name or target, message)
        if expect:
            exchange.expect = expect
        return exchange

    def post(
        self, path: str, *, name: str = "", json: object = None,
        form: Mapping[str, object] | None = None, body: bytes = b"",
        headers: Mapping[str, str] | None = None, expect: Sequence[int] = (),
    ) -> Exchange:  # fmt: skip
        return self.request(
            "POST", path, name=name, json=json, form=form, body=body, headers=headers,
            expect=expect,
        )  # fmt: skip

    def request(
        self, method: str, path: str, *, name: str = "", json: object = None,
        form: Mapping[str, object] | None = None, body: bytes = b"",
        params: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None, expect: Sequence[int] = (),
    ) -> Exchange:  # fmt: skip
        if not (method.isascii() and method.isalpha()):
            raise ValueError(f"not an HTTP method: {method!r}")
        kind, body = _encoded(json, form, body)
        extra = f"{kind}{_lines(headers) if headers else ''}"
        if body or method in ("POST", "PUT", "PATCH"):
            extra = f"{extra}Content-Length: {len(body)}\r\n"
        target = self.site.target(path, params)
        exchange = Exchange(self, target, name or target, b"")
        exchange.method, exchange.extra, exchange.body = method.upper(), extra, body
        exchange.expect = expect
        exchange.message = exchange.serialise()
        return exchange

    def think(self, seconds: float) -> Pause:
        return Pause(seconds)

    def acknowledge(self, kind: str, id: object) -> None:
        self.site.acknowledge(kind, id, self.id)

    def check(self, held: bool, what: str) -> None:
        if not held:
            raise AssertionError(what)

    def keep_cookies(self, values: Sequence[str]) -> None:
        """Take ``Set-Cookie`` values in: name and value, and whether they end it at once."""
        kept = self.cookies = self.cookies or {}
        for value in values:
            pair, _, attributes = value.partition(";")
            name, equals, content = pair.strip().partition("=")
            if not equals or len(kept) >= 50:  # 50: RFC 6265 asks for no more a domain
                continue
            if "max-age=0" in attributes.lower().replace(" ", ""):
                kept.pop(name, None)
            else:
                kept[name] = content


def _lines(headers: Mapping[str, str]) -> str:
    text = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    if text.count("\n") != len(headers) or text.count("\r") != len(headers):
        raise ValueError("a header must not contain line breaks")
    return text


def _encoded(json: object, form: Mapping[str, object] | None, body: bytes) -> tuple[str, bytes]:
    """``(Content-Type line, body)``."""
    if json is not None:
        return "Content-Type: application/json\r\n", jsonlib.dumps(json).encode()
    if form is not None:
        return "Content-Type: application/x-www-form-urlencoded\r\n", urlencode(form).encode()
    return "", body
