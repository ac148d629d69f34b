"""A cluster on this machine, as its folder remembers it: later commands find everything here."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from psycopg.conninfo import make_conninfo

from premortem.cluster.confs import Places, Secrets
from premortem.cluster.topology import Node, Topology, topology_from
from premortem.engines.errors import EngineError
from premortem.engines.patroni import Launch, Patroni
from premortem.engines.pgbouncer import Console
from premortem.engines.processes import User
from premortem.engines.programs import Program

__all__ = ["State", "load", "new_secrets", "save", "write_closed"]

FILE = "cluster.json"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class State:
    """Everything needed to start, ask, stop and remove a cluster on this machine."""

    folder: Path
    run: Path
    """Short, for sockets: a socket's path may have 107 bytes at most."""
    topology: Topology
    secrets: Secrets
    launch: Launch
    postgres: Path
    """PostgreSQL's bin folder."""
    etcd: Program
    haproxy: Program | None = None
    pgbouncer: Program | None = None

    def home(self, node: Node) -> Path:
        return self.folder / node.name

    @property
    def front(self) -> Path:
        return self.folder / "front"

    def data(self, node: Node) -> Path:
        return self.home(node) / "postgres"

    def places(self, node: Node) -> Places:
        home = self.home(node)
        return Places(
            data=str(self.data(node)),
            sockets=str(self.run / node.name),
            binaries=str(self.postgres),
            passfile=str(home / "pgpass"),
            etcd_data=str(home / "etcd"),
        )

    def patroni(self, node: Node, within_s: float = 1.0) -> Patroni:
        url = f"http://{node.address}:{node.patroni_port}"
        return Patroni(url, self.secrets.rest, within_s)

    @property
    def etcd_urls(self) -> list[str]:
        return [f"http://{v.address}:{v.etcd_client_port}" for v in self.topology.voters]

    @property
    def leader_key(self) -> str:
        return f"/service/{self.topology.name}/leader"

    @property
    def console(self) -> Console:
        """The pooler's; it holds those databases that lead to the primary."""
        t = self.topology
        held = tuple(sorted({p.alias for p in t.pools if not p.replicas}))
        return Console(t.address, t.app_port, "premortem", self.secrets.rest, held)

    def server_dsn(self, node: Node, role: str = "postgres", database: str = "postgres") -> str:
        """Straight to one server. Holds a password."""
        passwords = {"postgres": self.secrets.superuser, "monitor": self.secrets.monitor}
        return make_conninfo(
            host=node.address,
            port=node.postgres_port,
            user=role,
            password=passwords.get(role, self.secrets.app),
            dbname=database,
            connect_timeout=3,
        )

    def dsn(self, *, replicas: bool = False) -> str:
        """What a site connects with: pooled if there is a pooler, else the best there is."""
        t = self.topology
        host, port, extra = t.address, t.app_port, {}
        if self.pgbouncer is None and self.haproxy is not None:
            port = t.replica_port if replicas else t.primary_port
        elif self.pgbouncer is None:
            host = ",".join(n.address for n in t.servers)
            extra = {"target_session_attrs": "prefer-standby" if replicas else "read-write"}
        ports = ",".join(str(n.postgres_port) for n in t.servers) if extra else str(port)
        pooled_ro = replicas and self.pgbouncer is not None
        return make_conninfo(
            host=host,
            port=ports,
            user="app",
            password=self.secrets.app,
            dbname="app_ro" if pooled_ro else "app",
            **extra,
        )

    def with_topology(self, topology: Topology) -> State:
        return replace(self, topology=topology)


def new_secrets() -> Secrets:
    """Fresh passwords of 128 random bits."""
    return Secrets(**{f.name: secrets.token_hex(16) for f in fields(Secrets)})


def save(state: State) -> None:
    """Write the folder's memory, readable by its owner only; never half a file."""
    table = {
        "format": FORMAT,
        "run": str(state.run),
        "topology": asdict(state.topology),
        "secrets": asdict(state.secrets),
        "launch": {**asdict(state.launch), "prefix": list(state.launch.prefix)},
        "postgres": str(state.postgres),
        **{name: _table(getattr(state, name)) for name in ("etcd", "haproxy", "pgbouncer")},
    }
    write_closed(state.folder / FILE, json.dumps(table, indent=1), None)


def load(folder: Path) -> State:
    """Read it again. Raises ``EngineError`` with one line when there is no cluster."""
    path = folder / FILE
    try:
        table = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise EngineError(
            f"no cluster in {folder}: premortem cluster up --folder {folder}"
        ) from error
    except (OSError, ValueError) as error:
        raise EngineError(f"cannot read {path}: {error}") from error
    if table.get("format") != FORMAT:
        raise EngineError(f"{path} is of another version: destroy the cluster and start it anew")
    user = table["launch"]["user"]
    launch = Launch(
        tuple(table["launch"]["prefix"]),
        table["launch"]["interpreter"],
        table["launch"]["env"],
        User(**user) if user else None,
        table["launch"]["warning"],
    )
    return State(
        folder,
        Path(table["run"]),
        topology_from(table["topology"], str(path)),
        Secrets(**table["secrets"]),
        launch,
        Path(table["postgres"]),
        *(_program(table[name]) for name in ("etcd", "haproxy", "pgbouncer")),  # type: ignore[arg-type]
    )


def _table(program: Program | None) -> Mapping[str, object] | None:
    if program is None:
        return None
    return {**asdict(program), "path": str(program.path)}


def _program(table: Mapping[str, Any] | None) -> Program | None:
    if table is None:
        return None
    return Program(Path(table["path"]), table["origin"], tuple(table["version"]), table["warning"])


def write_closed(path: Path, text: str, user: User | None) -> None:
    """Write a file that only ``user`` (``None``: ourselves) may read; never half of it."""
    fresh = path.with_suffix(path.suffix + ".new")
    fresh.touch(0o600)
    fresh.write_text(text)
    if user is not None:
        os.chown(fresh, user.uid, user.gid)
    fresh.replace(path)
