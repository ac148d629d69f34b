"""Readings of the past: a recording, Prometheus' range-query JSON, or a fleet's history."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from premortem.app.prom_export import looks_like_export, matrix, readings
from premortem.app.promql import HistoryError, Promql
from premortem.model import Reading
from premortem.recording import BadRecording, parse
from premortem.sources._declared import declared_metrics
from premortem.sources._expression import Expression
from premortem.sources.prometheus import mapping_from, ready_mappings

__all__ = ["instant", "read_mapping", "recorded", "remembered"]

EXPORT_CHARS_MAX = 256 * 1024 * 1024
"""An hour of a site at 1 s is some 30 MB of JSON."""
SPAN_MAX_S = 86_400.0
"""A replay takes about a minute an hour of history; longer is a question for ``plan``."""
AGO = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def recorded(path: Path, mapping: str | None = None) -> Iterator[Reading]:
    """The readings of a file: a recording line by line, or range-query JSON of Prometheus.

    ``mapping`` turns foreign series into our metrics: a ready one by name, or a TOML file. Raises
    :class:`BadRecording` with one line when something cannot be read.
    """
    translation = None if mapping is None else read_mapping(mapping)
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            beginning = lines.read(200)
            lines.seek(0)
            if not looks_like_export(beginning):
                yield from parse(lines)
                return
            text = lines.read(EXPORT_CHARS_MAX + 1)
    except OSError as error:
        raise BadRecording(f"{path}: {os.strerror(error.errno or 0)}") from None
    if len(text) > EXPORT_CHARS_MAX:
        raise BadRecording("more than 256 MB of JSON; ask Prometheus for a shorter time")
    yield from readings(matrix(text), (m.name for m in declared_metrics()), translation)


def read_mapping(name_or_file: str) -> dict[str, Expression]:
    """A ready mapping by name, or one's own file. Raises :class:`BadRecording` with one line."""
    try:
        if name_or_file in ready_mappings():
            return mapping_from(name_or_file)
        raw = tomllib.loads(Path(name_or_file).read_text(encoding="utf-8"))
        return mapping_from(_known_only(raw))
    except OSError as error:
        words = f"{os.strerror(error.errno or 0)}; ready are: {', '.join(ready_mappings())}"
        raise BadRecording(f"--map {name_or_file}: {words}") from None
    except ValueError as error:  # TOML's own error is one
        raise BadRecording(f"--map {name_or_file}: {error}") from None


def _known_only(raw: dict[str, object]) -> dict[str, str]:
    known = {m.name for m in declared_metrics()}
    for metric, text in raw.items():
        if metric not in known or not isinstance(text, str):
            raise ValueError(f'{metric!r}: needed is "a metric of docs/metrics.md" = "a series"')
    return {metric: str(text) for metric, text in raw.items()}


def remembered(history: Promql, site: str, start: float, end: float) -> Iterator[Reading]:
    """What a fleet's history holds of a site. Raises :class:`HistoryError`."""
    found = history.readings(site, (m.name for m in declared_metrics()), start, end)
    first = next(found, None)
    if first is None:
        there = ", ".join(history.sites(start, end)) or "none"
        span = f"{_shown(start)} to {_shown(end)}"
        raise HistoryError(
            f"{history.url}: nothing of site {site!r} from {span}; sites there: {there}"
        )
    yield first
    yield from found


def instant(text: str, now: float) -> float:
    """A moment: ISO 8601 (UTC without an offset), seconds since 1970, ``now``, ``90m`` ago.

    Raises ``ValueError`` with one line.

    >>> instant("90m", 10_000.0), instant("1970-01-01T00:01", 0.0), instant("42.5", 0.0)
    (4600.0, 60.0, 42.5)
    """
    plain = text.strip()
    try:
        if plain == "now":
            return now
        if plain[-1:] in AGO:
            return now - AGO[plain[-1]] * float(plain[:-1])
        if plain.replace(".", "", 1).isdigit():
            return float(plain)
        at = datetime.fromisoformat(plain)
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is no time: 2026-11-22T10:05, 90m (ago), now, or seconds since 1970"
        ) from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _shown(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
