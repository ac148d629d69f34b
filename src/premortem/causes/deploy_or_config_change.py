"""The trouble began with a change that somebody made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from premortem.causes._database import pressure
from premortem.causes._decomposition import Component, components, most_grown
from premortem.causes._traffic import Traffic, demand_growth, traffic
from premortem.causes._users import hurt
from premortem.causes._verdict import fact, level, num, verdict
from premortem.causes._worlds import OPEN_SITE, SITE, SURGE_OPEN, SURGE_PROTECTED
from premortem.examples import Example
from premortem.model import Evidence, History, State, Tier, Verdict

__all__ = ["FIRES", "NEAR_MISS", "SILENT", "DeployOrConfigChange"]


@dataclass(frozen=True, slots=True)
class DeployOrConfigChange:
    """A deploy, a migration or a setting came just before the trouble, at flat traffic.

    Shows: a step in any component of a request's time, at most 60 s after a recorded change. The
    source ``deploys`` gives changes as rows ``{"kind": "deploy", "at": seconds, "text": what}``.
    Ruled out by: no trouble; recorded changes, but none before it; trouble that came with traffic.
    First help: roll back; look for the reason afterwards.
    Not this: a change that happened to precede a surge.
    """

    before_s: float = 60.0
    """A change shows within the first minute of requests; later it is a coincidence."""
    fresh_s: float = 20.0
    """Under rising traffic only what shows this soon is the change's; later it may be either."""
    cost_times_max: float = 1.5
    """CPU a transaction: contention alone makes up to 1.5 of it."""
    busy_ratio_full: float = 0.85
    """Web CPU that more traffic makes slow; below it waiting is less than six times the work."""
    seen_s: float = 900.0
    """Changes reported longer ago than this are no news."""

    tier: ClassVar[Tier] = "web"
    remedies: ClassVar[tuple[str, ...]] = ("rollback",)
    deciding: ClassVar[tuple[str, ...]] = ()
    check: ClassVar[str] = "was anything deployed, migrated or configured in the minute before?"

    def judge(self, history: History) -> Verdict:
        """Judge the recent past."""
        felt = hurt(history)
        if felt is None:
            return self._well(history)
        calls, change = traffic(history), self._change(history, felt.since)
        began = f"it began {num(history.now - felt.since)} s ago"
        full = self._full(history) if calls.risen else False
        if calls.risen and full is not False:
            because = f"{began} with {num(calls.most or 0)} times the usual traffic."
            sure = full and change is None
            state: State = "ruled_out" if sure else "suspected" if change else "cannot_exclude"
            return verdict(
                self, state, because, calls.evidence(history), felt, change, check=self.check
            )
        if change is not None:
            return self._changed(history, felt, change, calls)
        if same := self._same_cost(history):
            return verdict(self, "ruled_out", f"{began}; {same.note}.", same, check=self.check)
        if history.rows("deploys", self.seen_s):
            because = f"{began}, and no change was recorded in the {num(self.before_s)} s before."
            return verdict(self, "ruled_out", because, felt, check=self.check)
        because = f"{began} at traffic that did not rise; changes are not recorded."
        return verdict(self, "cannot_exclude", because, felt, check=self.check)

    def _full(self, history: History) -> bool | None:
        """Whether more traffic can have done it: something must be full. ``None`` if unmeasured."""
        busy, load = level(history, "web.cpu.busy_ratio"), pressure(history)
        waiting = level(history, "pool.waiting")
        if load.saturated or (busy or 0.0) >= self.busy_ratio_full or (waiting or 0.0) > 0:
            return True
        return None if busy is None or load.saturated is None else False

    def _same_cost(self, history: History) -> Evidence | None:
        """A full database in which a transaction costs what it did: the code has not changed."""
        load, cost = pressure(history), demand_growth(history)
        if not load.saturated or cost is None or cost >= self.cost_times_max:
            return None
        note = f"{load.words}, and a transaction costs {num(cost)} times its usual CPU"
        return fact(history, "db.wait.cpu", load.sessions or 0.0, load.cores or 1.0, note)

    def _well(self, history: History) -> Verdict:
        parts = components(history)
        if not parts:
            return verdict(
                self, "cannot_exclude", "nothing of a request is measured.", check=self.check
            )
        grown = most_grown(parts)
        if grown is not None:
            return self._grown(history, grown)
        top = max(parts, key=lambda c: c.ms)
        because = f"no part of a request has stepped; {top.name} takes most, {num(top.ms)} ms."
        return verdict(self, "ruled_out", because, top.evidence(history), check=self.check)

    def _grown(self, history: History, grown: Component) -> Verdict:
        """A part of a request grew, and nobody feels it yet."""
        part, calls = grown.evidence(history), traffic(history)
        if not calls.risen:
            return verdict(self, "cannot_exclude", f"{part.note}.", part, check=self.check)
        change = self._change(history, history.now)
        because = f"{part.note}, with {num(calls.most or 0)} times the usual traffic."
        state: State = "ruled_out" if change is None else "suspected"
        return verdict(
            self, state, because, part, calls.evidence(history), change, check=self.check
        )

    def _changed(
        self, history: History, felt: Evidence, change: Evidence, calls: Traffic
    ) -> Verdict:
        if calls.risen and felt.since - change.value > self.fresh_s:
            because = (
                f"{change.note}, with {num(calls.most or calls.peak)} times the usual traffic."
            )
            return verdict(self, "suspected", because, change, felt, check=self.check)
        grown = most_grown(components(history))
        where = None if grown is None else grown.evidence(history)
        tail = "" if where is None else f"; {where.note}"
        return verdict(
            self,
            "confirmed",
            f"{change.note}; since then {felt.note}{tail}.",
            change,
            felt,
            where,
            check=self.check,
            strength=0.95,
        )

    def _change(self, history: History, since: float) -> Evidence | None:
        """The last recorded change in the minute before the trouble."""
        found = [
            (at, str(row.get("text") or "a change")[:80])
            for row in history.rows("deploys", self.seen_s)
            if isinstance(at := row.get("at"), int | float)
            and since - self.before_s <= at <= since + 1.0
        ]
        if not found:
            return None
        at, text = max(found)
        note = f"{text} came {num(since - at)} s before the trouble"
        return Evidence("deploys", at, since - self.before_s, at, note)


