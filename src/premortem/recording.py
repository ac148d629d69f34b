"""Recordings: JSON Lines, a header and then one Reading a line. Pure: text in, nouns out.

The format is part of the project's contract, so that anything that can be turned into it
(a Prometheus export, a colleague's CSV) can be diagnosed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

from premortem.model import Reading

__all__ = ["HEADER_KEY", "BadRecording", "by_tick", "decode", "encode", "header", "parse"]

HEADER_KEY = "premortem_recording"


class BadRecording(ValueError):
    """A recording that cannot be read: says which line and what was expected."""


def header(interval_s: float = 1.0) -> str:
    """The first line of a recording.

    >>> header()
    '{"premortem_recording": 1, "interval_s": 1.0}'
    """
    return json.dumps({HEADER_KEY: 1, "interval_s": interval_s})


def encode(reading: Reading) -> str:
    """One Reading as one line, without the line break. Values that are not finite are left out."""
    line: dict[str, Any] = {
        "source": reading.source,
        "target": reading.target,
        "at": round(reading.at, 3),
        "values": {k: _short(v) for k, v in reading.values.items() if math.isfinite(v)},
    }
    if reading.rows:
        line["rows"] = [dict(row) for row in reading.rows]
    if reading.error is not None:
        line["error"] = reading.error
    return json.dumps(line, default=str)


def _short(value: float) -> float:
    """Six significant digits: what a measurement is worth, and a third of the bytes."""
    return float(f"{value:.6g}")


def decode(line: str, number: int = 0) -> Reading:
    """One line back to a Reading. Raises :class:`BadRecording` with the line's number.

    >>> decode('{"source": "host", "target": "a", "at": 1, "values": {"db.up": 0.5}}').values
    {'db.up': 0.5}
    """
    try:
        raw = json.loads(line)
    except ValueError as error:
        raise BadRecording(f"line {number}: not JSON ({error})") from None
    if not isinstance(raw, dict):
        raise BadRecording(f"line {number}: expected an object with source, target, at, values")
    at = raw.get("at")
    if not isinstance(at, (int, float)) or isinstance(at, bool):
        raise BadRecording(f"line {number}: 'at' must be seconds since 1970, got {at!r}")
    values = raw.get("values") or {}
    if not isinstance(values, dict):
        raise BadRecording(f"line {number}: 'values' must be an object of metric: number")
    failure = raw.get("error")
    rows = raw.get("rows") or ()
    if not isinstance(rows, (list, tuple)):
        raise BadRecording(f"line {number}: 'rows' must be a list of objects")
    return Reading(
        source=str(raw.get("source", "recording")),
        target=str(raw.get("target", "")),
        at=float(at),
        values={str(k): float(v) for k, v in values.items() if _is_number(v)},
        rows=tuple(row for row in rows if isinstance(row, dict)),
        error=None if failure is None else str(failure),
    )


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def parse(lines: Iterable[str]) -> Iterator[Reading]:
    """A whole recording, header first. A last line cut short (kill -9) is left out."""
    pending: BadRecording | None = None
    number = 0
    for number, line in enumerate(lines, start=1):
        if pending is not None:
            raise pending
        if not line.strip():
            continue
        if number == 1:
            _check_header(line)
            continue
        try:
            reading = decode(line, number)
        except BadRecording as mistake:
            pending = mistake  # forgiven if nothing follows it
            continue
        yield reading
    if number == 0:
        raise BadRecording('empty: the first line must be {"premortem_recording": 1, …}')


def _check_header(line: str) -> None:
    try:
        raw = json.loads(line)
    except ValueError:
        raw = None
    if not isinstance(raw, dict) or raw.get(HEADER_KEY) != 1:
        raise BadRecording(
            'line 1: not a premortem recording; it must be {"premortem_recording": 1, …}'
        )


def by_tick(
    readings: Iterable[Reading], interval_s: float = 1.0
) -> Iterator[tuple[float, list[Reading]]]:
    """Group readings into the ticks the loop would have seen: ``(end of the tick, readings)``.

    Silence is passed on as empty ticks, at most 60 in a row, so that causes see evidence age.
    Readings out of order join the tick that is open.
    """
    end: float | None = None
    batch: list[Reading] = []
    for reading in readings:
        if not math.isfinite(reading.at):
            continue
        if end is None:
            end = reading.at + interval_s
        empties = 0
        while reading.at >= end:
            yield end, batch
            batch = []
            end += interval_s
            empties += 1
            if empties >= 60:
                end = reading.at + interval_s
        batch.append(reading)
    if end is not None:
        yield end, batch
