"""The nouns, in the order in which they become each other.

``Metric → Reading → History → Signal → Verdict → Diagnosis → Event → Incident``.

Everything here is pure: time is an argument, nothing is fetched; of ours only the samples of one
metric (``_track``) are imported. Times are seconds since the Unix epoch (UTC) as ``float``; every
metric states its unit when it is declared.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from types import MappingProxyType
from typing import Any, Literal, TypeVar, TypeVarTuple

from premortem._track import Track

__all__ = [
    "TIER_DEPTH",
    "Action",
    "Baseline",
    "Diagnosis",
    "Event",
    "Evidence",
    "Failure",
    "History",
    "Incident",
    "Metric",
    "Reading",
    "Series",
    "Signal",
    "State",
    "Tier",
    "UnknownMetric",
    "Verdict",
]

Tier = Literal["network", "clients", "web", "pool", "downstream", "database"]
"""Where a cause sits. The deeper one wins when two are saturated (reference: USE, TSA)."""

TIER_DEPTH: Mapping[Tier, int] = MappingProxyType(
    {"network": 0, "clients": 1, "web": 2, "pool": 3, "downstream": 4, "database": 5}
)

BASELINE_SAMPLES_MIN = 5
"""Fewer calm samples than this tell nothing about what is usual."""

_UNKNOWN: Any = object()
T = TypeVar("T")
Ts = TypeVarTuple("Ts")
_Staged = tuple[float, list[tuple[Track, float]]]
"""What one reading brought: when, and each sample with where it belongs."""

State = Literal["confirmed", "suspected", "ruled_out", "cannot_exclude"]
"""What is held of a cause. ``cannot_exclude`` is the honest answer to missing evidence."""


class UnknownMetric(KeyError):
    """A metric was asked for that no source declares: a typing error, never data."""

    def __str__(self) -> str:
        return f"no source declares the metric {self.args[0]!r}"


@dataclass(frozen=True, slots=True)
class Metric:
    """A declared series: what it is called, what one of it is, what it means."""

    name: str
    """``tier.thing.measure_unit``, engine-neutral."""
    unit: str
    """``ms``, ``s``, ``ratio`` (0 to 1), ``per_s``, ``sessions``, ``bytes`` …"""
    meaning: str
    """One sentence for docs/metrics.md."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one source saw at one instant. A source that saw nothing says why in ``error``."""

    source: str
    target: str
    at: float
    values: Mapping[str, float] = field(default_factory=dict)
    rows: tuple[Mapping[str, object], ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """An error a source reported: evidence, not a gap."""

    source: str
    target: str
    at: float
    error: str


@dataclass(frozen=True, slots=True)
class Series:
    """Samples of one metric, oldest first. ``at`` in seconds, ``values`` in the metric's unit."""

    at: tuple[float, ...]
    values: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.at)


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a metric was while nothing was wrong."""

    median: float
    samples: int


class History:
    """The recent past of one site as of ``now``, bounded in samples whatever its age.

    A sample joins the baseline only after ``quarantine_s`` seconds without trouble, so that an
    outage never becomes the norm it is judged against: ``settle(calm=False)`` throws the staged
    samples away. What several causes ask for within a tick is worked out once.

    >>> h = History([Metric("db.connections.used", "sessions", "Sessions open.")])
    >>> h.observe(Reading("postgres", "db", 10.0, {"db.connections.used": 97.0}))
    >>> h.value("db.connections.used")
    97.0
    >>> h.value("db.connection.used")
    Traceback (most recent call last):
    ...
    premortem.model.UnknownMetric: no source declares the metric 'db.connection.used'
    """

    def __init__(
        self,
        metrics: Iterable[Metric],
        *,
        samples_max: int = 600,
        quarantine_s: float = 10.0,
        baseline_samples_max: int = 240,
        failures_max: int = 200,
    ) -> None:
        self.metrics: Mapping[str, Metric] = MappingProxyType({m.name: m for m in metrics})
        self.now = -math.inf
        self._samples_max = samples_max
        self._quarantine_s = quarantine_s
        self._baseline_samples_max = baseline_samples_max
        self._tracks: dict[str, dict[str, Track]] = {name: {} for name in self.metrics}
        self._staged: dict[tuple[str, str], deque[_Staged]] = {}
        self._rows: dict[str, tuple[float, tuple[Mapping[str, object], ...]]] = {}
        self._failures: deque[Failure] = deque(maxlen=failures_max)
        self._heard: dict[tuple[str, str], float] = {}
        self._known: dict[object, Any] = {}
        self.leapt_at = -math.inf
        """When a metric last leapt (see ``_track``) or a source last failed."""

    # -- writing: only the loop and the replay do this

    def observe(self, reading: Reading) -> None:
        """Take one reading in. Values that are not finite or not declared are left out."""
        if not math.isfinite(reading.at):
            return
        self._known.clear()
        self.now = max(self.now, reading.at)
        if reading.error is not None:
            self.leapt_at = self.now
            self._failures.append(
                Failure(reading.source, reading.target, reading.at, reading.error)
            )
        else:
            self._heard[reading.source, reading.target] = reading.at
        if reading.rows or reading.error is None:
            self._rows[reading.source] = (reading.at, reading.rows)
        if reading.values:
            self._take(reading)

    def advance(self, now: float) -> None:
        """Let time pass although nothing was read."""
        if now > self.now:
            self._known.clear()
            self.now = now

    def settle(self, *, calm: bool) -> None:
        """Tell whether the present is calm: only then does the staged past become baseline."""
        self._known.clear()
        if not calm:
            self._staged.clear()
            return
        until = self.now - self._quarantine_s
        for staged in self._staged.values():
            while staged and staged[0][0] <= until:
                for track, value in staged.popleft()[1]:
                    track.mature(value)

    def _take(self, reading: Reading) -> None:
        taken = []
        for name, value in reading.values.items():
            tracks = self._tracks.get(name)
            if tracks is None or not math.isfinite(value):
                continue
            track = tracks.get(reading.target)
            if track is None:
                track = tracks[reading.target] = Track(
                    self._samples_max, self._baseline_samples_max
                )
            if track.add(reading.at, float(value)):
                taken.append((track, float(value)))
                if track.leapt:
                    self.leapt_at = self.now
        if taken:
            key = reading.source, reading.target
            staged = self._staged.setdefault(key, deque(maxlen=self._samples_max))
            staged.append((reading.at, taken))

    # -- reading

    def _of(self, metric: str, target: str | None) -> Iterable[Track]:
        tracks = self._tracks.get(metric)
        if tracks is None:
            raise UnknownMetric(metric)
        if target is None:
            return tracks.values()
        return (tracks[target],) if target in tracks else ()

    def remember(self, look: Callable[[History, *Ts], T], *args: *Ts) -> T:
        """``look(history, *args)``, worked out once for the present; the arguments are hashable.

        Forgotten as soon as anything is observed, settled, or time passes.
        """
        key = (look, args)
        found = self._known.get(key, _UNKNOWN)
        if found is _UNKNOWN:
            found = self._known[key] = look(self, *args)
        known: T = found
        return known

    def targets(self, metric: str) -> tuple[str, ...]:
        """Which targets have ever reported ``metric``."""
        if metric not in self._tracks:
            raise UnknownMetric(metric)
        return tuple(self._tracks[metric])

    def value(
        self, metric: str, *, target: str | None = None, max_age_s: float = 5.0
    ) -> float | None:
        """The latest value no older than ``max_age_s``; of several targets, the highest."""
        since = self.now - max_age_s
        fresh = [t.last for t in self._of(metric, target) if t.last_at >= since]
        return max(fresh) if fresh else None

    def window(self, metric: str, over_s: float, *, target: str | None = None) -> Series:
        """The samples of the last ``over_s`` seconds (of the target that reported last)."""
        return self.remember(_window, metric, over_s, target)

    def mean(self, metric: str, over_s: float, *, target: str | None = None) -> float | None:
        """Mean of the last ``over_s`` seconds, ``None`` without a sample."""
        values = self.window(metric, over_s, target=target).values
        return sum(values) / len(values) if values else None

    def median(self, metric: str, over_s: float, *, target: str | None = None) -> float | None:
        """Median of the last ``over_s`` seconds, ``None`` without a sample."""
        return self.remember(_median, metric, over_s, target)

    def since(
        self,
        metric: str,
        *,
        above: float | None = None,
        below: float | None = None,
        target: str | None = None,
    ) -> float | None:
        """Since when the metric has been beyond the limit without a break; ``None`` if it is not.

        Looks back ``samples_max`` samples at most.
        """
        starts = [t.run_start(above=above, below=below) for t in self._of(metric, target)]
        known = [at for at in starts if at is not None]
        return min(known) if known else None

    def baseline(self, metric: str, *, target: str | None = None) -> Baseline | None:
        """What is usual, from calm samples only; ``None`` before there were five of them."""
        return self.remember(_baseline, metric, target)

    def failures(self, source: str | None = None, over_s: float = 10.0) -> tuple[Failure, ...]:
        """What sources failed to see in the last ``over_s`` seconds, oldest first."""
        return self.remember(_failures, source, over_s)

    def rows(self, source: str, max_age_s: float = 5.0) -> tuple[Mapping[str, object], ...]:
        """The details that came with a source's latest reading (sessions, blockers, queries)."""
        at, rows = self._rows.get(source, (-math.inf, ()))
        return rows if at >= self.now - max_age_s else ()

    def silent_s(self, source: str, target: str) -> float | None:
        """Seconds since the source last read without an error; ``None`` if it never did."""
        heard = self._heard.get((source, target))
        return None if heard is None else self.now - heard


