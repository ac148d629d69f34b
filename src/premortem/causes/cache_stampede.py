"""A cache was lost: each request asks the database what the cache used to know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from premortem.causes._database import pressure
from premortem.causes._traffic import FLAT, OPENED_USUAL_MIN_PER_S
from premortem.causes._users import hurt
from premortem.causes._verdict import SLOW_S, fact, growth, level, num, usual, verdict
from premortem.causes._worlds import OPEN_SITE, SITE, SURGE_OPEN, SURGE_PROTECTED
from premortem.examples import Example
from premortem.model import Evidence, History, Tier, Verdict

__all__ = ["FIRES", "NEAR_MISS", "SILENT", "CacheStampede"]

_CALLS = ("db.statements.calls_per_s", "db.transactions_per_s")


@dataclass(frozen=True, slots=True)
class CacheStampede:
    """After a flush, an expiry or a restart everybody computes the same value at once.

    Shows: one cheap query's calls rise ten- to hundredfold in a step while requests stay flat.
    Ruled out by: calls for each request as usual.
    First help: let one compute and the others wait (single flight), serve the stale value
    meanwhile; shed until the cache is warm.
    Not this: calls that rise with the requests; fewer calls that take longer.
    """

    calls_each_min: float = 3.0
    """Calls a request, against usual: a new feature adds one, a lost cache multiplies."""
    calls_each_low: float = 1.5
    """Half a call more for each request is noise of the mix of pages."""

    calls_min: float = 2.0
    """The database is asked twice as much as usual at least; a drop of requests is no stampede."""

    usual_samples_min: int = 8
    """A ratio of two growths doubles the error of each: fewer samples of the usual mislead."""

    tier: ClassVar[Tier] = "clients"
    remedies: ClassVar[tuple[str, ...]] = ("shed",)
    deciding: ClassVar[tuple[str, ...]] = ("web.requests_per_s", "db.transactions_per_s")
    check: ClassVar[str] = "calls of the most frequent query for each request; cache misses"

    def judge(self, history: History) -> Verdict:
        """Judge the recent past."""
        asked = self._asked(history)
        calls = {m: growth(history, m, floor=1.0, max_age_s=SLOW_S) for m in _CALLS}
        known = {m: g for m, g in calls.items() if g is not None and self._settled(history, m)}
        if asked is None or not known:
            return verdict(
                self, "cannot_exclude", "calls for each request are not measured.",
                check="hit ratio of the cache; was it flushed or restarted?",
            )  # fmt: skip
        metric = max(known, key=lambda m: known[m])
        each = known[metric] / max(asked, 0.2)
        note = f"each request makes {num(each)} times its usual database calls"
        now = level(history, metric, max_age_s=SLOW_S) or 0.0
        many = each >= self.calls_each_min and known[metric] >= self.calls_min
        step = fact(history, metric, now, (usual(history, metric) or 0.0) * 2, note, above=many)
        if many:
            return self._stepped(history, asked, known[metric], step)
        low = each < self.calls_each_low and len(known) == len(calls)
        low = low or (each < self.calls_each_low and "db.transactions_per_s" in known)
        return verdict(
            self, "ruled_out" if low else "cannot_exclude", f"{note}.", step, check=self.check
        )

    def _stepped(self, history: History, asked: float, calls: float, step: Evidence) -> Verdict:
        top = growth(history, "db.statements.top_calls_per_s", floor=1.0, max_age_s=SLOW_S)
        felt = pressure(history).saturated or hurt(history) is not None
        sure = felt and calls >= self.calls_each_min and asked < 2 * FLAT
        one = "" if top is None else f"; the top query's calls are {num(top)} times the usual"
        return verdict(
            self,
            "confirmed" if sure else "suspected" if felt else "cannot_exclude",
            f"{step.note} at {num(asked)} times the requests{one}.",
            step,
            check=self.check,
            strength=0.7,
        )

    def _settled(self, history: History, metric: str) -> bool:
        """Whether what is usual is known well: the first seconds of a site are not."""
        both = (history.baseline(metric), history.baseline("web.requests_per_s"))
        return all(b is None or b.samples >= self.usual_samples_min for b in both)

    def _asked(self, history: History) -> float | None:
        """Growth of requests; where every request opens a session, of new sessions."""
        asked = growth(history, "web.requests_per_s", floor=1.0)
        metric = "db.connections.opened_per_s"
        if asked is None and (usual(history, metric) or 0.0) >= OPENED_USUAL_MIN_PER_S:
            return growth(history, metric, floor=1.0)
        return asked


FIRES = (
    Example("the cache was flushed: every page asks for the category tree", SITE, {
        "db.transactions_per_s": 400.0, "db.statements.calls_per_s": 1500.0,
        "db.statements.top_calls_per_s": 1200.0, "db.statements.top_mean_ms": 3.0,
        "db.wait.cpu": 6.0, "db.cpu.busy_ratio": 0.97, "user.http.first_byte_ms": 300.0,
    }),
)  # fmt: skip
SILENT = (
    Example("calm", SITE),
    Example("a surge on a guarded site: requests rose", SITE, SURGE_PROTECTED),
    Example("the seeds' surge", OPEN_SITE, SURGE_OPEN),
)
NEAR_MISS = (
    Example("each request asks four times as often, and nobody feels it", SITE, {
        "db.transactions_per_s": 180.0, "db.statements.calls_per_s": 520.0, "db.wait.cpu": 0.9,
        "db.cpu.busy_ratio": 0.6,
    }),
    Example("a slow query: fewer calls, each dearer", SITE, {
        "db.wait.cpu": 7.0, "db.cpu.busy_ratio": 0.99, "db.transactions_per_s": 18.0,
        "db.statements.calls_per_s": 50.0, "db.statements.top_mean_ms": 300.0,
        "db.statements.mean_ms": 55.0, "db.statements.top_time_share": 0.9,
    }),
    Example("a deploy added one query a page", SITE, {"db.statements.calls_per_s": 220.0}),
)  # fmt: skip
