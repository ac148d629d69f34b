"""Our metrics as Prometheus series, and back. Pure.

``db.connections.used`` becomes ``premortem_db_connections_used{site,source,target}``. Both ``.``
and ``_`` become ``_``, so the way back goes over the names that sources declare; a test keeps them
apart. One more series, ``premortem_reading``, holds a sample for every reading; its label
``error`` says what the source could not see: a failure is evidence and must survive the journey.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

__all__ = [
    "PREFIX",
    "READING",
    "clash",
    "error_label",
    "names_back",
    "series_name",
]

PREFIX = "premortem_"
READING = "premortem_reading"
"""One sample for every reading; 0 with the label ``error`` when the source failed, else 1."""
ERROR_CHARS_MAX = 200

_FIGURE = re.compile(
    r"(?P<code>(?:^|(?<=[;:] ))[0-9A-Z]{5}(?= )"  # a SQLSTATE, where a sentence begins
    r"|(?:(?<=status )|(?<=shed: ))\d{3}\b)"  # an HTTP status
    r"|(?<!\w)\d[\d.]*"
)


def series_name(metric: str) -> str:
    """The series of a metric.

    >>> series_name("db.connections.used")
    'premortem_db_connections_used'
    """
    return PREFIX + metric.replace(".", "_")


def names_back(metrics: Iterable[str]) -> Mapping[str, str]:
    """Series → metric, for the metrics that are declared."""
    return {series_name(m): m for m in metrics}


def clash(metrics: Iterable[str]) -> tuple[str, str] | None:
    """Two metrics that would share a series, if there are any.

    >>> clash(["db.wait.cpu", "db.wait_cpu"])
    ('db.wait.cpu', 'db.wait_cpu')
    """
    owner = {READING: READING}
    for metric in metrics:
        other = owner.setdefault(series_name(metric), metric)
        if other != metric:
            return other, metric
    return None


def error_label(error: str | None) -> str:
    """An error as a label: its figures become ``#``, or every second would make a new series.

    Codes stay (SQLSTATE, HTTP status): causes are judged by them.

    >>> error_label("53300 too many connections: 97 of 97 slots taken; no reply for 1.3 s")
    '53300 too many connections: # of # slots taken; no reply for # s'
    >>> error_label("status 503"), error_label("connect timeout after 0.87 s"), error_label(None)
    ('status 503', 'connect timeout after # s', '')
    """
    if not error:
        return ""
    return _FIGURE.sub(lambda m: m["code"] or "#", error[:ERROR_CHARS_MAX])
