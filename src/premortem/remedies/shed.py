"""Refuse early and politely: ask visitors to come back after the surge, keep the buyers."""

from __future__ import annotations

from dataclasses import dataclass

from premortem.model import Action, History
from premortem.remedies._hands import Hands, RemedyFailed

__all__ = ["Shed"]


@dataclass(frozen=True, slots=True)
class Shed:
    """Lengthen the ``Retry-After`` the guard sends, so that refused visitors do not all come back
    into the same surge (retry budgets: Google SRE book, "Handling Overload")."""

    retry_after_s: tuple[int, int] = (20, 60)
    """Earliest and latest return, drawn evenly: longer than a surge's ramp, since a visitor who
    returns sooner meets the same full house, and wide, so that they do not return together."""

    async def apply(self, hands: Hands, history: History) -> Action | None:
        if not history.value("web.in_flight_limit"):
            raise RemedyFailed("no guard reports a limit: put premortem.guard in front of the site")
        earliest, latest = self.retry_after_s
        wanted = {"retry_after_min_s": earliest, "retry_after_max_s": latest}
        answer = await hands.set_guard(wanted)
        old = answer.get("old", {})
        if old == wanted:
            return None
        was = f"{old.get('retry_after_min_s')} to {old.get('retry_after_max_s')} s"
        return Action(
            "shed",
            hands.guard_url or "",
            f"refused visitors are asked to come back after {earliest} to {latest} s (was {was})",
            f"set the guard's Retry-After back to {was}",
            {"before": old, "after": wanted},
        )

    async def undo(self, hands: Hands, action: Action) -> None:
        before = action.data["before"]
        await hands.set_guard(before if isinstance(before, dict) else {})
