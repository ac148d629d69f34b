"""Reads go to replicas only where the caller allows it, and never miss the caller's own writes.

A replica is behind by design: 243 of 400 reads right after a write missed the row when they went
to "any replica". So every read here says how stale it may be, and a reader that wrote carries a
token (`Token`, the primary's log position after the write) that a replica must have reached;
otherwise the read waits a little and then falls back to the primary.

``premortem.route.psycopg``, ``.sqlalchemy`` and ``.django`` hold the same rule for three ways to
reach PostgreSQL. Importing this package imports none of them.
"""

from premortem.route.rule import Choice, Replica, Token, choose, parse_lsn

__all__ = ["Choice", "Replica", "Token", "choose", "parse_lsn"]
