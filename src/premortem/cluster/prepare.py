"""What a fresh cluster gets: the site's database and role, and one that may only look."""

from __future__ import annotations

import psycopg
from psycopg import sql

from premortem.cluster.state import State
from premortem.cluster.topology import Node

__all__ = ["prepare_database"]


def prepare_database(state: State, leader: Node) -> None:
    """Make roles and databases that are missing. Raises ``psycopg.Error``."""
    with psycopg.connect(state.server_dsn(leader), autocommit=True) as connection:
        _role(connection, "app", state.secrets.app)
        _role(connection, "monitor", state.secrets.monitor)
        connection.execute("GRANT pg_monitor TO monitor")
        connection.execute("GRANT pg_read_all_stats TO app")  # the router asks how old a replica is
        for name in sorted({p.database for p in state.topology.pools} | {"app"}):
            query = "SELECT 1 FROM pg_database WHERE datname = %s"
            if connection.execute(query, (name,)).fetchone() is None:
                order = sql.SQL("CREATE DATABASE {} OWNER app")
                connection.execute(order.format(sql.Identifier(name)))


def _role(connection: psycopg.Connection[tuple[object, ...]], name: str, password: str) -> None:
    query = "SELECT 1 FROM pg_roles WHERE rolname = %s"
    if connection.execute(query, (name,)).fetchone() is None:
        order = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
        connection.execute(order.format(sql.Identifier(name), sql.Literal(password)))
