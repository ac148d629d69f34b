"""The history on disk: SQLite in WAL mode, rolled up 1 s → 10 s → 1 min, bounded by retention.

A kill -9 loses at most the transaction under way (WAL, ``synchronous=NORMAL``: SQLite manual,
"Write-Ahead Logging", section 3). One process writes; any number may read.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from premortem.model import Event, Reading, Series

__all__ = ["RETENTION", "Retention", "Store", "StoreError"]


@dataclass(frozen=True, slots=True)
class Retention:
    """How long a resolution is kept before it is rolled up into the next, or dropped."""

    resolution_s: int
    keep_s: int


RETENTION = (
    Retention(1, 3 * 3600),  # the incident under way and the one before it
    Retention(10, 3 * 86400),  # last weekend, to compare with
    Retention(60, 400 * 86400),  # a year and a month: seasons for the plan
)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS series (
    id INTEGER PRIMARY KEY, site TEXT NOT NULL, target TEXT NOT NULL, metric TEXT NOT NULL,
    UNIQUE (site, target, metric)
);
CREATE TABLE IF NOT EXISTS sample (
    resolution_s INTEGER NOT NULL, series INTEGER NOT NULL, at INTEGER NOT NULL,
    n INTEGER NOT NULL, total REAL NOT NULL, low REAL NOT NULL, high REAL NOT NULL,
    PRIMARY KEY (resolution_s, series, at)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sample_age ON sample (resolution_s, at);
CREATE TABLE IF NOT EXISTS event (
    id INTEGER PRIMARY KEY, site TEXT NOT NULL, at REAL NOT NULL, kind TEXT NOT NULL,
    who TEXT NOT NULL, text TEXT NOT NULL, data TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS event_at ON event (site, at);
CREATE TABLE IF NOT EXISTS load_run (
    id INTEGER PRIMARY KEY, site TEXT NOT NULL, at REAL NOT NULL, result TEXT NOT NULL
);
"""

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


class StoreError(RuntimeError):
    """The store cannot be opened or written: says which file and why."""


class Store:
    """Readings, events and load runs of many sites in one file.

    >>> with Store.open(":memory:") as store:
    ...     store.append("shop", [Reading("host", "a", 5.0, {"host.cpu.busy_ratio": 0.5})])
    ...     store.series("shop", "host.cpu.busy_ratio", 0, 10)
    Series(at=(5.0,), values=(0.5,))
    """

    def __init__(self, db: sqlite3.Connection, path: str) -> None:
        self._db = db
        self._path = path
        self._ids: dict[tuple[str, str, str], int] = {}

    @classmethod
    def open(cls, path: str | Path) -> Store:
        """Open or create. Raises :class:`StoreError` when the file cannot be used."""
        try:
            db = sqlite3.connect(str(path), isolation_level=None, timeout=5.0)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise StoreError(
                f"history {path}: {error}; check the path and its permissions"
            ) from None
        return cls(db, str(path))

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def append(self, site: str, readings: Iterable[Reading]) -> None:
        """Add readings in one transaction; a full disk raises :class:`StoreError`."""
        try:
            with self._transaction():
                self._db.executemany(
                    _ADD,
                    (
                        (1, self._id(site, r.target, metric), int(r.at), value, value, value)
                        for r in readings
                        for metric, value in r.values.items()
                    ),
                )
        except sqlite3.Error as error:
            self._ids.clear()  # ids given out inside the failed transaction are gone
            raise StoreError(f"history {self._path}: {error}") from None

    def roll_up(self, now: float) -> None:
        """Fold what has outlived its resolution into the next one; drop what outlived the last."""
        with self._transaction():
            for fine, coarse in zip(RETENTION, (*RETENTION[1:], None), strict=True):
                step = coarse.resolution_s if coarse else fine.resolution_s
                before = int(now - fine.keep_s) // step * step
                if coarse:
                    self._db.execute(
                        _ROLL_UP,
                        {
                            "fine": fine.resolution_s,
                            "coarse": coarse.resolution_s,
                            "before": before,
                        },
                    )
                self._db.execute(
                    "DELETE FROM sample WHERE resolution_s = ? AND at < ?",
                    (fine.resolution_s, before),
                )

    def series(
        self, site: str, metric: str, start: float, end: float, *, target: str | None = None
    ) -> Series:
        """Averages between ``start`` and ``end`` at the finest resolution kept for each moment."""
        rows = self._db.execute(
            """SELECT s.at, sum(s.total) / sum(s.n) FROM sample s JOIN series d ON d.id = s.series
               WHERE d.site = ? AND d.metric = ? AND (? IS NULL OR d.target = ?)
                 AND s.at >= ? AND s.at <= ? GROUP BY s.at ORDER BY s.at""",
            (site, metric, target, target, int(start), int(end)),
        ).fetchall()
        return Series(tuple(float(r[0]) for r in rows), tuple(float(r[1]) for r in rows))

    def add_event(self, site: str, event: Event) -> None:
        """Append one line to the timeline."""
        self._db.execute(
            "INSERT INTO event (site, at, kind, who, text, data) VALUES (?, ?, ?, ?, ?, ?)",
            (
                site,
                event.at,
                event.kind,
                event.who,
                event.text,
                json.dumps(dict(event.data), default=str),
            ),
        )

    def events(self, site: str, start: float, end: float) -> tuple[Event, ...]:
        """The timeline between two instants, oldest first."""
        rows = self._db.execute(
            "SELECT at, kind, text, who, data FROM event "
            "WHERE site = ? AND at BETWEEN ? AND ? ORDER BY at, id",
            (site, start, end),
        ).fetchall()
        return tuple(
            Event(at, kind, text, who, json.loads(data)) for at, kind, text, who, data in rows
        )

    def add_load_run(self, site: str, at: float, result: Mapping[str, object]) -> None:
        """Keep the result of a load run (a knee, a drill) for later comparison."""
        self._db.execute(
            "INSERT INTO load_run (site, at, result) VALUES (?, ?, ?)",
            (site, at, json.dumps(dict(result))),
        )

    def load_runs(self, site: str, last: int = 100) -> tuple[tuple[float, dict[str, object]], ...]:
        """The newest ``last`` load runs, oldest first."""
        rows = self._db.execute(
            "SELECT at, result FROM load_run WHERE site = ? ORDER BY at DESC, id DESC LIMIT ?",
            (site, last),
        ).fetchall()
        return tuple((at, json.loads(result)) for at, result in reversed(rows))

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

    def _transaction(self) -> _Transaction:
        return _Transaction(self._db)


class _Transaction:
    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._db.execute("COMMIT")
        elif self._db.in_transaction:
            self._db.execute("ROLLBACK")
