"""Which column of which query is which metric. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["AGES", "COUNTS", "DATABASE", "RATES", "SLOW", "WAL", "Row", "floats", "named", "rates"]

Row = Mapping[str, Any]

RATES = {
    "xact_rollback": "db.rollbacks_per_s",
    "blks_read": "db.blocks_read_per_s",
    "tup_returned": "db.rows_scanned_per_s",
    "temp_bytes": "db.temp_bytes_per_s",
    "deadlocks": "db.deadlocks_per_s",
    "conflicts": "db.conflicts_per_s",
    "sessions": "db.connections.opened_per_s",
    "timed": "db.checkpoints.timed_per_s",
    "requested": "db.checkpoints.requested_per_s",
    "wal_bytes": "db.wal.bytes_per_s",
}
DATABASE = (
    *("xact_commit", "xact_rollback", "blks_hit", "blks_read", "tup_returned", "temp_bytes"),
    *("deadlocks", "conflicts", "blk_read_time", "sessions"),
)
"""The columns of database.sql."""
WAL = ("timed", "requested", "wal_bytes")
"""The columns of wal.sql."""
COUNTS = {
    "used": "db.connections.used",
    "active": "db.sessions.active",
    "idle": "db.sessions.idle",
    "idle_in_transaction": "db.sessions.idle_in_transaction",
    "oldest_transaction_s": "db.sessions.oldest_transaction_s",
    "oldest_idle_s": "db.sessions.oldest_idle_s",
    "oldest_idle_in_transaction_s": "db.sessions.oldest_idle_in_transaction_s",
    "wait_cpu": "db.wait.cpu",
    "wait_io": "db.wait.io",
    "wait_lock": "db.wait.lock",
    "wait_lwlock": "db.wait.lwlock",
    "wait_client": "db.wait.client",
    "wait_other": "db.wait.other",
    "wait_wal": "db.wait.wal",
    "blocked": "db.blocked_sessions",
}
SLOW = {
    "replicas": "db.replica.count",
    "lag_s": "db.replica.lag_s",
    "lag_bytes": "db.replica.lag_bytes",
    "shipping_lag_bytes": "db.replica.shipping_lag_bytes",
    "xmin_age": "db.xmin.age",
    "xid_age_ratio": "db.xid.age_ratio",
    "dead_tuple_ratio": "db.dead_tuple_ratio",
}
AGES = (
    "db.sessions.oldest_transaction_s",
    "db.sessions.oldest_idle_s",
    "db.sessions.oldest_idle_in_transaction_s",
)


def named(row: Row, names: Mapping[str, str]) -> dict[str, float]:
    return {m: float(row[c]) for c, m in names.items() if row.get(c) is not None}


def floats(row: Row) -> dict[str, float]:
    return {k: float(v) for k, v in row.items() if v is not None}


def rates(grown: Mapping[str, float], elapsed_s: float) -> dict[str, float]:
    return {RATES[k]: v / elapsed_s for k, v in grown.items() if k in RATES}
