"""Hold the work in flight at what the database was measured to bear."""

from __future__ import annotations

from dataclasses import dataclass

from premortem.model import Action, History
from premortem.remedies._hands import Hands, RemedyFailed

__all__ = ["CapPool"]


@dataclass(frozen=True, slots=True)
class CapPool:
    """Lower the guard's in-flight cap to the load-tested knee; the rest is queued or refused.

    Beyond the knee every further request in flight only makes all of them slower
    (universal scalability law; reference: overload-control, default policy, point 1).
    Never raises a cap.
    """

    async def apply(self, hands: Hands, history: History) -> Action | None:
        knee = hands.knee_in_flight
        if knee is None:
            raise RemedyFailed("no load-tested knee is known: run a load test, then set guard.cap")
        cap = history.value("web.in_flight_limit")
        if cap is not None and cap <= knee:
            return None
        answer = await hands.set_guard({"cap": knee})
        old = answer.get("old", {})
        before = old.get("cap", cap) if isinstance(old, dict) else cap
        return Action(
            "cap_pool",
            hands.guard_url or "",
            f"in-flight cap lowered from {before:g} to {knee} requests",
            f"set the guard's cap back to {before:g}",
            {"before": before, "after": knee},
        )

    async def undo(self, hands: Hands, action: Action) -> None:
        await hands.set_guard({"cap": action.data["before"]})
