"""What a cluster consists of: nodes, zones, pools, time limits; and the file that says so.

A topology is a value. The same noun describes three servers on this machine (loopback, ports of
their own) and three machines in three zones; `check` judges it, `render` and `confs` write it down.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from ipaddress import ip_address
from typing import Any, Literal, TypeVar, get_args

__all__ = [
    "BadTopology",
    "Node",
    "Pool",
    "Postgres",
    "Sync",
    "Timing",
    "Topology",
    "read_topology",
    "topology_from",
]

Sync = Literal["quorum", "on", "off"]
"""``quorum``: any replica must hold a commit; ``on``: a named one; ``off``: none (may lose)."""

Auth = Literal["scram-sha-256", "trust"]

T = TypeVar("T")


class BadTopology(ValueError):
    """The file cannot be read as a topology: one line that says where and what to do."""


@dataclass(frozen=True, slots=True)
class Node:
    """One server. Ports are the usual ones unless several nodes share an address."""

    name: str
    address: str
    zone: str = "one"
    """What fails together: a room, a data centre, an availability zone."""
    cpus: float = 2.0
    memory_gb: float = 4.0
    postgres: bool = True
    """False for a small machine that only votes in etcd."""
    etcd: bool = True
    rtt_ms: float = 0.5
    """Round trip to the farthest other node; 0.5 ms is one data centre."""
    postgres_port: int = 5432
    patroni_port: int = 8008
    etcd_client_port: int = 2379
    etcd_peer_port: int = 2380

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the node."""
        try:
            return ip_address(self.address).is_loopback
        except ValueError:
            return self.address == "localhost"


@dataclass(frozen=True, slots=True)
class Pool:
    """One database and user behind PgBouncer, and how many server connections it may hold."""

    database: str = "app"
    user: str = "app"
    size: int = 20
    """Server connections; two to four times the cores keep it busy without a crowd."""
    reserve: int = 5
    poolers: int = 1
    """How many PgBouncer processes hold this pool at once."""
    replicas: bool = False
    """Whether it leads to the replicas; clients then call it by the database's name + ``_ro``."""

    @property
    def total(self) -> int:
        """Connections this pool may open on one server.

        A replica's pool counts too: after a failover its connections are the primary's.
        """
        return (self.size + self.reserve) * self.poolers

    @property
    def alias(self) -> str:
        """The database name clients ask the pooler for."""
        return f"{self.database}_ro" if self.replicas else self.database


@dataclass(frozen=True, slots=True)
class Timing:
    """Patroni's time limits, in seconds. Its own minimums: ttl 20, loop_wait 1, retry_timeout 3."""

    ttl_s: int = 20
    """How long a silent primary keeps the leader key: the longest a dead host stays undetected."""
    loop_wait_s: int = 1
    retry_timeout_s: int = 3


@dataclass(frozen=True, slots=True)
class Postgres:
    """Settings all servers share."""

    version: int = 18
    max_connections: int = 100
    reserved: int = 3
    """superuser_reserved_connections: the way in when everything else is taken."""
    shared_buffers_mb: int = 128
    auth: Auth = "scram-sha-256"
    tls: bool = True
    archive_command: str = ""
    """Set it (pgBackRest, Barman, WAL-G) and archiving is on; empty means no backups of WAL."""
    slot_wal_mb: int = 2048
    """WAL a lost replica may hold back before its slot is given up: the disk is worth more."""


@dataclass(frozen=True, slots=True)
class Topology:
    """A whole cluster."""

    name: str
    nodes: tuple[Node, ...]
    pools: tuple[Pool, ...] = (Pool(), Pool(replicas=True))
    sync: Sync = "quorum"
    no_loss: bool = True
    """Whether the owner asks that no acknowledged write is ever lost."""
    lag_bytes_max: int = 16 * 1024 * 1024
    """A replica further behind gets no reads: 16 MB is one WAL segment."""
    timing: Timing = field(default_factory=Timing)
    postgres: Postgres = field(default_factory=Postgres)
    address: str = "127.0.0.1"
    """Where the pooler and the proxy listen."""
    app_port: int = 6432
    primary_port: int = 5000
    replica_port: int = 5001
    stats_port: int = 7000

    @property
    def servers(self) -> tuple[Node, ...]:
        """The nodes that run PostgreSQL."""
        return tuple(n for n in self.nodes if n.postgres)

    @property
    def voters(self) -> tuple[Node, ...]:
        """The nodes that run etcd."""
        return tuple(n for n in self.nodes if n.etcd)

    @property
    def loopback(self) -> bool:
        """Whether nothing outside this machine can reach any part."""
        return all(n.loopback for n in self.nodes)

    def node(self, name: str) -> Node:
        """The node of that name. Raises ``BadTopology`` with the names there are."""
        for n in self.nodes:
            if n.name == name:
                return n
        raise BadTopology(f"no node {name!r}; there are {', '.join(n.name for n in self.nodes)}")


