"""The history's file: its tables, how it is opened, and what its failures mean."""

from __future__ import annotations

import sqlite3
from pathlib import Path

__all__ = ["COARSE_S", "StoreError", "StoreFull", "connect", "connect_to_read", "failure"]

COARSE_S = 60
"""From this resolution on there is an index by series: a year is read, not a minute."""

_SCHEMA = f"""
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS series (
    id INTEGER PRIMARY KEY, site TEXT NOT NULL, target TEXT NOT NULL, metric TEXT NOT NULL,
    UNIQUE (site, target, metric)
);
-- Ordered by time, so that a second of a site's samples is one page written, not one a series.
CREATE TABLE IF NOT EXISTS sample (
    resolution_s INTEGER NOT NULL, series INTEGER NOT NULL, at INTEGER NOT NULL,
    n INTEGER NOT NULL, total REAL NOT NULL, low REAL NOT NULL, high REAL NOT NULL,
    PRIMARY KEY (resolution_s, at, series)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sample_coarse ON sample (series, at) WHERE resolution_s >= {COARSE_S};
CREATE TABLE IF NOT EXISTS event (
    id INTEGER PRIMARY KEY, site TEXT NOT NULL, at REAL NOT NULL, kind TEXT NOT NULL,
    who TEXT NOT NULL, text TEXT NOT NULL, data TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS event_at ON event (site, at);
CREATE TABLE IF NOT EXISTS load_run (
    id INTEGER PRIMARY KEY, site TEXT NOT NULL, at REAL NOT NULL, result TEXT NOT NULL
);
"""

_LOG_BYTES_MAX = 16 * 2**20
"""The write-ahead log is cut back to this: a checkpoint is due every 4 MB."""

_BUSY_S = 5.0
"""How long to wait for another process that writes (a drill, a plan's load run)."""


class StoreError(RuntimeError):
    """The store cannot be opened, read or written: says which file and why."""


class StoreFull(StoreError):
    """It cannot be written now: the disk is full or failing, or another process holds it."""


_PASSING = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY})


def failure(path: str | Path, error: sqlite3.Error, hint: str = "") -> StoreError:
    """What to raise for an error of SQLite."""
    if getattr(error, "sqlite_errorcode", 0) & 0xFF in _PASSING:
        return StoreFull(f"history {path}: {error}")
    return StoreError(f"history {path}: {error}{hint}")


def connect(path: str | Path) -> sqlite3.Connection:
    """Open or create. Raises ``sqlite3.Error``."""
    # one thread at a time uses a store, not always the one that opened it
    db = sqlite3.connect(str(path), isolation_level=None, timeout=_BUSY_S, check_same_thread=False)
    try:
        db.executescript(_SCHEMA)
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES_MAX}")
    except sqlite3.Error:
        db.close()
        raise
    return db


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open without writing to the file or its folder. Raises ``sqlite3.Error``.

    Reading beside a writer needs the log's index next to the file; where none can be made nobody
    writes, and the file alone is the truth (https://www.sqlite.org/wal.html#readonly).
    """
    address = path.absolute().as_uri() + "?mode=ro"
    try:
        return _readable(address)
    except sqlite3.OperationalError:
        if not path.exists() or path.with_name(path.name + "-wal").exists():
            raise
    return _readable(address + "&immutable=1")


def _readable(address: str) -> sqlite3.Connection:
    db = sqlite3.connect(address, uri=True, isolation_level=None, timeout=_BUSY_S)
    try:
        db.execute("SELECT count(*) FROM series").fetchone()
    except sqlite3.Error:
        db.close()
        raise
    return db
