"""Looks into a PostgreSQL server through one persistent connection.

A look is a task that fills a ``Look`` as it goes; whoever waits for it takes what there is when its
time is up and lets the task go on. So a frozen server costs a read its bound and no connection.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg

from premortem.sources._contract import say
from premortem.sources._pg_connection import Connection
from premortem.sources._pg_names import AGES, COUNTS, DATABASE, SLOW, WAL, Row, floats, named, rates
from premortem.sources._pg_sessions import blocking, session_row, without_literals
from premortem.sources._pg_sql import OLDEST, query, together
from premortem.sources._pg_statements import Grown, Statements, statement_values
from premortem.sources._rates import Counters, ratio

__all__ = ["Look", "Looker"]


ROWS_MAX = 60
_TEXTS_MAX = 200
_TOP_STATEMENTS = 5
_MARK = "/* premortem */"
_LEARN, _LEARN_LACKING = 60, 15
"""Looks between questions for the facts; sooner while something lacks that may be granted now."""


@dataclass(slots=True)
class Look:
    """What one look has found so far."""

    begun: float
    task: asyncio.Task[None] = field(init=False, repr=False)
    values: dict[str, float] = field(default_factory=dict)
    rows: list[Mapping[str, object]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    answered: bool = False
    """At least one query was answered."""
    broken: bool = False
    """There is no connection."""
    timed_out: bool = False
    """A query ran into its statement time-out."""


Part = tuple[str, Callable[[Look], Awaitable[None]]]


@dataclass(frozen=True, slots=True)
class Facts:
    """What does not change while the connection lives."""

    version: int
    role: str
    connections_max: int
    sees_all: bool
    statements_schema: str | None


@dataclass(slots=True)
class Looker:
    """Keeps the connection and what must be remembered between looks."""

    _link: Connection
    give_up_s: float
    lacks: tuple[str, ...] = ()
    _facts: Facts | None = None
    _look: Look | None = None
    _looks: int = 0
    _database: Counters = field(default_factory=Counters)
    _wal: Counters = field(default_factory=Counters)
    _statements: Statements = field(default_factory=Statements)
    _texts: dict[int, str] = field(default_factory=dict)
    _slow: dict[str, float] = field(default_factory=dict)
    _slow_rows: list[Mapping[str, object]] = field(default_factory=list)

    def begin(self, at: float) -> Look:
        """Start a look, or go on waiting for the one that has had no reply yet."""
        if self._look is None:
            self._look = Look(at)
            self._look.task = asyncio.create_task(self._run(self._look))
        return self._look

    def end(self, at: float) -> Look:
        """What was found by now; an unanswered look says so and stays begun."""
        look = self._look
        assert look is not None
        if look.task.done():
            self._look = None
            look.task.result()
            return look
        silent_s = at - look.begun
        if silent_s > self.give_up_s:
            self._link.hang_up()
        partial = Look(look.begun, dict(look.values), list(look.rows), list(look.problems))
        partial.answered = look.answered
        partial.problems.append(f"no reply to a query for {silent_s:.1f} s")
        look.values.clear()  # told now: never again, as of a later time
        look.rows.clear()
        return partial

    async def close(self) -> None:
        """End what is under way and close the connection."""
        if self._look is not None:
            self._link.hang_up()
            self._look.task.cancel()
            await asyncio.wait({self._look.task}, timeout=1.0)
            self._look = None
        await self._drop()

    async def _drop(self) -> None:
        self._facts = None
        for memory in (self._database, self._wal, self._statements):
            memory.forget()
        self._slow.clear()
        self._slow_rows.clear()
        await self._link.close()

    async def _run(self, look: Look) -> None:
        if (refusal := await self._link.ready()) is not None:
            look.problems.append(refusal)
            look.broken = True
            return
        for part, verb in self._due():
            await self._part(look, part, verb)
            if look.timed_out or look.broken:
                break
        if look.broken:
            await self._drop()
        self._looks += 1
        look.values |= self._slow
        look.rows = (look.rows + self._slow_rows)[:ROWS_MAX]

    def _due(self) -> list[Part]:
        """The parts of this look. The slow ones take turns, so that no look pays for all."""
        parts: list[Part] = []
        learn_again = _LEARN_LACKING if self.lacks else _LEARN
        if self._facts is None or self._looks % learn_again == learn_again - 1:
            parts.append(("facts", self._learn))
        parts.append(("sessions", self._sessions))
        turn = self._looks % 5
        if turn == 1:
            parts.append(("log", self._log))
        if turn == 2:
            parts.append(("statements", self._statement_counters))
        if self._looks % 15 == 4:
            parts.append(("age", self._age))
        return parts

    async def _part(self, look: Look, part: str, verb: Callable[[Look], Awaitable[None]]) -> None:
        try:
            await verb(look)
        except psycopg.errors.QueryCanceled:
            look.timed_out = True
            look.problems.append(f"{part}: 57014 no result within 1 s")
        except (psycopg.Error, OSError) as problem:
            code = getattr(problem, "sqlstate", None)
            look.problems.append(f"{part}: {code + ' ' if code else ''}{say(problem)}")
            look.broken = self._link.closed
        except LookupError as problem:
            look.problems.append(str(problem.args[0]))
        else:
            look.answered = True

    async def _ask(
        self, name: str, schema: str = "", params: Sequence[object] | None = None
    ) -> Row:
        """The first row of the query ``name``, or nothing."""
        return next(iter(await self._rows(name, schema, params)), {})

    async def _rows(
        self, name: str, schema: str = "", params: Sequence[object] | None = None
    ) -> list[dict[str, Any]]:
        version = self._facts.version if self._facts else OLDEST
        return await self._link.rows(query(name, version, schema), params)

    async def _learn(self, look: Look) -> None:
        row = await self._ask("facts")
        schema = row["statements_schema"] if row["statements_loaded"] else None
        first = self._facts is None
        self._facts = Facts(
            row["version"] // 10_000, row["role"], row["connections_max"], row["sees_all"], schema
        )
        self.lacks = tuple(_lacks(self._facts))
        if first:  # said once a connection in the error, always in the rows
            look.problems += [lack for lack in self.lacks if "pg_monitor" in lack]

    async def _sessions(self, look: Look) -> None:
        assert self._facts is not None
        look.values["db.connections.max"] = float(self._facts.connections_max)
        look.rows += [{"kind": "lack", "text": lack} for lack in self.lacks]
        which = "sessions" if self._facts.sees_all else "connections"
        row = (await self._link.rows(together(which, "database", self._facts.version), None))[0]
        self._database_counters(look, row)
        look.values |= named(row, COUNTS)
        if not self._facts.sees_all:
            return
        look.values |= {k: max(0.0, look.values.get(k, 0.0)) for k in AGES}
        blockers: dict[int, Mapping[str, object]] = {}
        if row["blocked"]:
            await self._blocking(look, blockers)
        else:
            look.values["db.root_blocker.blocked_sessions"] = 0.0
        look.rows += [*blockers.values()]
        look.rows += [session_row(r) for r in row["rows"] if r["pid"] not in blockers]
        look.rows += [{"kind": "application", **a} for a in row["applications"]]

    async def _blocking(self, look: Look, blockers: dict[int, Mapping[str, object]]) -> None:
        found = {r["pid"]: r for r in await self._rows("blocking")}
        waits_for = {pid: r["blocked_by"] for pid, r in found.items() if r["blocked_by"]}
        blocked = blocking(waits_for)
        worst = max(blocked, key=lambda pid: len(blocked[pid]), default=None)
        if worst is None:
            return  # the lock was let go in between
        look.values["db.root_blocker.blocked_sessions"] = float(len(blocked[worst]))
        if worst in found:
            look.values["db.root_blocker.age_s"] = float(found[worst]["age_s"] or 0.0)
        by_weight = sorted(found, key=lambda pid: -len(blocked.get(pid, ())))
        for pid in by_weight[:20]:
            root = next((r for r, waiters in blocked.items() if pid in waiters), None)
            blockers[pid] = session_row(found[pid], root)

    def _database_counters(self, look: Look, row: Row) -> None:
        totals = floats({k: row[k] for k in DATABASE if k in row})
        elapsed_s, grown = self._database.growth(time.perf_counter(), totals)
        if not elapsed_s:
            return
        look.values |= rates(grown, elapsed_s)
        if "xact_commit" in grown and "xact_rollback" in grown:
            ended = grown["xact_commit"] + grown["xact_rollback"]
            look.values["db.transactions_per_s"] = ended / elapsed_s
        hits, reads = grown.get("blks_hit"), grown.get("blks_read")
        if hits is not None and reads is not None and (share := ratio(hits, hits + reads)):
            look.values["db.cache_hit_ratio"] = share
        if read_ms := ratio(grown.get("blk_read_time"), reads):  # 0 ms: track_io_timing is off
            look.values["db.io.read_ms"] = read_ms

    async def _log(self, _: Look) -> None:
        assert self._facts is not None
        both = together("wal", "replication", self._facts.version)
        row = (await self._link.rows(both, None))[0]
        elapsed_s, grown = self._wal.growth(
            time.perf_counter(), floats({k: row[k] for k in WAL if k in row})
        )
        if elapsed_s:
            self._slow |= rates(grown, elapsed_s)
        found = named(row, SLOW)
        for metric in SLOW.values():
            if metric.startswith("db.replica") or metric == "db.xmin.age":
                self._slow.pop(metric, None)
        self._slow |= found

    async def _age(self, _: Look) -> None:
        self._slow |= named(await self._ask("age"), SLOW)

    async def _statement_counters(self, _: Look) -> None:
        schema = self._facts.statements_schema if self._facts else None
        if schema is None:
            return
        row = await self._ask("statements", schema)
        elapsed_s, grown = self._statements.look(
            time.perf_counter(), row["ids"], row["calls"], row["ms"], row["rows"]
        )
        await self._learn_texts(schema, [g.queryid for g in grown[: 2 * _TOP_STATEMENTS]])
        ours = {i for i, text in self._texts.items() if _MARK in text}
        self._slow |= statement_values(elapsed_s, grown, ours)
        theirs = [g for g in grown if g.queryid not in ours][:_TOP_STATEMENTS]
        self._slow_rows = [self._statement_row(g, elapsed_s) for g in theirs]

    async def _learn_texts(self, schema: str, wanted: list[int]) -> None:
        unknown = [i for i in wanted if i not in self._texts]
        if not unknown:
            return
        if len(self._texts) + len(unknown) > _TEXTS_MAX:
            self._texts.clear()
        for row in await self._rows("statement_texts", schema, [unknown]):
            self._texts[row["queryid"]] = row["query"] or ""

    def _statement_row(self, grown: Grown, elapsed_s: float) -> dict[str, object]:
        return {
            "kind": "statement",
            "queryid": grown.queryid,
            "calls_per_s": grown.calls / elapsed_s,
            "mean_ms": grown.mean_ms,
            "rows_per_call": grown.rows / grown.calls,
            "query": without_literals(self._texts.get(grown.queryid, "")),
        }


def _lacks(facts: Facts) -> list[str]:
    found = []
    if not facts.sees_all:
        found.append(
            f"role {facts.role} lacks pg_monitor and sees no other's sessions:"
            f' GRANT pg_monitor TO "{facts.role}"'
        )
    if facts.statements_schema is None:
        found.append(
            "pg_stat_statements is missing: add it to shared_preload_libraries, restart,"
            " CREATE EXTENSION pg_stat_statements"
        )
    return found
