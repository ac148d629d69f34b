"""What a rehearsed fault's diagnosis was worth. Pure: a recording's ticks in, a score out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from premortem.drills.faults._fault import Expects
from premortem.model import TIER_DEPTH, Diagnosis
from premortem.pipeline import Tick

__all__ = ["CaseScore", "score_case"]

RANK = {"confirmed": 0, "suspected": 1, "cannot_exclude": 2, "ruled_out": 3}


@dataclass(frozen=True, slots=True)
class CaseScore:
    """One case. Times are seconds after the fault began."""

    named: str | None
    """The cause that was named for most seconds of the fault; ``None`` when none was."""
    first_named: str | None
    named_s: float | None
    """When the true cause was named first; ``None`` when it never was."""
    tier: str | None
    top1: bool
    top3: bool
    """Whether the true cause was among the three first of the ledger when it was clearest."""
    tier_right: bool
    true_cause_ruled_out: bool
    """Whether it stood ruled out while another was named, or at the end of the fault."""
    wrong_confirmed: tuple[str, ...]
    """Other causes that were confirmed at some time: some are real effects of the fault."""
    calm_named: tuple[str, ...]
    """Causes named before the fault began: false alarms."""
    warned_s: float | None
    """The first signal or named cause."""
    first_failure_s: float | None
    """The first user who failed."""

    @property
    def warned_before_failure(self) -> bool:
        """Warned before the first user failed, or although none did."""
        if self.warned_s is None:
            return False
        return self.first_failure_s is None or self.warned_s <= self.first_failure_s

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self) | {"warned_before_failure": self.warned_before_failure}


def score_case(
    ticks: Iterable[Tick],
    expects: Expects,
    *,
    onset: float,
    until: float,
    first_failure: float | None,
) -> CaseScore:
    """Fold ticks into a score. ``onset``, ``until`` and ``first_failure`` in epoch seconds."""
    seen = list(ticks)
    during = [t for t in seen if onset <= t.now <= until]
    named = [(t.now, t.diagnosis.cause) for t in during if t.diagnosis.cause is not None]
    held = Counter(cause for _, cause in named)
    most = held.most_common(1)[0][0] if held else None
    right = [at for at, cause in named if cause == expects.cause]
    tiers = Counter(t.diagnosis.tier for t in during if t.diagnosis.tier is not None)
    tier = tiers.most_common(1)[0][0] if tiers else None
    return CaseScore(
        named=most,
        first_named=named[0][1] if named else None,
        named_s=round(right[0] - onset, 1) if right else None,
        tier=tier,
        top1=most == expects.cause,
        top3=any(expects.cause in _first_three(t.diagnosis) for t in during[-8:]),
        tier_right=tier == expects.tier,
        true_cause_ruled_out=_ruled_out(during, expects.cause),
        wrong_confirmed=_wrong(during, expects.cause),
        calm_named=tuple(
            sorted({t.diagnosis.cause for t in seen if t.now < onset and t.diagnosis.cause})
        ),
        warned_s=_warned(during, onset),
        first_failure_s=None if first_failure is None else round(first_failure - onset, 1),
    )


def _first_three(diagnosis: Diagnosis) -> Sequence[str]:
    """The ledger's order for a reader: by verdict, then tier, then strength."""
    ranked = sorted(
        (v for v in diagnosis.ledger if v.state in ("confirmed", "suspected")),
        key=lambda v: (RANK[v.state], -TIER_DEPTH[v.tier], -v.strength),
    )
    return [v.cause for v in ranked[:3]]


def _ruled_out(during: Sequence[Tick], cause: str) -> bool:
    def out(tick: Tick) -> bool:
        return tick.diagnosis.states().get(cause) == "ruled_out"

    others = (t for t in during if t.diagnosis.cause not in (None, cause))
    return any(out(t) for t in others) or (bool(during) and out(during[-1]))


def _wrong(during: Sequence[Tick], cause: str) -> tuple[str, ...]:
    found = {v.cause for t in during for v in t.diagnosis.ledger if v.state == "confirmed"}
    return tuple(sorted(found - {cause}))


def _warned(during: Sequence[Tick], onset: float) -> float | None:
    for tick in during:
        if tick.diagnosis.signals or tick.diagnosis.cause is not None:
            return round(tick.now - onset, 1)
    return None
