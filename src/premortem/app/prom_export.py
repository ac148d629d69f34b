"""Prometheus' answers (range-query JSON) as readings. Pure.

The answer of ``/api/v1/query_range``, and of ``/api/v1/query`` for ``name[5m]``, is a matrix: of
every series its labels and its ``[time, "value"]`` pairs. Series that premortem wrote are known by
their names and come back as the readings they were; foreign ones need a mapping
(``sources/mappings/``, or one's own in the same form).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from premortem.app.series_names import READING, names_back
from premortem.model import Reading
from premortem.recording import BadRecording
from premortem.sources._expression import Expression, Past, Sample, Scene

__all__ = ["held", "looks_like_export", "matrix", "our_readings", "readings", "their_readings"]

HOLD_FROM_S = 2.0
"""Samples further apart than this are held until the next: causes look back some seconds."""
HOLD_MAX_S = 300.0
"""Prometheus itself takes a sample to hold for five minutes (``--query.lookback-delta``)."""

Series = tuple[Mapping[str, str], Sequence[tuple[float, float]]]
"""Labels, and (seconds since 1970, value) in order."""


def looks_like_export(beginning: str) -> bool:
    """Whether a file that begins so is an answer of Prometheus rather than a recording."""
    start = beginning.lstrip()
    marks = ('"status"', '"data"', '"resultType"', '"result"', '"metric"')
    return start[:1] in ("{", "[") and any(mark in start for mark in marks)


def matrix(text: str) -> list[Series]:
    """The series of an answer. Raises :class:`BadRecording` with one line."""
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise BadRecording(f"neither a recording nor JSON of Prometheus ({error})") from None
    if isinstance(raw, dict) and raw.get("status") == "error":
        raise BadRecording(f"Prometheus answered with an error: {raw.get('error')}")
    data = raw.get("data", raw) if isinstance(raw, dict) else raw
    if isinstance(data, dict) and data.get("resultType", "matrix") != "matrix":
        kind = data["resultType"]
        raise BadRecording(f"holds a {kind}; a matrix is needed: ask /api/v1/query_range")
    result = data.get("result") if isinstance(data, dict) else data
    if not isinstance(result, list):
        raise BadRecording('no "data": {"resultType": "matrix", "result": [...]} in it')
    return [_one_series(number, item) for number, item in enumerate(result)]


def _one_series(number: int, item: Any) -> Series:
    try:
        labels = {str(k): str(v) for k, v in item["metric"].items()}
        points = sorted((float(at), float(value)) for at, value in item["values"])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise BadRecording(
            f'series {number}: expected {{"metric": {{...}}, "values": [[time, "value"], ...]}}'
        ) from None
    return labels, [p for p in points if math.isfinite(p[0])]


def readings(
    series: Sequence[Series],
    declared: Iterable[str],
    mapping: Mapping[str, Expression] | None = None,
) -> list[Reading]:
    """Every reading in it, oldest first: ours by name, theirs by ``mapping``.

    Raises :class:`BadRecording` when nothing in it is known.
    """
    ours = our_readings(series, declared)
    theirs = their_readings(series, mapping) if mapping else []
    if not ours and not theirs:
        seen = ", ".join(sorted({labels.get("__name__", "?") for labels, _ in series})[:5])
        raise BadRecording(
            f"no series premortem knows (it has: {seen or 'none'}); "
            "give --map node_exporter, nginx, postgres_exporter or a FILE.toml"
        )
    return sorted([*ours, *held(theirs)], key=lambda r: r.at)


# -- ours


def our_readings(series: Iterable[Series], declared: Iterable[str]) -> list[Reading]:
    """What premortem wrote, reading by reading: same source, target and instant belong together."""
    known = names_back(declared)
    values: dict[tuple[str, str, float], dict[str, float]] = {}
    errors: dict[tuple[str, str, float], str] = {}
    for labels, points in series:
        name = labels.get("__name__", "")
        where = labels.get("source", ""), labels.get("target", "")
        metric = known.get(name)
        for at, value in points:
            key = (*where, at)
            if name == READING:
                values.setdefault(key, {})
                if labels.get("error"):
                    errors[key] = labels["error"]
            elif metric is not None:
                values.setdefault(key, {})[metric] = value
    return [
        Reading(source, target, at, found, error=errors.get((source, target, at)))
        for (source, target, at), found in sorted(values.items(), key=lambda item: item[0][2])
    ]


# -- theirs


def their_readings(series: Iterable[Series], mapping: Mapping[str, Expression]) -> list[Reading]:
    """One reading an instant and instance, of what the mapping can tell then."""
    wanted = {name for e in mapping.values() for name in e.series}
    instants: dict[str, dict[float, list[Sample]]] = {}
    for labels, points in series:
        name = labels.get("__name__", "")
        if name not in wanted:
            continue
        by_time = instants.setdefault(labels.get("instance", "prometheus"), {})
        plain = {k: v for k, v in labels.items() if k != "__name__"}
        for at, value in points:
            by_time.setdefault(at, []).append((name, plain, value))
    return [r for target, by_time in instants.items() for r in _walk(target, by_time, mapping)]


def _walk(
    target: str, by_time: Mapping[float, list[Sample]], mapping: Mapping[str, Expression]
) -> Iterator[Reading]:
    past = Past()
    for at in sorted(by_time):
        scene = Scene.of(at, by_time[at], past)
        past = scene.passed()
        values = {m: v for m, e in mapping.items() if (v := e.value(scene)) is not None}
        if values:
            yield Reading("prometheus", target, at, values)


def held(readings: Sequence[Reading]) -> Iterator[Reading]:
    """Coarse samples, repeated each second until the next (of a target), within ``HOLD_MAX_S``.

    A verdict can then rest on one coarse sample; finer ones make it surer.
    """
    by_target: dict[str, list[Reading]] = {}
    for reading in readings:
        by_target.setdefault(reading.target, []).append(reading)
    for group in by_target.values():
        usual_s = _step_s(group)
        following = [r.at for r in group[1:]] + [group[-1].at + usual_s]
        for reading, until in zip(group, following, strict=True):
            yield reading
            if usual_s >= HOLD_FROM_S:
                yield from _repeats(reading, min(until, reading.at + min(2 * usual_s, HOLD_MAX_S)))


def _step_s(group: Sequence[Reading]) -> float:
    """The usual distance of samples: the median."""
    gaps = sorted(b.at - a.at for a, b in pairwise(group))
    return gaps[len(gaps) // 2] if gaps else 0.0


def _repeats(reading: Reading, until: float) -> Iterator[Reading]:
    for second in range(1, math.ceil(until - reading.at)):
        yield Reading(reading.source, reading.target, reading.at + second, reading.values)
