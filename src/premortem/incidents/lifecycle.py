"""Events in, incident out. Pure: the same events always fold to the same incident.

Two kinds of incident are folded alike. Where people led (``operator`` events with the action
``blame``), they detect, name and mitigate; where nobody held an opinion, premortem's own signals,
diagnoses and acts count.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from premortem.model import Event, Incident

__all__ = ["Hypothesis", "Remedied", "fold", "hypotheses", "minutes_lost", "remedied"]

HANDS_ON = ("add_workers", "restart_database")
"""What operators do to a system; their other actions (alert, blame, note, rule_out) are words."""

BACK = ("recovered",)
"""Phases that mark the return to normal."""

GRAIN_S = 1.0
"""Users are counted by the second, so a recovery is known to the second and may be dated to the
start of the one in which the surge ended."""


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What people believed, from when to when, and whether it was struck off."""

    tier: str
    opened_at: float
    closed_at: float
    wrong: bool
    because: str
    """How it ended, in the words of the event that ended it; empty when nothing did."""

    @property
    def held_s(self) -> float:
        return self.closed_at - self.opened_at


@dataclass(frozen=True, slots=True)
class Remedied:
    """Something that was done to the system, and what was seen of its effect."""

    event: Event
    effects: tuple[Event, ...]

    @property
    def name(self) -> str:
        return str(self.event.data.get("remedy") or self.event.data.get("action") or "act")


def _action(event: Event) -> str:
    return str(event.data.get("action", "")) if event.kind == "operator" else ""


def _ordered(events: Iterable[Event]) -> tuple[Event, ...]:
    return tuple(sorted(events, key=lambda event: event.at))


def _since_ramp(events: Sequence[Event]) -> tuple[Event, ...]:
    """Events from the start of the ramp on; all of them when nobody marked one."""
    ramps = [e.at for e in events if e.kind == "phase" and e.data.get("phase") == "ramp"]
    return tuple(e for e in events if e.at >= ramps[0]) if ramps else tuple(events)


def _first_at(events: Sequence[Event]) -> float | None:
    return events[0].at if events else None


def hypotheses(events: Iterable[Event]) -> tuple[Hypothesis, ...]:
    """What the operators held, in order: a ``blame`` opens it, ``rule_out`` of its tier closes it.

    Hands hold one hypothesis at a time: the next blame closes the one before as wrong too. The
    last one ends with the recovery, or with the record.
    """
    ordered = _ordered(events)
    blames = [e for e in ordered if _action(e) == "blame"]
    held: list[Hypothesis] = []
    for n, blame in enumerate(blames):
        tier = str(blame.data.get("tier", "unknown"))
        following = blames[n + 1] if n + 1 < len(blames) else None
        struck = next((e for e in ordered if _strikes(e, blame)), None)
        if struck is not None and (following is None or struck.at <= following.at):
            held.append(Hypothesis(tier, blame.at, struck.at, True, struck.text))
        elif following is not None:
            held.append(Hypothesis(tier, blame.at, following.at, True, following.text))
        else:
            held.append(Hypothesis(tier, blame.at, _end_after(ordered, blame.at), False, ""))
    return tuple(held)


def _strikes(event: Event, blame: Event) -> bool:
    return (
        _action(event) == "rule_out"
        and event.at >= blame.at
        and event.data.get("tier") == blame.data.get("tier")
    )


def _end_after(ordered: Sequence[Event], at: float) -> float:
    """When a hypothesis that was never struck off stopped mattering: at what was done about it."""
    for event in ordered:
        if event.at > at and (_action(event) in HANDS_ON or _is_back(event)):
            return event.at
    return ordered[-1].at


def minutes_lost(held: Iterable[Hypothesis], speed_min_per_s: float | None) -> float:
    """Minutes spent on wrong hypotheses; a compressed timeline is counted on its own clock.

    >>> minutes_lost([Hypothesis("network", 2.0, 12.0, True, "")], speed_min_per_s=2.5)
    25.0
    """
    return sum(h.held_s for h in held if h.wrong) * (speed_min_per_s or 1 / 60)


