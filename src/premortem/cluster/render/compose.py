"""A compose file: the whole topology as containers of one Docker host."""

from __future__ import annotations

from dataclasses import replace

from premortem.cluster import confs
from premortem.cluster.confs import Places, Secrets
from premortem.cluster.render.file import File
from premortem.cluster.topology import Node, Topology
from premortem.cluster.yaml import dump

__all__ = ["compose"]

SUBNET = "10.213.78"
"""The containers' own network: fixed addresses, so that pg_hba and certificates name them."""


def compose(t: Topology, secrets: Secrets) -> tuple[File, ...]:
    """``compose.yml``, two Dockerfiles, and a configuration file a container.

    The network is the host's own and closed, so there is no TLS inside it; passwords are SCRAM.
    """
    placed = _placed(t)
    files = [
        File("compose.yml", dump(_compose(placed))),
        File("patroni.Dockerfile", _PATRONI.format(version=t.postgres.version)),
        File("front.Dockerfile", _FRONT),
        File("haproxy.cfg", confs.haproxy(placed)),
        File("pgbouncer.ini", confs.pgbouncer(placed, "/etc/premortem/userlist.txt")),
        File("userlist.txt", confs.userlist(secrets), secret=True),
        File("README.md", _README.format(port=t.app_port)),
    ]
    places = Places(
        data="/data/postgres",
        sockets="/tmp",
        passfile="/data/pgpass",
        etcd_data="/data/etcd",
        binaries=f"/usr/lib/postgresql/{t.postgres.version}/bin",
    )
    for n in placed.nodes:
        if n.etcd:
            files.append(File(f"{n.name}.etcd.yml", dump(confs.etcd(placed, n, places))))
        if n.postgres:
            text = dump(confs.patroni(placed, n, secrets, places))
            files.append(File(f"{n.name}.patroni.yml", text, secret=True))
    return tuple(files)


def _placed(t: Topology) -> Topology:
    """The same with container addresses; etcd and server of a node become two containers."""
    nodes: list[Node] = []
    for i, n in enumerate(t.nodes):
        if n.postgres:
            nodes.append(replace(n, address=f"{SUBNET}.{i + 11}", etcd=False))
        if n.etcd:
            voter = replace(n, name=f"etcd-{n.name}", address=f"{SUBNET}.{i + 111}")
            nodes.append(replace(voter, postgres=False))
    usual = replace(t, nodes=tuple(nodes), address=f"{SUBNET}.2", app_port=6432)
    return replace(usual, postgres=replace(t.postgres, tls=False))


def _compose(t: Topology) -> object:
    services = {n.name: _server(n) if n.postgres else _voter(n) for n in t.nodes}
    services["front"] = {
        "build": {"context": ".", "dockerfile": "front.Dockerfile"},
        "restart": "always",
        "networks": {"inside": {"ipv4_address": t.address}},
        "ports": [f"127.0.0.1:{t.app_port}:{t.app_port}"],
        "volumes": [
            "./haproxy.cfg:/etc/premortem/haproxy.cfg:ro",
            "./pgbouncer.ini:/etc/premortem/pgbouncer.ini:ro",
            "./userlist.txt:/etc/premortem/userlist.txt:ro",
        ],
    }
    return {
        "name": t.name,
        "services": services,
        "networks": {"inside": {"ipam": {"config": [{"subnet": f"{SUBNET}.0/24"}]}}},
        "volumes": {f"{n.name}-data": {} for n in t.nodes},
    }


def _common(n: Node) -> dict[str, object]:
    return {
        "restart": "always",
        "networks": {"inside": {"ipv4_address": n.address}},
    }


def _server(n: Node) -> object:
    return {
        "build": {"context": ".", "dockerfile": "patroni.Dockerfile"},
        "cpus": n.cpus,
        "mem_limit": f"{int(n.memory_gb * 1024)}m",
        "shm_size": "256m",
        "stop_grace_period": "60s",
        **_common(n),
        "volumes": [
            f"{n.name}-data:/data",
            f"./{n.name}.patroni.yml:/etc/premortem/patroni.yml:ro",
        ],
    }


def _voter(n: Node) -> object:
    return {
        "image": "quay.io/coreos/etcd:v3.5.21",
        "command": ["etcd", "--config-file", "/etc/premortem/etcd.yml"],
        **_common(n),
        "volumes": [f"{n.name}-data:/data", f"./{n.name}.etcd.yml:/etc/premortem/etcd.yml:ro"],
    }


_PATRONI = """FROM postgres:{version}
RUN apt-get update && apt-get install -y --no-install-recommends python3-venv \\
    && python3 -m venv /opt/patroni \\
    && /opt/patroni/bin/pip install 'patroni[etcd3]' 'psycopg[binary]' \\
    && rm -rf /var/lib/apt/lists/* && install -d -o postgres -g postgres -m 0700 /data
USER postgres
ENTRYPOINT ["/opt/patroni/bin/patroni", "/etc/premortem/patroni.yml"]
"""

_FRONT = """FROM debian:stable-slim
RUN apt-get update && apt-get install -y --no-install-recommends haproxy pgbouncer \\
    && rm -rf /var/lib/apt/lists/*
USER postgres
CMD ["sh", "-c", "cd /etc/premortem && haproxy -D -f haproxy.cfg && exec pgbouncer pgbouncer.ini"]
"""

_README = """# One Docker host

`docker compose up --build -d`, then sites of this host connect to 127.0.0.1:{port}. Set the owner
of `*.patroni.yml` and `userlist.txt` to uid 999 (the image's postgres), mode 0600.

One host is one point of failure, whatever the number of containers: use this to try and to test.
"""
