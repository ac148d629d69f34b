"""What one run left behind: all that a postmortem may speak from. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from premortem.model import Event, State, Verdict

__all__ = ["AS_IT_HAPPENED", "PROTECTED", "Record", "utc"]

AS_IT_HAPPENED = "as_it_happened"
PROTECTED = "protected"


@dataclass(frozen=True, slots=True)
class Record:
    """One run: its figures, its seconds, its events. Empty parts are allowed: nothing was seen.

    ``t`` is always in seconds from the start of the ramp, negative before it.
    """

    mode: str
    """:data:`AS_IT_HAPPENED` or :data:`PROTECTED`."""
    ramp_at: float
    """Start of the ramp, seconds since the Unix epoch."""
    seconds: tuple[Mapping[str, float], ...] = ()
    """A row a second: ``t``, users ``offered``, ``served``, ``refused`` and ``failed``,
    ``requests_ok``, ``attempts``."""
    sessions: tuple[tuple[float, float, float, float], ...] = ()
    """Database sessions as (t, active, idle, the most the server allows)."""
    events: tuple[Event, ...] = ()
    ledger: tuple[tuple[float, Mapping[str, State]], ...] = ()
    """What was held of each cause from ``t`` on."""
    final_ledger: tuple[Verdict, ...] = ()
    """The ledger at the moment the cause was named."""
    scenario: str = ""
    result: Mapping[str, Any] = field(default_factory=dict)
    """This run's entry in ``result.json``."""
    knee_rps: float | None = None
    """Requests per second at which goodput stopped rising in the calibration."""
    speed_min_per_s: float | None = None
    """Minutes of the replayed timeline a second of the run stands for; ``None``: real time."""

    def offset_s(self, at: float) -> float:
        """Seconds from the start of the ramp to ``at``."""
        return at - self.ramp_at

    def figure(self, name: str) -> float | None:
        """A figure of the result; ``None`` when it is missing, null or not a number."""
        value = self.result.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return float(value) if math.isfinite(value) else None

    def ordered(self) -> tuple[Event, ...]:
        """The events, oldest first; those of one instant stay in the order they were written."""
        return tuple(sorted(self.events, key=lambda event: event.at))

    def phase_at(self, name: str) -> float | None:
        """When the first ``phase`` event of that name was written, seconds since the epoch."""
        for event in self.ordered():
            if event.kind == "phase" and event.data.get("phase") == name:
                return event.at
        return None

    def settings(self) -> dict[str, float]:
        """Settings the run states, by name (``pool_size``, ``cap``): in the result or an event."""
        found: dict[str, float] = {}
        stated = [event.data.get("settings") for event in self.ordered()]
        for source in [*stated, self.result.get("settings")]:
            if isinstance(source, Mapping):
                found |= {
                    str(k): float(v)
                    for k, v in source.items()
                    if isinstance(v, int | float) and not isinstance(v, bool)
                }
        return found


def utc(at: float) -> datetime:
    """The moment in UTC, the only zone of our documents: those of the seeds had to be guessed."""
    return datetime.fromtimestamp(at, UTC)
