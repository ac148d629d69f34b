"""The history on disk: SQLite in WAL mode, rolled up 1 s → 10 s → 1 min → 10 min, bounded.

A kill -9 loses at most the transaction under way (WAL, ``synchronous=NORMAL``: SQLite manual,
"Write-Ahead Logging", section 3). One process writes; any number may read.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from premortem._store_file import (
    COARSE_S,
    StoreError,
    StoreFull,
    connect,
    connect_to_read,
    failure,
)
from premortem.model import Event, Reading, Series

__all__ = ["KEEP_DAYS", "RETENTION", "Retention", "Store", "StoreError", "StoreFull", "retention"]


@dataclass(frozen=True, slots=True)
class Retention:
    """How long a resolution is kept before it is rolled up into the next, or dropped."""

    resolution_s: int
    keep_s: int


KEEP_DAYS = 400
"""A year and a month: the plan compares a season with the one before."""

RETENTION = (
    Retention(1, 3 * 3600),  # the incident under way and the one before it
    Retention(10, 3 * 86400),  # last weekend, to compare with
    Retention(60, 30 * 86400),  # a month: the shape of a day, and of each weekday
    Retention(600, KEEP_DAYS * 86400),  # the plan works in steps of ten minutes
)


def retention(keep_days: float) -> tuple[Retention, ...]:
    """The standard resolutions with everything dropped after ``keep_days``.

    >>> [(r.resolution_s, r.keep_s // 86400) for r in retention(7)]
    [(1, 0), (10, 3), (60, 7), (600, 7)]
    """
    bound_s = int(keep_days * 86400)
    shorter = [Retention(r.resolution_s, min(r.keep_s, bound_s)) for r in RETENTION[:-1]]
    return (*shorter, Retention(RETENTION[-1].resolution_s, bound_s))


_ADD = """
INSERT INTO sample (resolution_s, series, at, n, total, low, high) VALUES (?, ?, ?, 1, ?, ?, ?)
ON CONFLICT DO UPDATE SET n = n + 1, total = total + excluded.total,
    low = min(low, excluded.low), high = max(high, excluded.high)
"""

_ROLL_UP = """
INSERT INTO sample (resolution_s, series, at, n, total, low, high)
SELECT :coarse, series, at - at % :coarse, sum(n), sum(total), min(low), max(high)
FROM sample WHERE resolution_s = :fine AND at < :before GROUP BY series, at - at % :coarse
ON CONFLICT DO UPDATE SET n = n + excluded.n, total = total + excluded.total,
    low = min(low, excluded.low), high = max(high, excluded.high)
"""


_SERIES = f"""
WITH known AS (
    SELECT id FROM series WHERE site = :site AND metric = :metric
    AND (:target IS NULL OR target = :target)
), found AS (
    SELECT at - at % :step AS at, series, n, total FROM sample
    WHERE resolution_s >= {COARSE_S} AND series IN known AND at BETWEEN :start AND :end
    UNION ALL
    SELECT at - at % :step, series, n, total FROM sample
    WHERE resolution_s IN (1, 10) AND at BETWEEN :start AND :end AND series IN known
), by_target AS (
    SELECT at, sum(n) AS n, sum(total) AS total FROM found GROUP BY at, series
)
SELECT at, CASE :across WHEN 'sum' THEN sum(total / n) ELSE sum(total) / sum(n) END
FROM by_target GROUP BY at ORDER BY at
"""

_EVENT = "INSERT INTO event (site, at, kind, who, text, data) VALUES (?, ?, ?, ?, ?, ?)"

_SHORTEST = 1 / 1024
"""A bound that even this share of the retention exceeds is too small for its sites."""

_VACUUM_PAGES = 2_000
"""At most this many free pages (8 MB) are given back to the disk at a time."""


class Store:
    """Readings, events and load runs of many sites in one file.

    Bounded: ``kept`` says how long each resolution stays; with ``max_bytes`` every one is shortened
    by halves until the data fits (checked by :meth:`roll_up`).

    >>> with Store.open(":memory:") as store:
    ...     store.append("shop", [Reading("host", "a", 5.0, {"host.cpu.busy_ratio": 0.5})])
    ...     store.series("shop", "host.cpu.busy_ratio", 0, 10)
    Series(at=(5.0,), values=(0.5,))
    """

    def __init__(
        self,
        db: sqlite3.Connection,
        path: str,
        kept: tuple[Retention, ...] = RETENTION,
        max_bytes: int | None = None,
    ) -> None:
        self._db = db
        self._path = path
        self._kept = kept
        self._max_bytes = max_bytes
        self._ids: dict[tuple[str, str, str], int] = {}

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        read_only: bool = False,
        kept: tuple[Retention, ...] = RETENTION,
        max_bytes: int | None = None,
    ) -> Self:
        """Open or create; with ``read_only`` neither the file nor its folder is written to.

        Raises :class:`StoreError` when the file cannot be used.
        """
        try:
            db = connect_to_read(Path(path)) if read_only else connect(path)
        except sqlite3.Error as error:
            raise failure(path, error, "; check the path and its permissions") from None
        return cls(db, str(path), kept, max_bytes)

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- writing: all of it, or nothing and StoreError

    def append(self, site: str, readings: Iterable[Reading], events: Iterable[Event] = ()) -> None:
        """Add readings and events in one transaction. Values that are not finite are left out."""
        with self._transaction():
            self._db.executemany(
                _ADD,
                (
                    (1, self._id(site, r.target, metric), int(r.at), value, value, value)
                    for r in readings
                    if math.isfinite(r.at)
                    for metric, value in r.values.items()
                    if math.isfinite(value)
                ),
            )
            self._db.executemany(_EVENT, (_event_row(site, e) for e in events))

    def add_event(self, site: str, event: Event) -> None:
        """Append one line to the timeline."""
        self.append(site, (), (event,))

    def add_load_run(self, site: str, at: float, result: Mapping[str, object]) -> None:
        """Keep the result of a load run (a knee, a drill) for later comparison."""
        with self._transaction():
            self._db.execute(
                "INSERT INTO load_run (site, at, result) VALUES (?, ?, ?)",
                (site, at, json.dumps(dict(result))),
            )

    def roll_up(self, now: float) -> None:
        """Fold what has outlived its resolution into the next one; drop what outlived the last.

        Then keep to ``max_bytes``: halve every retention until the data fits.
        """
        share = 1.0
        self._fold(now, share)
        while self._max_bytes and self.used_bytes() > self._max_bytes and share > _SHORTEST:
            share /= 2
            self._fold(now, share)
        self._give_back()

    def _fold(self, now: float, share: float) -> None:
        with self._transaction():
            for fine, coarse in zip(self._kept, (*self._kept[1:], None), strict=True):
                step = coarse.resolution_s if coarse else fine.resolution_s
                before = int(now - fine.keep_s * share) // step * step
                if coarse:
                    ends = {"fine": fine.resolution_s, "coarse": step, "before": before}
                    self._db.execute(_ROLL_UP, ends)
                self._db.execute(
                    "DELETE FROM sample WHERE resolution_s = ? AND at < ?",
                    (fine.resolution_s, before),
                )
            oldest = now - self._kept[-1].keep_s * share
            self._db.execute("DELETE FROM event WHERE at < ?", (oldest,))

    def _give_back(self) -> None:
        """Shrink the file when more than a quarter of it is empty."""
        with self._reported():
            pages, free = self._pragma("page_count"), self._pragma("freelist_count")
            if free > pages // 4:
                # as a script: execute() would step once, which gives back a single page
                self._db.executescript(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})")

    # -- reading

    def used_bytes(self) -> int:
        """Size of the data: the file without its empty pages."""
        with self._reported():
            used = self._pragma("page_count") - self._pragma("freelist_count")
            return used * self._pragma("page_size")

    def newest_at(self) -> float | None:
        """When the latest sample was taken, in whole seconds."""
        with self._reported():
            (found,) = self._db.execute(
                "SELECT max(at) FROM sample WHERE resolution_s = (SELECT min(resolution_s) "
                "FROM sample)"
            ).fetchone()
        return None if found is None else float(found)

    def series(
        self,
        site: str,
        metric: str,
        start: float,
        end: float,
        *,
        target: str | None = None,
        across: Literal["mean", "sum"] = "mean",
        step_s: int = 1,
    ) -> Series:
        """The metric between two instants at the finest resolution kept for each moment.

        Of several targets the mean, or with ``across="sum"`` the sum of their means: two web
        servers' requests add up, their response times do not. ``step_s`` averages over longer
        steps first; sum over no less than 10 s, since targets are not read in the same second.
        """
        asked = {
            "site": site, "metric": metric, "target": target, "across": across, "step": step_s,
            "start": int(start), "end": int(end),
        }  # fmt: skip
        with self._reported():
            rows = self._db.execute(_SERIES, asked).fetchall()
        return Series(tuple(float(r[0]) for r in rows), tuple(float(r[1]) for r in rows))

    def events(self, site: str, start: float, end: float) -> tuple[Event, ...]:
        """The timeline between two instants, oldest first."""
        with self._reported():
            rows = self._db.execute(
                "SELECT at, kind, text, who, data FROM event "
                "WHERE site = ? AND at BETWEEN ? AND ? ORDER BY at, id",
                (site, start, end),
            ).fetchall()
        return tuple(
            Event(at, kind, text, who, json.loads(data)) for at, kind, text, who, data in rows
        )

    def load_runs(self, site: str, last: int = 100) -> tuple[tuple[float, dict[str, object]], ...]:
        """The newest ``last`` load runs, oldest first."""
        with self._reported():
            rows = self._db.execute(
                "SELECT at, result FROM load_run WHERE site = ? ORDER BY at DESC, id DESC LIMIT ?",
                (site, last),
            ).fetchall()
        return tuple((at, json.loads(result)) for at, result in reversed(rows))

    # -- within

    def _id(self, site: str, target: str, metric: str) -> int:
        key = (site, target, metric)
        if key not in self._ids:
            self._db.execute(
                "INSERT OR IGNORE INTO series (site, target, metric) VALUES (?, ?, ?)", key
            )
            (found,) = self._db.execute(
                "SELECT id FROM series WHERE site = ? AND target = ? AND metric = ?", key
            ).fetchone()
            self._ids[key] = int(found)
        return self._ids[key]

    def _pragma(self, name: str) -> int:
        return int(self._db.execute(f"PRAGMA {name}").fetchone()[0])

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise failure(self._path, error) from None

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._reported():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:  # interrupted too: no half transaction; raised again
                self._ids.clear()  # ids given out inside the failed transaction are gone
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise


def _event_row(site: str, event: Event) -> tuple[str, float, str, str, str, str]:
    data = json.dumps(dict(event.data), default=str)
    return (site, event.at, event.kind, event.who, event.text, data)
