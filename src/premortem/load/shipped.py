"""An attack as data that another machine can run: its spec, and the files its journeys are in."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from premortem.load.journey import BadJourney
from premortem.load.pace import Constant, Pacer, Ramp, Sine
from premortem.load.spec import SETTINGS, SETTINGS_MS, Attack

__all__ = ["files_of", "segments_of", "spec_of", "unpack"]

FILES_BYTES_MAX = 64 * 1024 * 1024
"""Feeds of a million short rows; more is better put on the agents beforehand."""

SEGMENTS: Mapping[type[Any], Callable[[Any], dict[str, object]]] = {
    Constant: lambda p: {"kind": "constant", "rate": p.users_per_s, "seconds": p.seconds},
    Ramp: lambda p: {
        "kind": "ramp", "from": p.from_per_s, "to": p.to_per_s, "seconds": p.seconds
    },
    Sine: lambda p: {
        "kind": "sine", "mean": p.mean_per_s, "swing": p.swing_per_s, "period_s": p.period_s,
        "seconds": p.seconds,
    },
}  # fmt: skip
"""What every shape is made of: steps and replays are constants one after the other."""


def segments_of(pace: Pacer) -> list[dict[str, object]]:
    """The inverse of :func:`premortem.load.pace.pace_from`."""
    return [SEGMENTS[type(part)](part) for part in pace.parts()]


def spec_of(plan: Attack, journey: object) -> dict[str, Any]:
    """The spec of an attack, its journeys by name. Files it names are in :func:`files_of`."""
    settings = asdict(plan.settings)
    return {
        "base_url": plan.base_url,
        "journey": _short(journey),
        "pace": segments_of(plan.pace),
        "arrivals": plan.arrivals,
        "crowd": plan.crowd,
        "seed": plan.seed,
        **{name: settings[name] for name in (*SETTINGS, "keep_alive")},
        **{f"{name}_ms": settings[f"{name}_s"] * 1000.0 for name in SETTINGS_MS},
        "tls_verify": plan.tls_verify,
        "ca_file": plan.ca_file and Path(plan.ca_file).name,
        "lag_p99_ms_max": plan.lag_p99_ms_max,
        "cpu_ratio_max": plan.cpu_ratio_max,
    }


def _short(journey: object) -> object:
    """The same with the files' names alone: on the other machine they lie together."""
    if isinstance(journey, str):
        file, colon, function = journey.rpartition(":")
        if journey.endswith(".toml"):
            return Path(journey).name
        return f"{Path(file).name}{colon}{function}" if file.endswith(".py") else journey
    if isinstance(journey, Mapping):
        return {**journey, "journey": _short(journey["journey"])}
    return [_short(one) for one in journey] if isinstance(journey, (list, tuple)) else journey


def files_of(journey: object, ca_file: str | None = None) -> dict[str, str]:
    """File name to text: TOML journeys with their feeds, Python files, the certificate.

    Raises :class:`BadJourney` for one that cannot be read.
    """
    files: dict[str, str] = {}
    for path in [*_paths(journey), *([Path(ca_file)] if ca_file else [])]:
        try:
            files[path.name] = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BadJourney(f"{path}: {error}") from error
    if sum(map(len, files.values())) > FILES_BYTES_MAX:
        raise BadJourney(f"the journey's files are larger than {FILES_BYTES_MAX} bytes together")
    return files


def _paths(journey: object) -> list[Path]:
    if isinstance(journey, str):
        if journey.endswith(".toml"):
            return [Path(journey), *_feeds(Path(journey))]
        file = journey.rpartition(":")[0]
        return [Path(file)] if file.endswith(".py") else []
    if isinstance(journey, Mapping):
        return _paths(journey.get("journey"))
    entries = journey if isinstance(journey, (list, tuple)) else []
    return [path for entry in entries for path in _paths(entry)]


def _feeds(path: Path) -> list[Path]:
    try:
        feeds = tomllib.loads(path.read_text("utf-8")).get("feeds", {})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadJourney(f"{path}: {error}") from error
    for where in feeds.values():
        if Path(where).name != where:
            raise BadJourney(f"{path}: the feed {where} must lie beside it to be sent to agents")
    return [path.parent / where for where in feeds.values()]


def unpack(files: Mapping[str, str], folder: Path) -> None:
    """Write the files. Raises ``ValueError`` for a name that leads elsewhere."""
    for name, text in files.items():
        if Path(name).name != name or name in ("", ".", ".."):
            raise ValueError(f"not a file name: {name!r}")
        (folder / name).write_text(text, "utf-8")
