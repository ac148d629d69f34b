"""How much more is asked for and done than usual: traffic tells a surge from a slower query."""

from __future__ import annotations

from dataclasses import dataclass

from premortem.causes._verdict import fact, growth, level, num, rise, usual
from premortem.model import Evidence, History

__all__ = ["FLAT", "Traffic", "demand_growth", "traffic", "unique_growth"]

FLAT = 1.3
"""Below this growth traffic counts as flat: median of four Poisson samples at 30/s is +-15 %."""
OPENED_USUAL_MIN_PER_S = 2.0
"""New sessions count as traffic only where the site opens one a request anyway."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Growth of what arrives (``offered``) and of what the database completes (``done``)."""

    offered: float | None
    done: float | None
    metric: str
    """The metric that grew most, for the evidence."""

    @property
    def most(self) -> float | None:
        known = [g for g in (self.offered, self.done) if g is not None]
        return max(known) if known else None

    @property
    def risen(self) -> bool:
        return self.most is not None and self.most >= FLAT

    @property
    def flat(self) -> bool:
        """Measured flat: arrivals known and not risen (completions alone are capped)."""
        return self.offered is not None and not self.risen

    def evidence(self, history: History) -> Evidence | None:
        """The growth as a fact, where it is known."""
        now = level(history, self.metric) if self.metric else None
        if now is None or self.most is None:
            return None
        note = f"{self.metric} is {num(now)} per second, {num(self.most)} times the usual"
        return fact(history, self.metric, now, usual(history, self.metric) or 0.0, note)


def traffic(history: History) -> Traffic:
    """Growth of arrivals and completions against what is usual."""
    offered = {"web.requests_per_s": rise(history, "web.requests_per_s", floor=1.0)}
    if (usual(history, "db.connections.opened_per_s") or 0.0) >= OPENED_USUAL_MIN_PER_S:
        opened = rise(history, "db.connections.opened_per_s", floor=1.0)
        offered["db.connections.opened_per_s"] = opened
    done = {
        "db.transactions_per_s": rise(history, "db.transactions_per_s", floor=1.0),
        "db.statements.calls_per_s": rise(history, "db.statements.calls_per_s", floor=1.0),
    }
    known = {n: g for n, g in {**offered, **done}.items() if g is not None}
    top = max(known, key=lambda n: known[n]) if known else ""
    return Traffic(_most(offered), _most(done), top)


def _most(growths: dict[str, float | None]) -> float | None:
    known = [g for g in growths.values() if g is not None]
    return max(known) if known else None


def demand_growth(history: History) -> float | None:
    """Growth of the CPU one transaction costs, S = U / X (utilisation law); queues do not move it.

    ``None`` unless CPU and transactions and their usual values are measured.
    """
    busy = growth(history, "db.cpu.busy_ratio", floor=0.02)
    done = growth(history, "db.transactions_per_s", floor=0.5)
    return None if busy is None or done is None else busy / max(done, 0.05)


def unique_growth(history: History) -> float | None:
    """Growth of requests that are not repeats of the same client's last one."""
    offered, repeats = level(history, "web.requests_per_s"), level(history, "web.repeat_ratio")
    before = usual(history, "web.requests_per_s")
    if offered is None or repeats is None or before is None:
        return None
    usual_repeats = usual(history, "web.repeat_ratio") or 0.0
    return offered * (1 - min(repeats, 1.0)) / max(before * (1 - min(usual_repeats, 1.0)), 0.5)
