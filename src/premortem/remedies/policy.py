"""What may be done now. Pure: a diagnosis and what was done before in, proposals out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from premortem.model import Diagnosis

__all__ = ["Policy", "Proposal", "decide"]


@dataclass(frozen=True, slots=True)
class Policy:
    """The team's leave to act. By default premortem proposes and touches nothing."""

    act: bool = False
    allow: tuple[str, ...] = ()
    """Remedies that may be applied without asking, by name."""
    again_after_s: float = 30.0
    """An effect needs time to show: the same remedy is not applied twice within this."""
    acts_per_hour_max: int = 6
    """A remedy that is needed more often than every ten minutes is not a remedy: call a person."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """One remedy for the named cause, and whether it is to be applied now."""

    remedy: str
    cause: str
    apply: bool
    why: str


def decide(
    diagnosis: Diagnosis, done: Sequence[tuple[float, str]], policy: Policy
) -> tuple[Proposal, ...]:
    """Propose the named cause's remedies, mildest first; apply at most one, within the policy.

    ``done`` holds (when, remedy) of what was applied or proposed before: nothing is said twice
    within ``again_after_s``.

    >>> d = Diagnosis(100.0, (), (), "lock_contention", "database", ("cancel_blocker",))
    >>> decide(d, [], Policy(act=True, allow=("cancel_blocker",)))[0].apply
    True
    >>> decide(d, [(90.0, "cancel_blocker")], Policy(act=True, allow=("cancel_blocker",)))
    ()
    """
    if diagnosis.cause is None:
        return ()
    recent = {name: at for at, name in done}
    applied_this_hour = sum(1 for at, _ in done if at > diagnosis.at - 3600)
    proposals: list[Proposal] = []
    applying = False
    for name in diagnosis.remedies:
        if recent.get(name, float("-inf")) > diagnosis.at - policy.again_after_s:
            continue
        may, why = _may(name, policy, applied_this_hour)
        apply = may and not applying
        applying = applying or apply
        proposals.append(
            Proposal(
                name, diagnosis.cause, apply, why if apply or not may else "after the milder one"
            )
        )
    return tuple(proposals)


def _may(name: str, policy: Policy, applied_this_hour: int) -> tuple[bool, str]:
    if not policy.act:
        return False, "proposed only: acting is off (--act)"
    if name not in policy.allow:
        return False, f"proposed only: {name} is not in the policy's allow list"
    if applied_this_hour >= policy.acts_per_hour_max:
        return False, f"proposed only: {applied_this_hour} acts within the hour is the limit"
    return True, "allowed by the policy"
