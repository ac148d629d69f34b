"""One step of the pipeline: readings in, diagnosis out. The same step runs live and in replay."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Protocol

from premortem.model import TIER_DEPTH, Diagnosis, Event, History, Reading, Signal, Verdict

__all__ = ["Cause", "Detector", "Pipeline", "Tick", "changes", "conclude"]

AWAKE_S = 3.0
"""For so long after something leapt the causes are judged at every step: most want two or three
samples of what is new."""

CALM_EVERY_S = 2.5
"""Between two judgements while nothing leaps and nothing is held: every third second. What creeps
up without a leap may be named two seconds later for it (3 of 160 recorded faults were)."""


class Detector(Protocol):
    """Turns the recent past into signals."""

    def detect(self, history: History) -> Iterable[Signal]: ...


class Cause(Protocol):
    """Judges one hypothesis by the recent past."""

    @property
    def remedies(self) -> tuple[str, ...]: ...

    def judge(self, history: History) -> Verdict: ...


@dataclass(frozen=True, slots=True)
class Tick:
    """What one second brought."""

    now: float
    readings: tuple[Reading, ...]
    diagnosis: Diagnosis
    events: tuple[Event, ...]


def conclude(
    at: float,
    ledger: Sequence[Verdict],
    signals: Sequence[Signal],
    remedies: Mapping[str, tuple[str, ...]],
) -> Diagnosis:
    """Pick the confirmed cause of the deepest tier; within a tier the strongest evidence wins."""
    confirmed = [v for v in ledger if v.state == "confirmed"]
    if not confirmed:
        return Diagnosis(at, tuple(ledger), tuple(signals))
    first = max(confirmed, key=lambda v: (TIER_DEPTH[v.tier], v.strength))
    return Diagnosis(
        at, tuple(ledger), tuple(signals), first.cause, first.tier, remedies.get(first.cause, ())
    )


@dataclass(slots=True)
class Pipeline:
    """History, detectors and causes wired in that order."""

    history: History
    detectors: Sequence[Detector]
    causes: Sequence[Cause]
    _ledger: tuple[Verdict, ...] = ()
    _remedies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    _judged_at: float = -math.inf
    _calm: bool = False

    def step(self, now: float, readings: Iterable[Reading]) -> Diagnosis:
        """Take in what was read up to ``now`` and say what is held of every cause.

        Judging all causes is the greater part of what a step costs, and in calm the verdicts stay
        the same: then they are up to ``CALM_EVERY_S`` old. A signal, a metric that leaps, a source
        that fails or a cause that is held has them judged at every step.
        """
        for reading in readings:
            self.history.observe(reading)
        self.history.advance(now)
        signals = tuple(s for d in self.detectors for s in d.detect(self.history))
        if signals or self._due(now):
            self._ledger = tuple(c.judge(self.history) for c in self.causes)
            judged = zip(self._ledger, self.causes, strict=True)
            self._remedies = {v.cause: c.remedies for v, c in judged}
            self._judged_at = now
        held = any(v.state in ("confirmed", "suspected") for v in self._ledger)
        self._calm = not signals and not held
        self.history.settle(calm=self._calm)
        return conclude(now, self._ledger, signals, self._remedies)

    def _due(self, now: float) -> bool:
        rested = not 0 <= now - self._judged_at < CALM_EVERY_S
        return rested or not self._calm or now - self.history.leapt_at < AWAKE_S


def changes(before: Diagnosis | None, after: Diagnosis) -> list[Event]:
    """What is new in ``after``: signals that appeared, verdicts that changed, the cause named."""
    known = {(s.detector, s.metric) for s in before.signals} if before else set()
    events = [
        _signal_event(after.at, s) for s in after.signals if (s.detector, s.metric) not in known
    ]
    if before is None or after.ledger is not before.ledger:
        states = before.states() if before else {}
        events += [
            _verdict_event(after.at, v)
            for v in after.ledger
            if states.get(v.cause, "cannot_exclude") != v.state
        ]
    was = before.cause if before else None
    return events if after.cause == was else [*events, _diagnosis_event(after, was)]


def _signal_event(at: float, signal: Signal) -> Event:
    text = signal.note or f"{signal.metric} {signal.value:g} against {signal.limit:g}"
    return Event(at, "signal", text, data=asdict(signal))


def _verdict_event(at: float, verdict: Verdict) -> Event:
    text = f"{verdict.cause}: {verdict.state.replace('_', ' ')}: {verdict.because}"
    return Event(at, "verdict", text, data=asdict(verdict))


def _diagnosis_event(after: Diagnosis, was: str | None) -> Event:
    named = after.cause is not None
    text = f"cause named: {after.cause} ({after.tier})" if named else f"{was} holds no more"
    data: dict[str, object] = {"cause": after.cause, "tier": after.tier}
    data |= {"ruled_out": list(after.ruled_out_tiers()), "remedies": list(after.remedies)}
    return Event(after.at, "diagnosis", text, data=data)
