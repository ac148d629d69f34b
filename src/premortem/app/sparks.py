"""A line of bars for terminals."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["sparkline"]

SPARKS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int) -> str:
    """The last ``width`` values as bars, scaled to the highest.

    >>> sparkline([0, 1, 2, 4], 4)
    '▁▃▅█'
    """
    shown = list(values)[-width:]
    top = max(shown, default=0) or 1
    return "".join(SPARKS[min(7, int(v / top * 7 + 0.5))] for v in shown)
