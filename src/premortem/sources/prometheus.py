"""Any Prometheus exporter: a mapping turns its series into our names.

The mapping is read like ``{"host.load_per_core": "node_load1"}`` or
``{"db.up": 'pg_up{server="a"}'}``; of several series that match, the sum counts. ``rate(...)``
around a series takes its growth per second. The format:
https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from premortem.model import Metric, Reading
from premortem.sources._http import FetchError, checked, get
from premortem.sources._rates import Counters

__all__ = ["METRICS", "UNREACHABLE", "Prometheus", "Wanted", "samples", "wanted"]

METRICS: tuple[Metric, ...] = ()
"""It has no names of its own: it fills those that others declare."""

UNREACHABLE = {"url": "http://127.0.0.1:1/metrics", "mapping": {"host.load_per_core": "node_load1"}}

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*,?')
_SELECTOR = re.compile(rf"({_NAME})\s*(?:\{{(.*)\}})?")
_SAMPLE = re.compile(rf'({_NAME})\s*(?:\{{((?:[^"}}]|"(?:[^"\\]|\\.)*")*)\}})?\s+(\S+)')
_ESCAPES = {r"\n": "\n", r"\"": '"', r"\\": "\\"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A series by name and by the labels it must have."""

    series: str
    labels: Mapping[str, str]
    rate: bool


@dataclass(slots=True)
class Prometheus:
    """Scrapes one exporter."""

    name: ClassVar[str] = "prometheus"

    url: str
    mapping: Mapping[str, str]
    """Our metric → their series."""
    interval_s: float = 5.0
    timeout_s: float = 2.0
    target: str = field(init=False)
    _wanted: dict[str, Wanted] = field(init=False, repr=False)
    _counters: Counters = field(init=False, repr=False, default_factory=Counters)

    def __post_init__(self) -> None:
        """Raises ``ValueError`` for a bad URL or a series that is not understood."""
        self.target = checked(self.url)
        self._wanted = {metric: wanted(text) for metric, text in self.mapping.items()}

    async def read(self, now: float) -> Reading:
        """One scrape; series that are absent are named in the error."""
        try:
            status, page = await get(self.url, self.timeout_s)
        except FetchError as problem:
            return Reading(self.name, self.target, now, error=str(problem))
        if status != 200:
            return Reading(self.name, self.target, now, error=f"status {status}")
        sums = self._sums(page)
        rated = {m: v for m, v in sums.items() if self._wanted[m].rate}
        elapsed_s, grown = self._counters.growth(time.perf_counter(), rated)
        values = {m: v for m, v in sums.items() if m not in rated}
        values |= {m: v / elapsed_s for m, v in grown.items()} if elapsed_s else {}
        absent = sorted({w.series for m, w in self._wanted.items() if m not in sums})
        error = f"no series {', '.join(absent)}" if absent else None
        return Reading(self.name, self.target, now, values, error=error)

    async def close(self) -> None:
        """Nothing is kept open."""

    def _sums(self, page: str) -> dict[str, float]:
        names = {w.series for w in self._wanted.values()}
        sums: dict[str, float] = {}
        for series, labels, value in samples(page):
            if series not in names:
                continue
            for metric, w in self._wanted.items():
                if w.series == series and w.labels.items() <= labels.items():
                    sums[metric] = sums.get(metric, 0.0) + value
        return sums


def wanted(text: str) -> Wanted:
    """Reads a series of the mapping. Raises ``ValueError``.

    >>> wanted('rate(http_requests_total{code="500"})')
    Wanted(series='http_requests_total', labels={'code': '500'}, rate=True)
    """
    bare = text.strip()
    rate = bare.startswith("rate(") and bare.endswith(")")
    found = _SELECTOR.fullmatch(bare[5:-1].strip() if rate else bare)
    if found is None or _LABEL.sub("", found[2] or "").strip():
        raise ValueError(f'{text!r} is not like name, name{{label="value"}} or rate(name)')
    return Wanted(found[1], _labels(found[2] or ""), rate)


def samples(page: str) -> Iterator[tuple[str, Mapping[str, str], float]]:
    """Name, labels and value of each sample of an exposition; lines that are none are passed over.

    >>> list(samples('# HELP x y\\nx{a="b"} 3 1700000000\\nbroken'))
    [('x', {'a': 'b'}, 3.0)]
    """
    for line in page.splitlines():
        found = None if line.startswith("#") else _SAMPLE.match(line)
        if found is None:
            continue
        try:
            value = float(found[3])
        except ValueError:
            continue
        yield found[1], _labels(found[2] or ""), value


def _labels(text: str) -> dict[str, str]:
    return {
        k: re.sub(r"\\.", lambda m: _ESCAPES.get(m[0], m[0]), v) for k, v in _LABEL.findall(text)
    }
