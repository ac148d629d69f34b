"""Which charts a result is shown by. Pure: documents in, charts out."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from premortem.load.levels import RESOURCES, WORDS
from premortem.load.outputs.document import Document
from premortem.load.outputs.svg import Band, Chart, Level, Series

__all__ = ["charts_of"]

POINTS_MAX = 240
"""A run of an hour has 3600 seconds and a screen 700 pixels: neighbours are averaged."""
KINDS = ("served", "failed", "fourth", "refused", "fifth")


def charts_of(document: Document) -> list[Chart]:
    """The charts of a run, a search or a comparison."""
    known = {"run": _of_run, "search": _of_search, "compare": _of_compare}
    return known[document["kind"]](document)


def _thinned(
    rows: Sequence[Mapping[str, Any]], key: str, fold: Callable[[list[float]], float]
) -> tuple[tuple[float, float], ...]:
    step = math.ceil(len(rows) / POINTS_MAX) or 1
    found = []
    for first in range(0, len(rows), step):
        part = [row for row in rows[first : first + step] if row.get(key) is not None]
        if part:
            found.append((float(part[0]["second"]), fold([float(row[key]) for row in part])))
    return tuple(found)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _of_run(document: Document) -> list[Chart]:
    rows = [row for row in document["rows"] if row["second"] < document["seconds"]]
    users = tuple(
        Series(name, name, _thinned(rows, name, _mean))
        for name in ("offered", "served", "refused", "failed")
        if name in ("offered", "served") or any(row[name] for row in rows)
    )
    times = (
        Series("p50", "served", _thinned(rows, "p50_ms", _mean)),
        Series("p99", "failed", _thinned(rows, "p99_ms", max)),
    )
    flight = (Series("in flight", "fourth", _thinned(rows, "in_flight", max)),)
    return [
        Chart("What became of the users", "seconds", "users/s", users),
        Chart("How long they waited", "seconds", "ms", times, _limits(document), log_y=True),
        Chart("Users on their journey", "seconds", "users", flight),
    ]


def _limits(document: Document) -> tuple[Level, ...]:
    levels = []
    for bar in document["bars"]:
        found = re.match(r"(p[\d.]+|max)\s*<=?\s*([\d.]+)\s*(ms|s)\b", bar["text"])
        if found:
            levels.append(
                Level(float(found[2]) * (1000.0 if found[3] == "s" else 1.0), bar["text"])
            )
    return tuple(levels)


def _of_search(document: Document) -> list[Chart]:
    trials = sorted(document["trials"], key=lambda t: float(t["users_per_s"]))
    knee = document["knee"]
    bands: tuple[Band, ...] = ()
    if not knee["abstained"]:
        bands = (Band(knee["low_per_s"], knee["high_per_s"], f"knee {knee['users_per_s']:.4g}/s"),)
    top = max((t["users_per_s"] for t in trials), default=1.0)
    ideal = Series("offered", "offered", ((0.0, 0.0), (top, top)))
    served = _over(trials, "served_per_s")
    times = (
        Series("p50", "served", _over(trials, "p50_ms")),
        Series("p99", "failed", _over(trials, "p99_ms")),
    )
    limit = re.search(r"<=?\s*([\d.]+)\s*(ms|s)\b", document["promise"])
    levels: tuple[Level, ...] = ()
    if limit:
        scale = 1000.0 if limit[2] == "s" else 1.0
        levels = (Level(float(limit[1]) * scale, document["promise"]),)
    label = "users/s offered"
    return [
        Chart(
            "What came out of what went in", label, "users/s",
            (ideal, Series("served", "served", served), Series("", "served", served, "dots")),
            bands=bands,
        ),
        Chart("How long it took", label, "ms", times, levels, bands, log_y=True),
        *_of_levels(trials, bands, label),
        *_of_series(document),
    ]  # fmt: skip


def _over(trials: Sequence[Mapping[str, Any]], key: str) -> tuple[tuple[float, float], ...]:
    return tuple((float(t["users_per_s"]), float(t[key])) for t in trials if t.get(key) is not None)


def _of_levels(
    trials: Sequence[Mapping[str, Any]], bands: tuple[Band, ...], label: str
) -> list[Chart]:
    """The five resources that got fullest; times of answer have another unit and are left out."""
    full = {r.name: r for r in RESOURCES if r.kind != "latency"}
    lines = {
        name: tuple(
            (float(t["users_per_s"]), 100.0 * t["levels"][name])
            for t in trials
            if name in t["levels"]
        )
        for name in full
    }
    known = [name for name, points in lines.items() if points]
    fullest = sorted(known, key=lambda name: -max(y for _, y in lines[name]))[: len(KINDS)]
    series = tuple(Series(name, KINDS[i], lines[name]) for i, name in enumerate(fullest))
    if not series:
        return []
    words = "; ".join(f"{name}: {WORDS[name]}" for name in fullest)
    return [
        Chart(f"How full each resource was ({words})", label, "%", series, bands=bands, y_top=100.0)
    ]


def _of_compare(document: Document) -> list[Chart]:
    sides = (("baseline", "served"), ("candidate", "failed"))
    series = tuple(
        Series(
            name,
            kind,
            tuple((float(i + 1), float(v)) for i, v in enumerate(document[name])),
            "dots",
        )
        for name, kind in sides
    )
    return [Chart("Each run of the two", "run", document["unit"], series)]


def _of_series(document: Document) -> list[Chart]:
    """The knees kept so far, and where they changed."""
    history = document.get("history") or []
    if len(history) < 2:
        return []
    points = tuple((float(i + 1), float(entry["value"])) for i, entry in enumerate(history))
    marks = tuple(
        Band(float(i) + 0.5, float(i) + 0.5, "changed here")
        for i in document.get("change_points", ())
    )
    line = (Series("", "served", points), Series("", "served", points, "dots"))
    return [Chart("The knees of this site so far", "search", "users/s", line, bands=marks)]
