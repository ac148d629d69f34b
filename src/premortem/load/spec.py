"""What an attack is: where, who, at what pace, and what to believe. As data or from JSON.

``FILE.json`` holds (only the first three are needed)::

    {"base_url": "http://127.0.0.1:8000",
     "journey": "package.module:function",          or [["m:f", 3], ["m:g", 1]],
                                                   or "journeys.toml", or "/path"
     "pace": [{"kind": "constant", "rate": 40, "seconds": 10},       rates in users per second
              {"kind": "ramp", "from": 40, "to": 240, "seconds": 15},
              {"kind": "sine", "mean": 50, "swing": 20, "period_s": 60, "seconds": 120},
              {"kind": "steps", "rates": [10, 20, 40], "step_s": 10},
              {"kind": "replay", "users": [310, 290], "interval_s": 60}],
     "arrivals": "poisson", "seed": 1, "timeout_ms": 1000, "retries": 2, "backoff_ms": 200,
     "refusal_ms": 100, "start_at": null, "ack_file": null, "cpus": null, "keep_alive": true,
     "connections_max": 0, "users_in_flight_max": 10000, "drain_s": 15, "spin_s": 0.0,
     "tls_verify": true, "ca_file": null, "lag_p99_ms_max": 10, "cpu_ratio_max": 0.9,
     "processes": 1}
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from premortem.load.declared import journeys_from_toml
from premortem.load.journey import Choice, journeys_from
from premortem.load.pace import Arrivals, Pacer, pace_from
from premortem.load.requests import Settings

__all__ = ["Attack", "BadSpec", "choices_from", "spec_from"]


class BadSpec(ValueError):
    """An attack that cannot be: says which key and why."""


@dataclass(frozen=True, slots=True)
class Attack:
    """What to send, where, and what to believe."""

    base_url: str
    journeys: tuple[Choice, ...]
    pace: Pacer
    arrivals: Arrivals = "poisson"
    crowd: int = 0
    """Closed loop instead of ``pace``: this many users always present, for ``pace.seconds``.
    Its latencies hide stalls (coordinated omission); it is for comparison with such tools."""
    seed: int = 1
    settings: Settings = field(default_factory=Settings)
    tls_verify: bool = True
    ca_file: str | None = None
    start_at: float | None = None
    """Seconds since the epoch; ``None``: now."""
    ack_file: Path | None = None
    cpus: tuple[int, ...] | None = None
    lag_p99_ms_max: float = 10.0
    """1 % of a one-second time-out: later sending could change what users meet."""
    cpu_ratio_max: float = 0.9
    """Of one core, over any three seconds: beyond it queues form in the generator itself."""
    share: tuple[int, int] = (0, 1)
    """(which, of how many): the part of the schedule this process sends."""


def _number(value: object) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and 0 <= value < math.inf  # type: ignore[operator]


def _whole(value: object) -> bool:
    return _number(value) and isinstance(value, int)


def _cores(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_whole, value))


KINDS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "base_url": ("a URL", lambda v: isinstance(v, str)),
    "arrivals": ("'poisson' or 'even'", lambda v: v in ("poisson", "even")),
    "crowd": ("a whole number of at least 0", _whole),
    "seed": ("a whole number of at least 0", _whole),
    "processes": ("a whole number of at least 1", lambda v: _whole(v) and v >= 1),
    "retries": ("a whole number of at least 0", _whole),
    "connections_max": ("a whole number of at least 0", _whole),
    "users_in_flight_max": ("a whole number of at least 1", lambda v: _whole(v) and v >= 1),
    "body_bytes_max": ("a whole number of at least 0", _whole),
    "timeout_ms": ("a number above 0", lambda v: _number(v) and v > 0),
    "backoff_ms": ("a number of at least 0", _number),
    "refusal_ms": ("a number of at least 0", _number),
    "drain_s": ("a number of at least 0", _number),
    "spin_s": ("a number of at least 0", _number),
    "lag_p99_ms_max": ("a number of at least 0", _number),
    "cpu_ratio_max": ("a number of at least 0", _number),
    "start_at": ("seconds since the epoch", lambda v: v is None or _number(v)),
    "ack_file": ("a path", lambda v: v is None or isinstance(v, str)),
    "ca_file": ("a path", lambda v: v is None or isinstance(v, str)),
    "keep_alive": ("true or false", lambda v: isinstance(v, bool)),
    "tls_verify": ("true or false", lambda v: isinstance(v, bool)),
    "cpus": (
        "a list of cores",
        lambda v: v is None or (isinstance(v, list) and all(map(_whole, v))),
    ),
}
"""What each key holds. ``journey`` and ``pace`` are judged by their own modules."""
SETTINGS = (
    "retries",
    "connections_max",
    "users_in_flight_max",
    "drain_s",
    "body_bytes_max",
    "spin_s",
)
SETTINGS_MS = ("timeout", "backoff", "refusal")


def spec_from(data: object) -> Attack:
    """Build an attack from a spec as in the module's docstring. Raises ``ValueError``s that name
    the key: ``BadSpec``, ``BadPace``, ``BadJourney``. ``processes`` is for who runs it.
    """
    if not isinstance(data, Mapping):
        raise BadSpec("the spec must be a JSON object")
    rest = dict(data)
    for key in ("base_url", "journey", "pace"):
        if key not in rest:
            raise BadSpec(f"the spec needs {key!r}")
    choices, pace = choices_from(rest.pop("journey")), pace_from(_segments(rest.pop("pace")))
    for key, value in rest.items():
        if key not in KINDS:
            raise BadSpec(f"the spec has unknown keys: {key}")
        what, fits = KINDS[key]
        if not fits(value):
            raise BadSpec(f"{key} must be {what}, not {value!r}")
    rest.pop("processes", None)
    if rest.get("ack_file") is not None:
        rest["ack_file"] = Path(rest["ack_file"])
    if rest.get("cpus") is not None:
        rest["cpus"] = tuple(rest["cpus"])
    settings = _settings(rest)
    return Attack(journeys=choices, pace=pace, settings=settings, **rest)


def choices_from(journey: object) -> tuple[Choice, ...]:
    """The journeys a spec or a command line names: TOML file, module:function, path of the site."""
    if isinstance(journey, str) and journey.endswith(".toml"):
        return journeys_from_toml(Path(journey))
    return journeys_from(journey)


def _segments(pace: object) -> list[Mapping[str, object]]:
    """The segments of a pace: a list, one alone, or under ``segments``."""
    if isinstance(pace, Mapping):
        pace = pace.get("segments", [pace])
    if not isinstance(pace, list) or not all(isinstance(s, Mapping) for s in pace):
        raise BadSpec("pace must be a list of segments")
    return pace


def _settings(rest: dict[str, Any]) -> Settings:
    """Take the settings out of the spec; times come in ms."""
    given = {name: rest.pop(name) for name in (*SETTINGS, "keep_alive") if name in rest}
    for name in SETTINGS_MS:
        if f"{name}_ms" in rest:
            given[f"{name}_s"] = rest.pop(f"{name}_ms") / 1000.0
    return Settings(**given)
