"""Free the queue behind a lock: cancel the statement, or end the session, at its root."""

from __future__ import annotations

from dataclasses import dataclass

from premortem.model import Action, History
from premortem.remedies._hands import Hands

__all__ = ["CancelBlocker"]

_ROOTS = """
WITH RECURSIVE waits AS (
    SELECT a.pid AS waiter, unnest(pg_blocking_pids(a.pid)) AS blocker
    FROM pg_stat_activity a WHERE a.wait_event_type = 'Lock'
), chain AS (
    SELECT waiter, blocker FROM waits
    UNION
    SELECT c.waiter, w.blocker FROM chain c JOIN waits w ON w.waiter = c.blocker
)
SELECT c.blocker AS pid, count(DISTINCT c.waiter) AS waiters, a.state,
       extract(epoch FROM clock_timestamp() - a.xact_start) AS age_s
FROM chain c JOIN pg_stat_activity a ON a.pid = c.blocker
WHERE c.blocker NOT IN (SELECT waiter FROM waits)
GROUP BY c.blocker, a.state, a.xact_start
ORDER BY waiters DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class CancelBlocker:
    """Cancel the root blocker's statement; end its session when it sits idle in a transaction.

    The root is found by the transitive closure of ``pg_blocking_pids``: only one of twelve waiters
    named it directly in the measurement this rests on. A cancelled statement rolls back.
    """

    age_s_min: float = 2.0
    """A younger blocker is about to commit by itself."""

    async def apply(self, hands: Hands, history: History) -> Action | None:
        rows = await hands.query(_ROOTS)
        if not rows or (rows[0]["age_s"] or 0) < self.age_s_min:
            return None
        root = rows[0]
        idle = str(root["state"]).startswith("idle")
        how = "pg_terminate_backend" if idle else "pg_cancel_backend"
        done = await hands.query(f"SELECT {how}(%s) AS done", (root["pid"],))
        if not done or not done[0]["done"]:
            return None
        done_to = "ended" if idle else "cancelled"
        held_s = float(root["age_s"])
        return Action(
            "cancel_blocker",
            f"session {root['pid']}",
            f"root blocker {root['pid']} ({root['state']}, {held_s:.1f} s in its transaction) "
            f"{done_to}; {root['waiters']} sessions were waiting for it",
            "none: its transaction rolled back; the client must run it again",
            {"pid": root["pid"], "waiters": root["waiters"], "how": how},
        )

    async def undo(self, hands: Hands, action: Action) -> None:
        """A transaction that was rolled back must be run again by its client."""
