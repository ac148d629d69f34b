"""Any Prometheus exporter: a mapping turns its series into our names.

A mapping is read like ``{"host.load_per_core": "node_load1 / 4"}``; what may stand on the right is
told in ``_expression``. Ready for use by name: ``node_exporter``, ``nginx``, ``postgres_exporter``
(the files in ``mappings/``). The format that is scraped:
https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import re
import time
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import ClassVar

from premortem.model import Metric, Reading
from premortem.sources._expression import NAME, Expression, Past, Sample, Scene, labels_of, parse
from premortem.sources._http import FetchError, checked, get

__all__ = ["METRICS", "UNREACHABLE", "Prometheus", "mapping_from", "ready_mappings", "samples"]

METRICS: tuple[Metric, ...] = ()
"""It has no names of its own: it fills those that others declare."""

UNREACHABLE = {"url": "http://127.0.0.1:1/metrics", "mapping": {"host.load_per_core": "node_load1"}}

_SAMPLE = re.compile(rf'({NAME})\s*(?:\{{((?:[^"}}]|"(?:[^"\\]|\\.)*")*)\}})?\s+(\S+)')


@dataclass(slots=True)
class Prometheus:
    """Scrapes one exporter."""

    name: ClassVar[str] = "prometheus"

    url: str
    mapping: Mapping[str, str] | str
    """Our metric → an expression over their series, or the name of a ready mapping."""
    interval_s: float = 5.0
    timeout_s: float = 2.0
    target: str = field(init=False)
    _wanted: dict[str, Expression] = field(init=False, repr=False)
    _past: Past = field(init=False, repr=False, default_factory=Past)

    def __post_init__(self) -> None:
        """Raises ``ValueError`` for a bad URL or mapping."""
        self.target = checked(self.url)
        self._wanted = mapping_from(self.mapping)

    async def read(self, now: float) -> Reading:
        """One scrape; what cannot be told for want of a series is in the rows."""
        try:
            status, page = await get(self.url, self.timeout_s)
        except FetchError as problem:
            return Reading(self.name, self.target, now, error=str(problem))
        if status != 200:
            return Reading(self.name, self.target, now, error=f"status {status}")
        series = {name for e in self._wanted.values() for name in e.series}
        found = (s for s in samples(page) if s[0] in series)
        scene = Scene.of(time.perf_counter(), found, self._past)
        self._past = scene.passed()
        values = {m: v for m, e in self._wanted.items() if (v := e.value(scene)) is not None}
        error = None if scene.by_name else "none of the wanted series: is it the right exporter?"
        return Reading(self.name, self.target, now, values, self._lacks(scene, values), error)

    async def close(self) -> None:
        """Nothing is kept open."""

    def _lacks(self, scene: Scene, known: Mapping[str, float]) -> tuple[dict[str, object], ...]:
        unknown = (e for m, e in self._wanted.items() if m not in known)
        absent = sorted({name for e in unknown for name in e.series if name not in scene.by_name})
        return tuple({"kind": "lack", "text": f"no series {name}"} for name in absent)


def samples(page: str) -> Iterator[Sample]:
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
        yield found[1], labels_of(found[2] or ""), value


@cache
def ready_mappings() -> tuple[str, ...]:
    """The names of the mappings that come with premortem."""
    there = (files("premortem.sources") / "mappings").iterdir()
    return tuple(sorted(f.name.removesuffix(".toml") for f in there if f.name.endswith(".toml")))


def mapping_from(mapping: Mapping[str, str] | str) -> dict[str, Expression]:
    """A mapping by its name or its content. Raises ``ValueError`` with one line."""
    if isinstance(mapping, str):
        if mapping not in ready_mappings():
            there = ", ".join(ready_mappings())
            raise ValueError(f"no mapping is called {mapping!r}; there are: {there}")
        text = (files("premortem.sources") / "mappings" / f"{mapping}.toml").read_text()
        mapping = tomllib.loads(text)
    return {metric: parse(text) for metric, text in mapping.items()}
