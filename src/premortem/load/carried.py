"""Results as plain data, to be carried between machines. Exact: counts are whole numbers. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from premortem.load.attack import Result
from premortem.load.stats import Arrived, Histogram, Second, Tally

__all__ = ["result_from", "result_to", "second_from", "second_to"]

HISTOGRAMS = ("service", "lag", "wait", "refusals")


def second_to(row: Second) -> dict[str, Any]:
    """A second that is over."""
    return {
        "second": row.second,
        "cpu_ratio": row.cpu_ratio,
        "response": row.response.export(),
        **{name: getattr(row, name) for name in Second.COUNTS},
    }


def second_from(data: Mapping[str, Any]) -> Second:
    """The inverse of :func:`second_to`. Raises ``KeyError``, ``TypeError`` or ``ValueError``."""
    row = Second(int(data["second"]))
    for name in Second.COUNTS:
        setattr(row, name, int(data[name]))
    row.cpu_ratio = float(data["cpu_ratio"])
    row.response = Histogram.load(data["response"])
    return row


def _tally_to(tally: Tally) -> dict[str, Any]:
    return {
        "seconds": [second_to(row) for row in tally.seconds.values()],
        "arrived": [row.line() for row in tally.arrived.values()],
        "names": {name: histogram.export() for name, histogram in tally.names.items()},
        **{name: getattr(tally, name).export() for name in HISTOGRAMS},
        "errors": dict(tally.errors),
        "first_failed_s": tally.first_failed_s,
    }


def _tally_from(data: Mapping[str, Any]) -> Tally:
    seconds = [second_from(row) for row in data["seconds"]]
    arrived = [Arrived(**row) for row in data["arrived"]]
    return Tally(
        {row.second: row for row in seconds},
        {row.second: row for row in arrived},
        {name: Histogram.load(counts) for name, counts in data["names"].items()},
        **{name: Histogram.load(data[name]) for name in HISTOGRAMS},
        errors=Counter(data["errors"]),
        first_failed_s=data["first_failed_s"],
    )


def result_to(result: Result) -> dict[str, Any]:
    """A whole result."""
    return {
        "tally": _tally_to(result.tally),
        "started_at": result.started_at,
        "elapsed_s": result.elapsed_s,
        "cpu_ratio": result.cpu_ratio,
        "cpu_ratio_peak": result.cpu_ratio_peak,
        "reasons": list(result.reasons),
        "limits": sorted(result.limits),
        "stopped": result.stopped,
    }


def result_from(data: Mapping[str, Any]) -> Result:
    """The inverse of :func:`result_to`. Raises ``KeyError``, ``TypeError`` or ``ValueError``."""
    return Result(
        _tally_from(data["tally"]),
        float(data["started_at"]),
        float(data["elapsed_s"]),
        float(data["cpu_ratio"]),
        float(data["cpu_ratio_peak"]),
        tuple(data["reasons"]),
        frozenset(data["limits"]),
        bool(data["stopped"]),
    )
