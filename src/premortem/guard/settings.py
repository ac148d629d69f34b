"""What the owner of a site decides about the guard. Every default has its reason beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any

__all__ = ["CHANGEABLE", "Route", "Settings", "TrafficClass", "change"]

CHANGEABLE = (
    "adaptive",
    "cap",
    "deadline_ms",
    "queue_max",
    "queue_timeout_ms",
    "retry_after_max_s",
    "retry_after_min_s",
    "slow_ms",
)
"""The settings that may be changed while the site runs; the rest need a restart."""


@dataclass(frozen=True, slots=True)
class TrafficClass:
    """One priority. ``share`` (0 to 1) of the limit is what it may hold when all is contested."""

    name: str
    share: float

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"share of class {self.name!r} must be above 0 and at most 1")


@dataclass(frozen=True, slots=True)
class Route:
    """Requests with this method (``*`` = any) and path prefix belong to class ``name``."""

    method: str
    prefix: str
    name: str


def _doc(default: Any, words: str, *, shown: bool = True) -> Any:
    """A field with its meaning attached: the table in docs/guard.md is tested against it."""
    return field(default=default, repr=shown, metadata={"doc": words})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the guard can be told. Raises ``ValueError`` with one line on a bad value.

    >>> Settings(cap=44, processes=4).cap_of_process
    11
    >>> Settings(cap=0)
    Traceback (most recent call last):
    ...
    ValueError: cap must be a whole number of at least 1, got 0
    """

    cap: int = _doc(
        MISSING,
        "Requests in flight at once for the whole site: the load-tested knee, below the size of "
        "the connection pool. No default: only a load test knows it.",
    )
    processes: int = _doc(
        1, "Worker processes that share the cap; each gets cap ÷ processes (at least 1)."
    )
    adaptive: bool = _doc(
        True, "Let the limit shrink beneath the cap while responses are slow or the pool waits."
    )
    slow_ms: float = _doc(
        250.0,
        "A response is slow when its first byte takes longer; the limit shrinks when most of a "
        "quarter second's are. A quarter of a client's 1 s patience kept 96 % of the capacity in "
        "simulation, a half 87 %. Raise it above the usual time of the site's slow pages.",
    )
    floor_ratio: float = _doc(
        0.25,
        "The limit never shrinks below this share of the cap: a quarter of the knee still served "
        "58 % of the capacity in simulation and recovers; less starves the recovery.",
    )
    queue_max: int = _doc(
        200, "Requests that may wait: what 2,500 requests/s bring within one queue time-out."
    )
    queue_timeout_ms: float = _doc(
        80.0,
        "Longest wait while the queue still empties: a refusal is to reach the client within "
        "100 ms, and 20 ms are left for the event loop and the way back.",
    )
    queue_interval_ms: float = _doc(
        100.0, "A queue that was not empty for so long is standing: newest first from then on."
    )
    queue_standing_timeout_ms: float = _doc(
        5.0, "Longest wait in a standing queue: CoDel's target delay."
    )
    deadline_ms: float = _doc(
        1000.0,
        "Patience of a client from arrival; work that has not started by then is refused. One "
        "second is where attention breaks. The header X-Premortem-Deadline-Ms may shorten it.",
    )
    classes: tuple[TrafficClass, ...] = _doc(
        (TrafficClass("high", 0.6), TrafficClass("normal", 0.3), TrafficClass("low", 0.1)),
        "One to four classes, most important first: high for checkout, normal for browsing, low "
        "for what can wait. Shares add up to at most 1.",
    )
    routes: tuple[Route, ...] = _doc(
        (), "Table of (method, path prefix) → class; the first match wins."
    )
    default_class: str = _doc("normal", "Class of a request that no route names.")
    exempt_prefixes: tuple[str, ...] = _doc(
        ("/health", "/livez", "/readyz"),
        "Path prefixes that are neither counted nor limited: health checks, and answers that "
        "stay open (server-sent events), which would hold a slot for ever.",
    )
    retry_after_min_s: int = _doc(1, "Earliest moment a refused client is told to come back.")
    retry_after_max_s: int = _doc(
        5, "Latest such moment; drawn evenly, so that those refused do not return together."
    )
    token: str = _doc(
        "",
        "Secret of the settings endpoint, sent as X-Premortem-Token. Empty: there is no such "
        "endpoint.",
        shown=False,
    )

    def __post_init__(self) -> None:
        _check(self)

    @property
    def cap_of_process(self) -> int:
        """The part of the cap that this process may use."""
        return max(1, self.cap // self.processes)


def _check(settings: Settings) -> None:
    for name in ("cap", "processes", "queue_max", "retry_after_min_s"):
        _whole(name, getattr(settings, name), least=0 if name == "queue_max" else 1)
    _whole("retry_after_max_s", settings.retry_after_max_s, least=settings.retry_after_min_s)
    for each in fields(settings):
        if each.name.endswith("_ms"):
            _positive(each.name, getattr(settings, each.name))
    if not 0 < settings.floor_ratio <= 1:
        raise ValueError(f"floor_ratio must be above 0 and at most 1, got {settings.floor_ratio}")
    if not isinstance(settings.adaptive, bool):
        raise ValueError(f"adaptive must be true or false, got {settings.adaptive!r}")  # noqa: TRY004 - one kind of error for all settings
    _check_classes(settings)


def _check_classes(settings: Settings) -> None:
    names = [c.name for c in settings.classes]
    if not 1 <= len(names) <= 4 or len(set(names)) != len(names):
        raise ValueError("classes must be one to four with different names")
    if sum(c.share for c in settings.classes) > 1 + 1e-9:
        raise ValueError("the shares of the classes must add up to at most 1")
    for name in (settings.default_class, *(r.name for r in settings.routes)):
        if name not in names:
            raise ValueError(f"class {name!r} is not one of {', '.join(names)}")


def _whole(name: str, value: object, *, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")


def _positive(name: str, value: object) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value < 3_600_000:  # type: ignore[operator]
        raise ValueError(f"{name} must be a number above 0 and below an hour, got {value!r}")


def change(settings: Settings, wanted: object) -> tuple[Settings, dict[str, object]]:
    """The settings with ``wanted`` applied, and what the changed ones were before.

    Raises ``ValueError`` with one line when ``wanted`` is not an object of changeable settings.
    """
    if not isinstance(wanted, Mapping) or not wanted:
        raise ValueError('send a JSON object such as {"cap": 8}')
    for name in wanted:
        if name not in CHANGEABLE:
            raise ValueError(f"{str(name)[:40]!r} is not one of {', '.join(CHANGEABLE)}")
    return replace(settings, **wanted), {name: getattr(settings, name) for name in wanted}
