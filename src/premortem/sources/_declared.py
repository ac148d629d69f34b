"""Every series that any source declares, collected by file name."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from premortem import parts
from premortem.model import Metric

__all__ = ["DuplicateMetric", "declared_by_source", "declared_metrics", "unique"]


class DuplicateMetric(ValueError):
    """Two declarations of one name: nobody could say whose value it is."""


def unique(declared: Iterable[tuple[str, tuple[Metric, ...]]]) -> tuple[Metric, ...]:
    """All metrics in order of their names. Raises ``DuplicateMetric``."""
    owner: dict[str, str] = {}
    found: list[Metric] = []
    for source, metrics in declared:
        for metric in metrics:
            if metric.name in owner:
                raise DuplicateMetric(
                    f"{metric.name} is declared by {owner[metric.name]} and by {source}"
                )
            owner[metric.name] = source
            found.append(metric)
    return tuple(sorted(found, key=lambda m: m.name))


def declared_by_source() -> dict[str, tuple[Metric, ...]]:
    """The ``METRICS`` of each source, by the source's name."""
    return {name: m.METRICS for name, m in parts.modules("premortem.sources").items()}


@cache
def declared_metrics() -> tuple[Metric, ...]:
    """What a ``History`` needs to know: every metric of every source, by name."""
    return unique(declared_by_source().items())
