"""The load is the clients' own retries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from premortem.causes._database import pressure, stuck
from premortem.causes._traffic import dearer_pages, scans, unique_growth
from premortem.causes._users import hurt
from premortem.causes._verdict import fact, growth, level, num, percent, verdict
from premortem.causes._worlds import OPEN_SITE, SITE, SURGE_OPEN, SURGE_PROTECTED
from premortem.examples import Example
from premortem.model import Evidence, History, Tier, Verdict

__all__ = ["FIRES", "NEAR_MISS", "SILENT", "RetryStorm"]


@dataclass(frozen=True, slots=True)
class RetryStorm:
    """Most requests are repeats of ones that timed out; the load feeds itself.

    Shows: far more requests than unique users, the same client asks the same within seconds; it
    persists *after* the trigger is gone; the database is busy with work for clients that left.
    Ruled out by: few repeats; or unique requests that rose as much as all requests.
    First help: shed hard, drop the queue, give retries a budget; then let traffic in by steps.
    Not this: a surge of new users, even one whose refused users try once more.
    """

    repeat_ratio_min: float = 0.3
    """A client with two retries makes 0.67 when all fail; 0.3 is one retry for two requests."""
    repeat_ratio_low: float = 0.2
    """People who reload and refused users who come back stay below one in five."""
    amplification_min: float = 1.4
    """Requests rose this much more than unique requests."""
    unique_growth_max: float = 1.5
    """Unique requests beyond this may be a surge of users."""
    unique_growth_high: float = 3.0
    """Beyond this they are one. Below, a stall's backlog that arrives at once looks the same: its
    first attempts are older than the 5 s in which a repeat is known as one."""

    fresh_s: float = 2.5
    """A web process that stalls says nothing; what comes next may be its clients' retries."""
    uncounted_max: float = 20.0
    """Connections that wait in the listener: whether they repeat anything nobody knows yet."""
    busy_ratio_full: float = 0.85
    """Web CPU that is as good as used up."""

    tier: ClassVar[Tier] = "clients"
    remedies: ClassVar[tuple[str, ...]] = ("shed",)
    deciding: ClassVar[tuple[str, ...]] = ("web.repeat_ratio",)
    check: ClassVar[str] = "share of requests whose client asked the same within 5 s"

    def judge(self, history: History) -> Verdict:
        """Judge the recent past."""
        share = level(history, "web.repeat_ratio")
        if share is None:
            return verdict(
                self,
                "cannot_exclude",
                "repeated requests are not counted.",
                check="count client address and path in the last 1000 lines of the access log",
            )
        note = f"{percent(share)} of the requests repeat one of the last 5 s"
        limit = self.repeat_ratio_min * 0.999
        repeats = fact(history, "web.repeat_ratio", share, limit, note, above=share >= limit)
        latest = history.value("web.repeat_ratio", max_age_s=self.fresh_s)
        counted = (history.value("net.tcp.listen_queue") or 0.0) < self.uncounted_max
        if counted and latest is not None and max(share, latest) < self.repeat_ratio_low:
            return verdict(self, "ruled_out", f"{note}.", repeats, check=self.check)
        if share < self.repeat_ratio_min:
            return verdict(self, "cannot_exclude", f"{note}.", repeats, check=self.check)
        return self._many(history, share, repeats)

    def _many(self, history: History, share: float, repeats: Evidence) -> Verdict:
        unique = unique_growth(history)
        offered = growth(history, "web.requests_per_s", floor=1.0)
        if unique is None or offered is None:
            return verdict(
                self, "cannot_exclude", f"{repeats.note}; how many are usual is not known.",
                repeats, check=self.check,
            )  # fmt: skip
        if unique >= self.unique_growth_max:
            return verdict(
                self, "ruled_out" if unique >= self.unique_growth_high else "cannot_exclude",
                f"{repeats.note}, but unique requests are {num(unique)} times the usual as well.",
                repeats, check=self.check,
            )  # fmt: skip
        felt = hurt(history)
        amplified = offered >= self.amplification_min * max(unique, 0.5)
        sure = amplified and self._fills(history) and not self._follows(history)
        sure = sure and (felt is not None or self._wasted(history) is not None)
        return verdict(
            self,
            "confirmed" if sure else "suspected" if amplified else "cannot_exclude",
            f"{repeats.note}: requests are {num(offered)} times the usual, unique ones "
            f"{num(unique)} times.",
            repeats, self._wasted(history), felt,
            check=self.check,
            strength=0.5 + share / 2,
        )  # fmt: skip

    def _fills(self, history: History) -> bool:
        """Whether the repeats can be what hurts: something must be full of them. Repeats of
        requests that fail at once fill nothing; then they are an effect."""
        if pressure(history).saturated:
            return True
        queues = ("pool.waiting", "web.queue_length", "web.refused_per_s")
        busy = level(history, "web.cpu.busy_ratio") or 0.0
        return busy >= self.busy_ratio_full or any((level(history, q) or 0.0) > 0 for q in queues)

    def _follows(self, history: History) -> bool:
        """Whether the database stands still, or work became dearer: people try again then."""
        return stuck(history) or scans(history) is not None or dearer_pages(history)

    def _wasted(self, history: History) -> Evidence | None:
        gone = level(history, "web.abandoned_ratio")
        if gone is None or gone < 0.2:
            return None
        note = f"{percent(gone)} of the clients left before their answer"
        return fact(history, "web.abandoned_ratio", gone, 0.2, note)


