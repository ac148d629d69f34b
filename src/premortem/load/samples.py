"""Latencies on their way to the histograms.

Counting one takes 0.3 to 0.5 µs of Python; appending it to a list a tenth of that, and a list of
hundreds is counted mostly in C, as equal microseconds are counted together first.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from premortem.load.stats import NAMES_MAX, Histogram, Second, Tally, bucket

__all__ = ["SAMPLES_MAX", "Samples", "count"]

SAMPLES_MAX = 256
"""Kept before they are counted, which then takes some 0.2 ms: far less than what a user may be
late."""


def count(values_us: list[float], histogram: Histogram) -> None:
    """Move values, in microseconds, from the list to the histogram.

    >>> values, h = [1.2, 1.7, 5000.0], Histogram()
    >>> count(values, h)
    >>> values, dict(h.counts) == {1: 2, bucket(5000): 1}
    ([], True)
    """
    counts = histogram.counts
    for value_us, times in Counter(map(int, values_us)).items():
        counts[bucket(value_us)] += times
    values_us.clear()


class Samples:
    """What the fast lane measured and has not counted yet, in microseconds."""

    __slots__ = ("lag", "names", "service")

    def __init__(self) -> None:
        self.lag: list[float] = []
        self.service: list[float] = []
        self.names: defaultdict[str, list[float]] = defaultdict(list)
        """Response times by request name."""

    def settle(self, tally: Tally, row: Second) -> None:
        """Count everything: names into the second that is under way."""
        count(self.lag, tally.lag)
        count(self.service, tally.service)
        for name, values_us in self.names.items():
            if values_us:
                count(values_us, row.names[name])
        if len(self.names) > NAMES_MAX:  # names without end, as a product id in each
            self.names.clear()