FIRES = (
    Example("a release at 1000035: pages take twelve times as long", SITE, {
        "web.loop_lag_ms": 60.0, "web.response_ms": 280.0, "user.http.first_byte_ms": 300.0,
    }, rows={"deploys": ({"kind": "deploy", "at": 1_000_035.0, "text": "release 1.4"},)}),
)  # fmt: skip
SILENT = (
    Example("calm", SITE),
    Example("the seeds' surge: it came with traffic", OPEN_SITE, SURGE_OPEN),
    Example("a surge on a guarded site", SITE, SURGE_PROTECTED),
    Example(
        "a surge before anybody feels it: the database's part grew with the traffic",
        SITE,
        {
            "web.requests_per_s": 130.0,
            "db.transactions_per_s": 390.0,
            "db.wait.cpu": 9.0,
            "db.cpu.busy_ratio": 0.97,
        },
    ),
)
NEAR_MISS = (
    Example("a surge 58 s after a release: some are refused", SITE, {
        "web.requests_per_s": 90.0, "web.refused_per_s": 2.0, "db.transactions_per_s": 190.0,
        "db.connect_ms": 140.0,
    }, rows={"deploys": ({"kind": "deploy", "at": 999_998.0, "text": "release 1.4"},)}),
    Example("the last release was ten minutes ago", SITE, {
        "user.http.first_byte_ms": 300.0,
    }, rows={"deploys": ({"kind": "deploy", "at": 999_500.0, "text": "release 1.3"},)}),
    Example("nobody records changes", SITE, {"user.http.first_byte_ms": 300.0}),
)  # fmt: skip
