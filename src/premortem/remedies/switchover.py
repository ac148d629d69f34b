"""Move the primary to another server while clients are held for a moment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from premortem.model import Action, History
from premortem.remedies._hands import Hands, RemedyFailed

__all__ = ["ClusterHands", "Move", "Switchover"]

Move = Callable[[str], Awaitable[Mapping[str, object]]]
"""Makes the named member (empty: the best replica) primary; returns ``from`` and ``primary``.
Raises :class:`RemedyFailed` when the cluster refuses."""

FRESH_S = 5.0
"""A cluster that was not seen for this long is not known to have somewhere to go."""


@dataclass(frozen=True, slots=True)
class ClusterHands(Hands):
    """The means to act on a site whose database is a cluster."""

    move: Move | None = None


@dataclass(frozen=True, slots=True)
class Switchover:
    """Hand the primary's role to a replica that has every commit: what a restart would clear is
    cleared (sessions, a sick process, a slow disk), and clients wait a moment instead of failing.

    Only on a cluster that is well: a leader, a replica that confirms commits or streams without
    delay, and a consensus store to decide.
    """

    lag_bytes_max: float = 1_048_576.0
    """Patroni's own limit for a candidate (``maximum_lag_on_failover``)."""

    async def apply(self, hands: Hands, history: History) -> Action | None:
        move = hands.move if isinstance(hands, ClusterHands) else None
        if move is None:
            raise RemedyFailed("no cluster to switch over: the site's database stands alone")
        why_not = self.why_not(history)
        if why_not:
            raise RemedyFailed(why_not)
        moved = await move("")
        before, after = str(moved.get("from", "")), str(moved.get("primary", ""))
        return Action(
            "switchover",
            after,
            f"the primary moved from {before} to {after}; clients were held meanwhile",
            f"switch over to {before}",
            {"from": before, "primary": after},
        )

    async def undo(self, hands: Hands, action: Action) -> None:
        """Move it back. Raises :class:`RemedyFailed` when the cluster refuses."""
        move = hands.move if isinstance(hands, ClusterHands) else None
        if move is None:
            raise RemedyFailed("no cluster to switch back")
        await move(str(action.data["from"]))

    def why_not(self, history: History) -> str:
        """Why a switchover now would be a risk; empty when nothing measured speaks against it."""

        def now(metric: str) -> float | None:
            return history.value(metric, max_age_s=FRESH_S)

        if now("db.cluster.primaries") != 1 or now("db.cluster.leaders") != 1:
            return "not exactly one member leads: let the failover end, or look for a split brain"
        if not now("db.cluster.followers"):
            return "no replica streams: there is nobody to switch to"
        if now("db.cluster.sync_wanted") and not now("db.cluster.sync_standbys"):
            return "no replica confirms commits: some that were acknowledged could be lost"
        lag = now("db.cluster.lag_bytes")
        if not now("db.cluster.sync_wanted") and lag is not None and lag > self.lag_bytes_max:
            return f"the slowest replica lacks {lag / 1e6:.1f} MB: wait until it has them"
        if now("db.cluster.failsafe") or now("db.cluster.paused"):
            return "the cluster cannot elect now (no consensus, or in maintenance)"
        return ""
