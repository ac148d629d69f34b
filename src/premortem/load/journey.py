"""What a user does on the site, written so that a colleague can read it.

A journey is a coroutine function of one argument::

    async def shopper(user: User) -> None:
        page = await user.get("/category/3", name="browse")
        await user.think(0.4)
        item = user.random.choice(page.json()["items"])
        await user.post("/basket", json={"item": item}, name="basket")
        order = await user.post("/checkout", name="checkout")
        user.acknowledge("order", order.json()["id"])

Every request is sent, timed, retried and judged by the engine. A request that fails for good, or
that the site refuses, ends the journey at that ``await``.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import random
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from premortem.load.wire import Head

__all__ = [
    "BadJourney",
    "Choice",
    "Journey",
    "JourneyEnded",
    "Outcome",
    "Plain",
    "Refused",
    "RequestFailed",
    "Response",
    "User",
    "journeys_from",
    "load_journey",
]

Outcome = Literal["served", "refused", "failed"]
"""``served``: the journey completed, every request in time; ``refused``: a 503 with Retry-After
in less than the refusal bound; ``failed``: anything else."""


class BadJourney(ValueError):
    """A journey that cannot be found or is not what it should be."""


class JourneyEnded(Exception):
    """Thrown into a journey when it is over before its last line. Do not catch it."""


class RequestFailed(JourneyEnded):
    """A request failed and its retries are used up."""


class Refused(JourneyEnded):
    """The site refused politely: 503 with Retry-After, at once."""


class Response:
    """What the site answered."""

    __slots__ = ("body", "head")

    def __init__(self, head: Head, body: bytes) -> None:
        self.head = head
        self.body = body

    @property
    def status(self) -> int:
        return self.head.status

    @property
    def headers(self) -> Mapping[str, str]:
        """By name in lower case."""
        return self.head.headers

    @property
    def text(self) -> str:
        """The body as UTF-8; bytes that are not become U+FFFD."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON. Raises ``ValueError`` (which fails the user) when it is not."""
        return json.loads(self.body)


class User(Protocol):
    """One visitor, as a journey sees them."""

    @property
    def id(self) -> str:
        """Unique in the run; sent with every request as ``X-Client-Id``."""

    @property
    def random(self) -> random.Random:
        """This user's own dice: the same seed gives the same choices."""

    def cookie(self, name: str) -> str:
        """What the site had this user keep. Raises ``LookupError`` when there is no such cookie."""

    def get(
        self,
        path: str,
        *,
        name: str = "",
        params: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        expect: Sequence[int] = (),
    ) -> Awaitable[Response]:
        """GET a path of the site. ``name`` groups paths in the statistics.

        A status of 400 or more fails the user unless it is listed in ``expect``.
        """

    def post(
        self,
        path: str,
        *,
        name: str = "",
        json: object = None,
        form: Mapping[str, object] | None = None,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        expect: Sequence[int] = (),
    ) -> Awaitable[Response]:
        """POST ``json``, or ``form`` fields, or ``body`` as it is."""

    def request(
        self,
        method: str,
        path: str,
        *,
        name: str = "",
        json: object = None,
        form: Mapping[str, object] | None = None,
        body: bytes = b"",
        params: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        expect: Sequence[int] = (),
    ) -> Awaitable[Response]:
        """Any method."""

    def think(self, seconds: float) -> Awaitable[None]:
        """Pause as a person does who reads."""

    def acknowledge(self, kind: str, id: object) -> None:
        """Note that the site promised something (an order): it is counted in the database later."""

    def check(self, held: bool, what: str) -> None:
        """Fail the user, with ``what`` as the reason, unless it held."""


Script: TypeAlias = Callable[[User], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Plain:
    """A journey of one fixed request: serialised once, the cheapest there is."""

    path: str
    method: str = "GET"
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    name: str = ""


Journey: TypeAlias = "Script | Plain"


@dataclass(frozen=True, slots=True)
class Choice:
    """A journey and how often it is taken, relative to the others."""

    journey: Journey
    weight: float = 1.0
    name: str = ""


def load_journey(where: str) -> Journey:
    """``package.module:name`` or ``path/to/file.py:name``, or a path of the site (``/``).

    >>> load_journey("/health").path
    '/health'
    """
    if where.startswith("/") and ":" not in where:
        return Plain(where, name=where)
    home, colon, name = where.rpartition(":")
    if not colon or not name.isidentifier():
        raise BadJourney(f"{where!r}: write it as module:function or file.py:function")
    module = _file(Path(home)) if home.endswith(".py") else _module(home)
    found = getattr(module, name, None)
    if not callable(found) and not isinstance(found, Plain):
        raise BadJourney(f"{where!r}: {home} has no journey called {name!r}")
    journey: Journey = found
    return journey


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise BadJourney(f"cannot import {name!r}: {error}") from error


def _file(path: Path) -> Any:
    if not path.is_file():
        raise BadJourney(f"no such file: {path}")
    name = f"premortem_journey_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BadJourney(f"not a Python file: {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def journeys_from(data: object) -> tuple[Choice, ...]:
    """One journey or a weighted list: ``"m:f"``, ``["m:f", …]`` or ``[["m:f", 3], …]``, or
    ``[{"journey": "m:f", "weight": 3}, …]``. Raises :class:`BadJourney`.
    """
    if isinstance(data, str):
        return (Choice(load_journey(data), 1.0, data),)
    if not isinstance(data, (list, tuple)) or not data:
        raise BadJourney(f"journey: expected 'module:function' or a list of them, got {data!r}")
    return tuple(_choice(entry) for entry in data)


def _choice(entry: object) -> Choice:
    where, weight = entry, 1.0
    if isinstance(entry, Mapping):
        where, weight = entry.get("journey"), entry.get("weight", 1.0)
    elif isinstance(entry, (list, tuple)) and len(entry) == 2:
        where, weight = entry
    if not isinstance(where, str):
        raise BadJourney(f"journey: expected 'module:function', got {where!r}")
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not weight > 0:
        raise BadJourney(f"{where}: the weight must be above 0, not {weight!r}")
    return Choice(load_journey(where), float(weight), where)
