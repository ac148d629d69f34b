"""An index is gone, or the planner no longer uses it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import ClassVar, Self

from premortem.drills.faults._fault import Expects, Rig, SiteKind

__all__ = ["SlowQuery"]

KINDS = {
    "the index of reviews by product is dropped": (
        "DROP INDEX review_by_product",
        "CREATE INDEX IF NOT EXISTS review_by_product ON review (product_id, written_on DESC)"
        " INCLUDE (stars)",
    ),
    "a setting forbids the site's queries to use indexes": (
        "ALTER ROLE site SET enable_indexscan = off; ALTER ROLE site SET enable_bitmapscan = off;"
        " ALTER ROLE site SET enable_indexonlyscan = off",
        "ALTER ROLE site RESET enable_indexscan; ALTER ROLE site RESET enable_bitmapscan;"
        " ALTER ROLE site RESET enable_indexonlyscan",
    ),
    "the rating view computes every review each time": (
        "ALTER TABLE review RENAME TO review_kept;"
        " CREATE VIEW review AS SELECT id, product_id, stars, body, written_on FROM review_kept"
        " WHERE length(upper(body)) + stars > 0 OFFSET 0; ALTER VIEW review OWNER TO site",
        "DROP VIEW IF EXISTS review; ALTER TABLE IF EXISTS review_kept RENAME TO review",
    ),
}
"""What breaks it and what mends it; each mend may be done twice."""


@dataclass(frozen=True, slots=True)
class SlowQuery:
    """The same pages are asked for; one of their queries reads whole tables."""

    kind: str
    guarded: bool

    expects: ClassVar[Expects] = Expects("slow_query", "database")

    @classmethod
    def draw(cls, dice: random.Random) -> Self:
        """Which query, and whether the guard protects the site."""
        return cls(dice.choice(sorted(KINDS)), dice.random() < 0.7)

    @property
    def site(self) -> SiteKind:
        """Any."""
        return SiteKind(guard="guards" if self.guarded else "observes")

    @property
    def words(self) -> str:
        """What is done."""
        return self.kind

    @asynccontextmanager
    async def inject(self, rig: Rig) -> AsyncIterator[None]:
        """Break the query's plan."""
        await rig.run(KINDS[self.kind][0])
        await self._anew(rig)
        try:
            yield
        finally:
            await rig.run(KINDS[self.kind][1], "ANALYZE review")

    async def _anew(self, rig: Rig) -> None:
        """Sessions read their role's settings when they begin: end the pool's idle ones once."""
        if "ALTER ROLE" in KINDS[self.kind][0]:
            await rig.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                          " WHERE usename = 'site'")  # fmt: skip
