"""A forgotten transaction holds the oldest snapshot; what is updated stays as dead rows."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import ClassVar, Self

import psycopg

from premortem.drills.faults._fault import Expects, Rig, SiteKind, ended

__all__ = ["VacuumBloat"]

BATCH = "UPDATE order_line SET quantity = quantity WHERE order_id % 20 = {part}"
"""A twentieth of the order lines, some 4,000 rows."""
AGE = """DO $$ BEGIN FOR n IN 1..1500 LOOP
  BEGIN INSERT INTO basket DEFAULT VALUES; RAISE EXCEPTION 'x';
  EXCEPTION WHEN raise_exception THEN NULL; END;
END LOOP; END $$"""
"""1,500 transaction ids (a subtransaction that writes takes one) and as many dead rows."""
PARTS = 28


@dataclass(frozen=True, slots=True)
class VacuumBloat:
    """What takes an afternoon at a shop's pace is done in seconds, the same way."""

    pause_s: float
    """Between two batches."""
    kind: str
    """Who holds the snapshot."""

    expects: ClassVar[Expects] = Expects("vacuum_bloat", "database")

    @classmethod
    def draw(cls, dice: random.Random) -> Self:
        """A transaction or a replication slot; batches every 0.1 to 0.3 s."""
        return cls(round(dice.uniform(0.1, 0.3), 2), dice.choice(("prepared", "reader")))

    @property
    def site(self) -> SiteKind:
        """Autovacuum is on, as always; it cannot help. Prepared transactions are allowed."""
        return SiteKind(load_share=0.25, settings={"max_prepared_transactions": "2"})

    @property
    def words(self) -> str:
        """What is done."""
        holder = "a forgotten prepared transaction" if self.kind == "prepared" else "a long report"
        return f"{holder} holds the oldest snapshot while a batch updates rows"

    @asynccontextmanager
    async def inject(self, rig: Rig) -> AsyncIterator[None]:
        """Hold a snapshot and update; let go and vacuum."""
        async with (
            rig.sessions(1, "report") as (holder,),
            rig.sessions(1, "batch", autocommit=True) as (batch,),
        ):
            work = [
                asyncio.create_task(self._hold(holder)),
                asyncio.create_task(self._update(batch)),
            ]
            try:
                yield
            finally:
                await ended(work)
                if self.kind == "prepared":
                    await rig.run("ROLLBACK PREPARED 'forgotten'")
        await rig.run("VACUUM order_line", "VACUUM basket")

    async def _hold(self, holder: psycopg.AsyncConnection[object]) -> None:
        if self.kind == "prepared":
            await holder.execute("INSERT INTO orders (total_cents) VALUES (1)")
            await holder.execute("PREPARE TRANSACTION 'forgotten'")
            return
        await holder.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        await holder.execute("SELECT pg_sleep(600) FROM orders LIMIT 1")

    async def _update(self, batch: psycopg.AsyncConnection[object]) -> None:
        for part in range(PARTS):
            await batch.execute(BATCH.format(part=part % 20).encode())
            if part % 3 == 0:
                await batch.execute(AGE.encode())
            await asyncio.sleep(self.pause_s)
