"""A short way to write a past of one or two metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from premortem.model import History, Metric, Reading

Past = Callable[..., History]


@pytest.fixture
def past() -> Past:
    """``past(m=[…], limit=[…])``: one sample a second each, the last one now; ``_`` reads ``.``."""

    def make(*, now: float | None = None, **series: Sequence[float]) -> History:
        names = {key.replace("_", "."): values for key, values in series.items()}
        history = History([Metric(name, "things", "Any.") for name in names])
        longest = max(len(values) for values in names.values())
        for name, values in names.items():
            for i, value in enumerate(values):
                at = 1000.0 + longest - len(values) + i
                history.observe(Reading("test", "site", at, {name: float(value)}))
        if now is not None:
            history.advance(1000.0 + now)
        return history

    return make