def read_topology(text: str, where: str = "topology") -> Topology:
    """Read a TOML topology. Raises ``BadTopology`` with one line: where, what, what to do.

    >>> t = read_topology('name = "shop"\\n[[nodes]]\\nname = "db1"\\naddress = "10.0.0.1"\\n')
    >>> t.name, t.sync, t.nodes[0].address
    ('shop', 'quorum', '10.0.0.1')
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadTopology(f"{where}: not TOML: {error}") from error
    return topology_from(table, where)


def topology_from(table: Mapping[str, Any], where: str) -> Topology:
    """The same from a table that was read already. Raises ``BadTopology``."""
    parts: dict[str, Any] = dict(table)
    parts["nodes"] = _rows(Node, table.get("nodes", []), f"{where}: nodes")
    parts["pools"] = _rows(Pool, table.get("pools", [{}, {"replicas": True}]), f"{where}: pools")
    parts["timing"] = _noun(Timing, table.get("timing", {}), f"{where}: timing")
    parts["postgres"] = _noun(Postgres, table.get("postgres", {}), f"{where}: postgres")
    topology = _noun(Topology, parts, where)
    _whole(topology, where)
    return topology


def _whole(topology: Topology, where: str) -> None:
    if not topology.servers:
        raise BadTopology(f"{where}: no nodes: add at least one [[nodes]] with name and address")
    names = [n.name for n in topology.nodes]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise BadTopology(f"{where}: two nodes are called {twice[0]!r}: give each its own name")
    if topology.sync not in get_args(Sync):
        raise BadTopology(f"{where}: sync = {topology.sync!r}: use quorum, on or off")
    if topology.postgres.auth not in get_args(Auth):
        raise BadTopology(f"{where}: auth = {topology.postgres.auth!r}: use scram-sha-256")


def _rows(noun: type[T], rows: object, where: str) -> tuple[T, ...]:
    if not isinstance(rows, list):
        raise BadTopology(f"{where}: write it as [[{where.rpartition(' ')[2]}]] tables")
    return tuple(_noun(noun, row, f"{where}[{i}]") for i, row in enumerate(rows))


def _noun(noun: type[T], table: object, where: str) -> T:
    if not isinstance(table, Mapping):
        raise BadTopology(f"{where}: must be a table")
    known = {f.name: f for f in fields(noun)}  # type: ignore[arg-type]
    for key, value in table.items():
        if key not in known:
            raise BadTopology(f"{where}: unknown key {key!r}; known: {', '.join(known)}")
        _same_kind(known[key].default, value, f"{where}: {key}")
    for name, f in known.items():
        required = f.default is MISSING and f.default_factory is MISSING
        if required and name not in table:
            raise BadTopology(f"{where}: {name} is missing")
        if required and isinstance(table[name], str | int) and not isinstance(table[name], str):
            raise BadTopology(f"{where}: {name} must be text")
    return noun(**table)


def _same_kind(default: object, value: object, where: str) -> None:
    if default is MISSING or isinstance(value, tuple):
        return
    if isinstance(default, bool) or isinstance(value, bool):
        if not (isinstance(default, bool) and isinstance(value, bool)):
            raise BadTopology(f"{where} = {value!r}: expected {_kind(default)}")
    elif isinstance(default, float) and isinstance(value, int | float):
        if value < 0:
            raise BadTopology(f"{where} = {value!r}: must not be negative")
    elif type(default) is not type(value):
        raise BadTopology(f"{where} = {value!r}: expected {_kind(default)}")
    elif isinstance(value, int) and value < 0:
        raise BadTopology(f"{where} = {value!r}: must not be negative")


def _kind(default: object) -> str:
    kinds = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    return kinds.get(type(default), type(default).__name__)