# What History works out once for the present; its methods of the same names say what each is.


def _window(history: History, metric: str, over_s: float, target: str | None) -> Series:
    latest: Track | None = None
    for track in history._of(metric, target):
        if latest is None or track.last_at > latest.last_at:
            latest = track
    return Series((), ()) if latest is None else Series(*latest.window(history.now - over_s))


def _median(history: History, metric: str, over_s: float, target: str | None) -> float | None:
    values = history.window(metric, over_s, target=target).values
    return median(values) if values else None


def _baseline(history: History, metric: str, target: str | None) -> Baseline | None:
    best, most = math.nan, 0
    for track in history._of(metric, target):
        samples, middle = track.calm()
        if samples > most:
            best, most = middle, samples
    return Baseline(best, most) if most >= BASELINE_SAMPLES_MIN else None


def _failures(history: History, source: str | None, over_s: float) -> tuple[Failure, ...]:
    since = history.now - over_s
    return tuple(
        f for f in history._failures if f.at >= since and (source is None or f.source == source)
    )


@dataclass(frozen=True, slots=True)
class Signal:
    """A metric is past its limit (``runway_s`` = 0) or will be in ``runway_s`` seconds."""

    detector: str
    metric: str
    value: float
    limit: float
    since: float
    runway_s: float = 0.0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One measured fact for or against a cause."""

    metric: str
    value: float
    limit: float
    """What the value is held against, in the metric's unit."""
    since: float
    note: str
    """The fact in words, with its unit."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is held of one cause now, and why."""

    cause: str
    tier: Tier
    state: State
    because: str
    """One sentence that states the deciding observation."""
    evidence: tuple[Evidence, ...] = ()
    check: str = ""
    """The discriminating observation; for ``cannot_exclude`` the next cheapest thing to check."""
    strength: float = 0.0
    """0 to 1: how far past its limits the evidence is; orders confirmed causes of one tier."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The ledger with its conclusion: the deepest confirmed cause, if there is one."""

    at: float
    ledger: tuple[Verdict, ...]
    signals: tuple[Signal, ...] = ()
    cause: str | None = None
    tier: Tier | None = None
    remedies: tuple[str, ...] = ()
    """From mildest to harshest."""

    def states(self) -> Mapping[str, State]:
        return {v.cause: v.state for v in self.ledger}

    def verdict(self, cause: str) -> Verdict | None:
        return next((v for v in self.ledger if v.cause == cause), None)

    def ruled_out_tiers(self) -> tuple[Tier, ...]:
        """Tiers of which every cause is ruled out, shallow first."""
        tiers: dict[Tier, bool] = {}
        for v in self.ledger:
            tiers[v.tier] = tiers.get(v.tier, True) and v.state == "ruled_out"
        out = [tier for tier, out in tiers.items() if out]
        return tuple(sorted(out, key=lambda t: TIER_DEPTH[t]))


@dataclass(frozen=True, slots=True)
class Action:
    """Something a remedy would do or did: what, to what, and how to take it back."""

    remedy: str
    target: str
    text: str
    undo: str
    data: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """One append-only line of a timeline.

    ``kind`` is one of: ``phase`` (the drill or a person marks a moment), ``signal``, ``verdict``,
    ``diagnosis``, ``proposed``, ``acted``, ``effect``, ``operator``, ``resolved``, ``note``.
    """

    at: float
    kind: str
    text: str
    who: str = "premortem"
    data: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Incident:
    """The fold of events: what is known of one outage, or of one that was prevented."""

    opened_at: float | None = None
    detected_at: float | None = None
    named_at: float | None = None
    mitigated_at: float | None = None
    resolved_at: float | None = None
    cause: str | None = None
    tier: str | None = None
    events: Sequence[Event] = ()
