"""Who is to be told what and when. Pure: diagnoses, which know their time, in; messages out.

One message opens a matter (a site and a cause), one closes it; between them silence but for a
reminder. A matter that opens again and again is damped like a flapping route: every opening costs
1000 points, which halve every 15 minutes; above 2000 one message says that it flaps, and then no
opening and no all-clear is told until fewer than 750 are left (the scheme of RFC 2439 with the
values that routers ship with). The third opening within about ten minutes is damped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from premortem.model import Diagnosis, Event

__all__ = ["Matter", "Notice", "Pager", "Rules", "Step"]

OPENING, HALF_LIFE_S, SUPPRESS, REUSE = 1000.0, 900.0, 2000.0, 750.0
PENALTY_MAX = REUSE * 2 ** (3600 / HALF_LIFE_S)
"""So that after the last flap nothing stays damped for longer than an hour."""

GAP_S = 2.5
"""A tick a second, one late: a longer gap breaks what is to hold without a break."""

RELEARN_S = 30.0
"""A watch that begins amid trouble needs up to 20 s to name it: no all-clear before."""

WARNINGS_SHARE = 0.5
"""Warnings leave half of the messages an hour to pages."""

Step = Literal["opened", "flapping", "again", "resolved"]
Kind = Literal["page", "warning"]


@dataclass(frozen=True, slots=True)
class Rules:
    """When to tell; the fields are those of ``[notify]``."""

    on: tuple[str, ...] = ("confirmed",)
    hold_s: float = 3.0
    warn_hold_s: float = 30.0
    resolve_after_s: float = 60.0
    again_s: float = 4 * 3600.0
    per_hour_max: int = 20


@dataclass(slots=True)
class Matter:
    """One thing that may be told: a cause at a site, or a metric that runs out."""

    site: str
    kind: Kind
    subject: str
    began: float
    """Since when it holds without a break, or held last."""
    seen: float
    up: bool = False
    """Known to hold: opened and not yet quiet for long enough."""
    told: bool = False
    """People know: they are owed the all-clear."""
    told_at: float = 0.0
    damped: bool = False
    held_back: bool = False
    penalty: float = 0.0
    penalty_at: float = 0.0

    def penalty_now(self, now: float) -> float:
        """What is left of the points."""
        return float(self.penalty * 2 ** (-max(0.0, now - self.penalty_at) / HALF_LIFE_S))

    def fine(self, now: float) -> None:
        """Charge one opening."""
        self.penalty = min(PENALTY_MAX, self.penalty_now(now) + OPENING)
        self.penalty_at = now


@dataclass(frozen=True, slots=True)
class Notice:
    """One message to be sent: what happened to which matter; words are made elsewhere."""

    site: str
    kind: Kind
    subject: str
    step: Step
    at: float
    began: float
    penalty: float

    def event(self) -> Event:
        """The line of the timeline from which :meth:`Pager.restore` knows it after a restart."""
        text = f"{self.kind} {self.step}: {self.subject}"
        kept = {"page": self.step, "kind": self.kind, "subject": self.subject}
        return Event(self.at, "note", text, data={**kept, "penalty": round(self.penalty)})


@dataclass(slots=True)
class Pager:
    """Remembers what people were told of. Bounded: matters that are over are forgotten."""

    rules: Rules = field(default_factory=Rules)
    held_back: int = 0
    """Messages that had to wait for the hourly bound."""
    _matters: dict[tuple[str, Kind, str], Matter] = field(default_factory=dict)
    _tokens: float = float("inf")
    _filled_at: float = 0.0

    def consider(self, site: str, diagnosis: Diagnosis) -> list[Notice]:
        """What is to be told now that ``diagnosis`` holds at ``site``."""
        now = diagnosis.at
        self._refill(now)
        for kind, subject in self._holding(site, diagnosis):
            key = (site, kind, subject)
            matter = self._matters.setdefault(key, Matter(site, kind, subject, now, now))
            if not matter.up and matter.seen < now - GAP_S:
                matter.began = now
            matter.seen = now
        mine = [m for m in self._matters.values() if m.site == site]
        told = [n for m in mine for n in self._advance(m, now)]
        self._forget(now)
        return told

    def open_matters(self) -> tuple[Matter, ...]:
        """What people were told of and not yet relieved of."""
        return tuple(m for m in self._matters.values() if m.told)

    def drop(self, site: str) -> None:
        """Forget a site that is watched no more."""
        for key in [k for k in self._matters if k[0] == site]:
            del self._matters[key]

    def restore(self, site: str, events: Sequence[Event], now: float) -> None:
        """Know again what was told before a restart, so that it is not told twice."""
        for event in events:
            step, kind = event.data.get("page"), event.data.get("kind")
            subject, penalty = event.data.get("subject"), event.data.get("penalty")
            if kind not in ("page", "warning") or not isinstance(subject, str):
                continue
            points = float(penalty) if isinstance(penalty, int | float) else 0.0
            told = step != "resolved"
            seen = now + RELEARN_S if told else event.at
            matter = Matter(site, kind, subject, event.at, seen, told, told, penalty=points)
            matter.damped = step == "flapping"
            matter.told_at = matter.penalty_at = event.at
            before = self._matters.get((site, kind, subject))
            if before is not None and before.told and matter.told:
                matter.began = before.began
            self._matters[site, kind, subject] = matter

    # -- what holds

    def _holding(self, site: str, diagnosis: Diagnosis) -> Iterator[tuple[Kind, str]]:
        confirmed = {v.cause for v in diagnosis.ledger if v.state == "confirmed"}
        paged = {m.subject for m in self._matters.values() if m.site == site and m.kind == "page"}
        if "confirmed" in self.rules.on:
            named = {diagnosis.cause} if diagnosis.cause else set()
            # a shallower cause that was told stays open while it is confirmed
            yield from (("page", cause) for cause in sorted(named | (confirmed & paged)))
        if confirmed:
            return  # warnings beside a page are noise
        if "suspected" in self.rules.on:
            yield from (("warning", v.cause) for v in diagnosis.ledger if v.state == "suspected")
        if "runway" in self.rules.on:
            yield from {("warning", s.metric): None for s in diagnosis.signals if s.runway_s > 0}

    def _hold_s(self, kind: Kind) -> float:
        return self.rules.hold_s if kind == "page" else self.rules.warn_hold_s

    # -- what follows

    def _advance(self, matter: Matter, now: float) -> Iterator[Notice]:
        if matter.seen == now:
            if not matter.up and now - matter.began >= self._hold_s(matter.kind):
                matter.up = True
                matter.fine(now)
            yield from self._rise(matter, now)
        elif matter.up and now - matter.seen >= self.rules.resolve_after_s:
            matter.up = False
        if not matter.up:
            yield from self._fall(matter, now)

    def _rise(self, matter: Matter, now: float) -> Iterator[Notice]:
        if not matter.up:
            return
        if matter.penalty_now(now) > SUPPRESS and not matter.damped:
            if self._may(matter, now):
                matter.damped = matter.told = True
                yield self._notice(matter, "flapping", now)
        elif not matter.told and self._may(matter, now):
            matter.told = True
            yield self._notice(matter, "opened", now)
        elif matter.told and now - matter.told_at >= self.rules.again_s and self._may(matter, now):
            yield self._notice(matter, "again", now)

    def _fall(self, matter: Matter, now: float) -> Iterator[Notice]:
        if matter.damped and matter.penalty_now(now) > REUSE:
            return
        if matter.told and self._may(matter, now):
            matter.told = matter.damped = False
            yield self._notice(matter, "resolved", now)

    def _notice(self, matter: Matter, step: Step, now: float) -> Notice:
        matter.told_at, matter.held_back = now, False
        return Notice(
            matter.site,
            matter.kind,
            matter.subject,
            step,
            now,
            matter.began,
            matter.penalty_now(now),
        )

    # -- bounds

    def _refill(self, now: float) -> None:
        most = float(self.rules.per_hour_max)
        gained = max(0.0, now - self._filled_at) * most / 3600
        self._tokens, self._filled_at = min(most, self._tokens + gained), now

    def _may(self, matter: Matter, now: float) -> bool:
        floor = self.rules.per_hour_max * WARNINGS_SHARE if matter.kind == "warning" else 0.0
        if self._tokens >= 1 + floor:
            self._tokens -= 1
            return True
        self.held_back += not matter.held_back
        matter.held_back = True
        return False

    def _forget(self, now: float) -> None:
        over = [
            key
            for key, m in self._matters.items()
            if not (m.up or m.told)
            and m.seen < now - HALF_LIFE_S
            and m.penalty_now(now) < REUSE / 2
        ]
        for key in over:
            del self._matters[key]
