"""CloudNativePG: a ``Cluster`` and two ``Pooler``s; the operator takes Patroni's place."""

from __future__ import annotations

from premortem.cluster.confs import Secrets
from premortem.cluster.render.file import File
from premortem.cluster.topology import Topology
from premortem.cluster.yaml import dump

__all__ = ["kubernetes"]

API = "postgresql.cnpg.io/v1"


def kubernetes(t: Topology, secrets: Secrets) -> tuple[File, ...]:
    """``cluster.yml``, ``poolers.yml`` and ``secret.yml``."""
    poolers = [dump(_pooler(t, kind)) for kind in ("rw", "ro")]
    return (
        File("cluster.yml", dump(_cluster(t))),
        File("poolers.yml", "---\n".join(poolers)),
        File("secret.yml", dump(_secret(t, secrets)), secret=True),
        File("README.md", _README.format(name=t.name)),
    )


def _cluster(t: Topology) -> object:
    first = t.servers[0]
    parameters = {
        "max_connections": str(t.postgres.max_connections),
        "superuser_reserved_connections": str(t.postgres.reserved),
        "shared_buffers": f"{t.postgres.shared_buffers_mb}MB",
        "max_slot_wal_keep_size": f"{t.postgres.slot_wal_mb}MB",
    }
    postgresql: dict[str, object] = {"parameters": parameters}
    if t.sync != "off":
        postgresql["synchronous"] = {
            "method": "any",
            "number": 1,
            # "preferred" goes on alone when no replica is left, as Patroni does; "required" stops
            "dataDurability": "preferred",
            # promote only a replica that is known to hold every acknowledged commit
            "failoverQuorum": True,
        }
    spread = len({n.zone for n in t.servers}) > 1
    return {
        "apiVersion": API,
        "kind": "Cluster",
        "metadata": {"name": t.name},
        "spec": {
            "instances": len(t.servers),
            "imageName": f"ghcr.io/cloudnative-pg/postgresql:{t.postgres.version}",
            "bootstrap": {
                "initdb": {
                    "database": t.pools[0].database,
                    "owner": t.pools[0].user,
                    "dataChecksums": True,
                    "secret": {"name": f"{t.name}-app"},
                }
            },
            "postgresql": postgresql,
            "affinity": {
                "enablePodAntiAffinity": True,
                "podAntiAffinityType": "required",
                "topologyKey": "topology.kubernetes.io/zone"
                if spread
                else "kubernetes.io/hostname",
            },
            "resources": {
                "requests": {"cpu": f"{first.cpus:g}", "memory": f"{first.memory_gb:g}Gi"},
                "limits": {"memory": f"{first.memory_gb:g}Gi"},
            },
            "storage": {"size": "20Gi"},
        },
    }


def _pooler(t: Topology, kind: str) -> object:
    pools = [p for p in t.pools if p.replicas is (kind == "ro")] or list(t.pools)
    return {
        "apiVersion": API,
        "kind": "Pooler",
        "metadata": {"name": f"{t.name}-pooler-{kind}"},
        "spec": {
            "cluster": {"name": t.name},
            "instances": max(p.poolers for p in pools),
            "type": kind,
            "pgbouncer": {
                "poolMode": "transaction",
                "parameters": {
                    "max_client_conn": "2000",
                    "default_pool_size": str(max(p.size for p in pools)),
                    "reserve_pool_size": str(max(p.reserve for p in pools)),
                    "server_login_retry": "1",
                    "query_wait_timeout": "30",
                },
            },
        },
    }


def _secret(t: Topology, secrets: Secrets) -> object:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": f"{t.name}-app"},
        "type": "kubernetes.io/basic-auth",
        "stringData": {"username": t.pools[0].user, "password": secrets.app},
    }


_README = """# For CloudNativePG

Install the operator, 1.28 or newer (its own documentation), then
`kubectl apply -f secret.yml -f cluster.yml -f poolers.yml`.
Sites connect to the service `{name}-pooler-rw`, or `{name}-pooler-ro` for reads that may be stale.
Choose `storage.size` and a storage class for your data; users report 40-80 s of downtime when a
whole machine is lost.
"""