def remedied(events: Iterable[Event]) -> tuple[Remedied, ...]:
    """What was done, with the effects reported for it.

    An effect belongs to the latest act of the same name before it; what operators report without
    a name belongs to the latest thing they did.
    """
    ordered = _ordered(events)
    acts = [e for e in ordered if e.kind == "acted" or _action(e) in HANDS_ON]
    found = []
    for n, act in enumerate(acts):
        name = act.data.get("remedy")
        again = next((a.at for a in acts[n + 1 :] if a.data.get("remedy") == name), float("inf"))
        effects = (e for e in ordered if e.kind == "effect" and act.at <= e.at < again)
        found.append(Remedied(act, tuple(e for e in effects if e.data.get("remedy") == name)))
    return tuple(found)


def _is_back(event: Event) -> bool:
    return event.kind == "resolved" or (event.kind == "phase" and event.data.get("phase") in BACK)


def _is_trouble(event: Event) -> bool:
    return event.kind == "signal" or _is_failure(event) or _action(event) == "alert"


def _is_failure(event: Event) -> bool:
    return event.kind == "phase" and event.data.get("phase") == "first_failure"


def fold(events: Iterable[Event]) -> Incident:
    """Fold a timeline into the incident.

    ``opened_at`` is the first sign of trouble since the ramp (a signal, an alert, a failed user),
    ``detected_at`` the first of them that somebody was told of, ``named_at`` when the cause that
    stood in the end was first named, ``mitigated_at`` the last thing done before the return to
    normal (or the last thing done at all), ``resolved_at`` the return itself, and ``None`` when
    the record does not hold one.
    """
    ordered = _ordered(events)
    live = _since_ramp(ordered)
    by_people = any(_action(e) == "blame" for e in live)
    opened = _first_at([e for e in live if _is_trouble(e)])
    if opened is None:
        return Incident(events=ordered)
    named_at, cause, tier = _named_by_people(live) if by_people else _named(live)
    resolved = _first_at([e for e in live if _is_back(e) and e.at >= _last_trouble(live) - GRAIN_S])
    return Incident(
        opened_at=opened,
        detected_at=_detected(live, by_people=by_people),
        named_at=named_at,
        mitigated_at=_mitigated(live, resolved),
        resolved_at=resolved,
        cause=cause,
        tier=tier,
        events=ordered,
    )


def _last_trouble(live: Sequence[Event]) -> float:
    """The return to normal counts after the surge, the last act and the last first failure."""
    marks = ("surge_end", "first_failure")
    ats = [e.at for e in live if e.kind == "phase" and e.data.get("phase") in marks]
    return max([*ats, *(e.at for e in live if _action(e) in HANDS_ON)], default=float("-inf"))


def _detected(live: Sequence[Event], *, by_people: bool) -> float | None:
    told = [e for e in live if (_action(e) == "alert" if by_people else e.kind == "signal")]
    return _first_at(told) if told or not by_people else _first_at([e for e in live if _action(e)])


def _named_by_people(live: Sequence[Event]) -> tuple[float | None, str | None, str | None]:
    right = [h for h in hypotheses(live) if not h.wrong]
    return (right[0].opened_at, None, right[0].tier) if right else (None, None, None)


def _named(live: Sequence[Event]) -> tuple[float | None, str | None, str | None]:
    """The cause that held longest, and when it was first named: a flicker is not a finding."""
    named = [e for e in live if e.kind == "diagnosis"]
    held: dict[str, float] = {}
    for n, event in enumerate(named):
        until = named[n + 1].at if n + 1 < len(named) else live[-1].at
        cause = event.data.get("cause")
        if cause:
            held[str(cause)] = held.get(str(cause), 0.0) + until - event.at
    if not held:
        return None, None, None
    cause = max(held, key=lambda c: held[c])
    first = next(e for e in named if e.data.get("cause") == cause)
    return first.at, cause, str(first.data.get("tier")) if first.data.get("tier") else None


def _mitigated(live: Sequence[Event], resolved: float | None) -> float | None:
    acts = [r.event.at for r in remedied(live)]
    before = [at for at in acts if resolved is None or at <= resolved]
    return before[-1] if before else None