FIRES = (
    Example("the trigger is over, the retries keep the site down", SITE, {
        "web.requests_per_s": 95.0, "web.served_per_s": 6.0, "web.repeat_ratio": 0.66,
        "web.abandoned_ratio": 0.8, "web.in_flight": 8, "web.queue_length": 40.0,
        "user.http.ok_ratio": 0.1, "db.wait.cpu": 7.5, "db.cpu.busy_ratio": 0.98,
        "pool.in_use": 8, "db.sessions.active": 7.8, "db.transactions_per_s": 100.0,
    }),
)  # fmt: skip
SILENT = (
    Example("calm", SITE),
    Example("a surge of users on a guarded site; some come back", SITE, SURGE_PROTECTED),
    Example("nobody counts repeats", OPEN_SITE, SURGE_OPEN),
)
NEAR_MISS = (
    Example("a template got expensive; the clients try again", {
        **SITE, "web.cpu.busy_ratio": 0.06,
    }, {
        "web.cpu.busy_ratio": 0.94, "web.loop_lag_ms": 80.0, "web.queue_length": 4.0,
        "web.requests_per_s": 60.0, "web.repeat_ratio": 0.4, "user.http.ok_ratio": 0.5,
        "user.http.first_byte_ms": 200.0, "db.cpu.busy_ratio": 0.2,
    }),
    Example("commits wait for a replica that is gone; the clients try again", SITE, {
        "pool.max": 5, "pool.in_use": 5, "pool.waiting": (40.0, 75.0), "pool.wait_ms": 2000.0,
        "db.sessions.active": 5.0, "db.wait.cpu": 0.0, "db.wait.other": 5.0,
        "db.cpu.busy_ratio": 0.02, "db.transactions_per_s": 2.0, "web.requests_per_s": 70.0,
        "web.repeat_ratio": 0.65, "user.http.ok_ratio": 0.2,
    }),
    Example("every page fails at once and is asked for again: nothing is full", SITE, {
        "web.requests_per_s": 60.0, "web.repeat_ratio": 0.66, "web.served_per_s": 5.0,
        "web.errors_per_s": 55.0, "user.http.ok_ratio": 0.1, "db.wait.cpu": 0.05,
        "db.cpu.busy_ratio": 0.03,
    }),
    Example("eight times the users, and each refused one tries again", SITE, {
        **SURGE_PROTECTED, "web.requests_per_s": 260.0, "web.repeat_ratio": 0.5,
    }),
)  # fmt: skip
