"""The seeds' timeline, compressed: which rates when, and what the operators did at which minute.

Pure. Times are seconds from the start of the ramp, which stands for the postmortems' minute 0.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SEED", "Phase", "Seed", "Step", "Timeline", "timeline"]


@dataclass(frozen=True, slots=True)
class Seed:
    """What the two postmortems say, in minutes after the first alert (both tell the same)."""

    network_blamed_min: float = 5
    network_team_min: float = 15
    web_blamed_min: float = 30
    web_overloaded_min: float = 45
    capacity_added_min: float = 75
    named_min: float = 90
    surge_over_min: float = 100
    """Not in the postmortems: set so that what the restart cleared can be told from the surge."""
    mitigated_min: float = 120
    recovered_min: float = 150


SEED = Seed()

CALM_SHARE = 0.4
"""Load on an ordinary day, as a share of the knee: 2.5 times headroom, a comfortable site."""

SURGE_SHARE = 3.0
"""The surge, as a multiple of the knee."""

RAMP_MIN = 37.5
"""15 s at the usual 2.5 min/s: a campaign mail being opened, not a step."""

LEAD_IN_S = 12.0
"""Calm before the ramp at any speed: a baseline takes samples, and one comes a second."""

TAIL_MIN = 10.0
"""Watched after the seeds' end (4 s at 2.5 min/s)."""


@dataclass(frozen=True, slots=True)
class Phase:
    """One stretch of load: from one share of the knee to another."""

    name: str
    start_s: float
    end_s: float
    from_share: float
    to_share: float


@dataclass(frozen=True, slots=True)
class Step:
    """What an operator believes or does at one moment of the seeds."""

    at_s: float
    minute: float
    action: str
    """``blame``, ``rule_out``, ``add_workers`` or ``restart_database``."""
    tier: str
    text: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """Phases of load and the operators' steps, in seconds from the start of the ramp."""

    speed_min_per_s: float
    phases: tuple[Phase, ...]
    steps: tuple[Step, ...]

    @property
    def start_s(self) -> float:
        return self.phases[0].start_s

    @property
    def end_s(self) -> float:
        return self.phases[-1].end_s

    def phase(self, name: str) -> Phase:
        """The phase of that name. Raises ``KeyError`` when there is none."""
        for phase in self.phases:
            if phase.name == name:
                return phase
        raise KeyError(name)


def timeline(speed_min_per_s: float = 2.5, seed: Seed = SEED) -> Timeline:
    """Compress the seeds' 150 minutes: at 2.5 min/s they last 60 s.

    >>> line = timeline()
    >>> [(p.name, p.start_s, p.end_s) for p in line.phases]
    [('calm', -12.0, 0.0), ('ramp', 0.0, 15.0), ('hold', 15.0, 40.0), ('after', 40.0, 64.0)]
    >>> [(s.action, s.at_s) for s in line.steps][-2:]
    [('blame', 36.0), ('restart_database', 48.0)]
    """
    if not 0 < speed_min_per_s <= 10:
        raise ValueError(
            f"speed {speed_min_per_s:g} min/s: must be above 0 and at most 10 "
            "(faster leaves no time for time-outs to happen)"
        )

    def at(minute: float) -> float:
        return minute / speed_min_per_s

    def step(minute: float, action: str, tier: str, text: str) -> Step:
        return Step(at(minute), minute, action, tier, text)

    phases = (
        Phase("calm", -LEAD_IN_S, 0.0, CALM_SHARE, CALM_SHARE),
        Phase("ramp", 0.0, at(RAMP_MIN), CALM_SHARE, SURGE_SHARE),
        Phase("hold", at(RAMP_MIN), at(seed.surge_over_min), SURGE_SHARE, SURGE_SHARE),
        Phase(
            "after",
            at(seed.surge_over_min),
            at(seed.recovered_min + TAIL_MIN),
            CALM_SHARE,
            CALM_SHARE,
        ),
    )
    steps = (
        step(seed.network_blamed_min, "blame", "network", "the network is assumed to have failed"),
        step(seed.network_team_min, "note", "network", "the network team is called in"),
        step(seed.web_blamed_min, "rule_out", "network", "the network team rules the network out"),
        step(seed.web_blamed_min, "blame", "web", "the web servers are suspected"),
        step(seed.web_overloaded_min, "note", "web", "the web servers are seen to be overloaded"),
        step(seed.capacity_added_min, "add_workers", "web", "web workers are added"),
        step(seed.named_min, "rule_out", "web", "the added workers did not help"),
        step(seed.named_min, "blame", "database", "the database is found to be the bottleneck"),
        step(seed.mitigated_min, "restart_database", "database", "the database is restarted"),
    )
    return Timeline(speed_min_per_s, phases, steps)
