"""What each statement did since the last look, from totals that only grow. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

__all__ = ["Grown", "Statements", "statement_values"]


@dataclass(frozen=True, slots=True)
class Grown:
    """One statement between two looks. Time counts when a statement ends."""

    queryid: int
    calls: float
    ms: float
    rows: float

    @property
    def mean_ms(self) -> float:
        return self.ms / self.calls


@dataclass(slots=True)
class Statements:
    """Remembers the last totals of every statement."""

    _at: float | None = None
    _totals: dict[int, tuple[float, float, float]] = field(default_factory=dict)

    def look(
        self,
        at: float,
        ids: Sequence[int],
        calls: Sequence[float],
        ms: Sequence[float],
        rows: Sequence[float],
    ) -> tuple[float, list[Grown]]:
        """Seconds since the last look and what grew, the most time first.

        A statement that is new since then counts from zero; one whose totals went back was reset
        and is left out. The first look knows nothing.
        """
        before, since = self._totals, self._at
        self._totals = dict(zip(ids, zip(calls, ms, rows, strict=True), strict=True))
        self._at = at
        if since is None or at <= since:
            return 0.0, []
        zero = (0.0, 0.0, 0.0)
        grown = [
            Grown(i, now[0] - was[0], now[1] - was[1], now[2] - was[2])
            for i, now in self._totals.items()
            if (was := before.get(i, zero)) and now[0] > was[0] and now[1] >= was[1]
        ]
        return at - since, sorted(grown, key=lambda g: -g.ms)

    def forget(self) -> None:
        """Drop the totals."""
        self._at, self._totals = None, {}


def statement_values(
    elapsed_s: float, grown: Sequence[Grown], ours: Collection[int] = ()
) -> dict[str, float]:
    """``db.statements.*`` of what grew, our own statements left out.

    >>> g = [Grown(1, 10, 90.0, 10), Grown(2, 40, 10.0, 40)]
    >>> statement_values(5.0, g)["db.statements.mean_ms"]
    2.0
    """
    theirs = [g for g in grown if g.queryid not in ours]
    if elapsed_s <= 0:
        return {}
    if not theirs:
        return {"db.statements.calls_per_s": 0.0}
    top, whole_ms = theirs[0], sum(g.ms for g in theirs)
    calls = sum(g.calls for g in theirs)
    return {
        "db.statements.calls_per_s": calls / elapsed_s,
        "db.statements.mean_ms": whole_ms / calls,
        "db.statements.top_time_share": top.ms / whole_ms if whole_ms else 0.0,
        "db.statements.top_mean_ms": top.mean_ms,
        "db.statements.top_calls_per_s": top.calls / elapsed_s,
    }
