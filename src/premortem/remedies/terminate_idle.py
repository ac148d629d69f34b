"""Give slots back: end the sessions that have been idle the longest."""

from __future__ import annotations

from dataclasses import dataclass

from premortem.model import Action, History
from premortem.remedies._hands import Hands

__all__ = ["TerminateIdle"]

_OLDEST_IDLE = """
WITH oldest AS (
    SELECT pid FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
      AND application_name <> 'premortem'
      AND state IN ('idle', 'idle in transaction', 'idle in transaction (aborted)')
      AND state_change < clock_timestamp() - make_interval(secs => %s)
    ORDER BY state_change LIMIT %s
)
SELECT pid, pg_terminate_backend(pid) AS ended FROM oldest
"""


@dataclass(frozen=True, slots=True)
class TerminateIdle:
    """End the sessions idle the longest, at most ``sessions_max`` of them.

    Idle sessions hold slots without doing work; a pool opens new ones when it needs them, so the
    harm is one failed statement for a client that wakes up at that moment.
    """

    idle_s_min: float = 5.0
    """Shorter is a session between two statements, not one that is forgotten."""
    sessions_max: int = 20
    """A fifth of the usual 100 slots: enough to breathe, few enough to watch the effect."""

    async def apply(self, hands: Hands, history: History) -> Action | None:
        rows = await hands.query(_OLDEST_IDLE, (self.idle_s_min, self.sessions_max))
        pids = [row["pid"] for row in rows if row["ended"]]
        if not pids:
            return None
        return Action(
            "terminate_idle",
            "database",
            f"{len(pids)} sessions idle for more than {self.idle_s_min:g} s ended",
            "none needed: pools open new sessions by themselves",
            {"pids": pids},
        )

    async def undo(self, hands: Hands, action: Action) -> None:
        """A session that ended cannot be brought back; its pool replaces it."""
