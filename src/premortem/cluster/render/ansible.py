"""An inventory and variables for Autobase (github.com/vitabaks/autobase), which installs it all."""

from __future__ import annotations

from premortem.cluster.confs import Secrets
from premortem.cluster.render.file import File
from premortem.cluster.topology import Node, Topology
from premortem.cluster.yaml import dump

__all__ = ["ansible"]


def ansible(t: Topology, secrets: Secrets) -> tuple[File, ...]:
    """``inventory.yml``, ``vars.yml`` and, apart from them, ``secrets.yml`` for ansible-vault."""
    return (
        File("inventory.yml", dump(_inventory(t))),
        File("vars.yml", dump(_variables(t))),
        File("secrets.yml", dump(_secrets(secrets)), secret=True),
        File("README.md", _README),
    )


def _inventory(t: Topology) -> object:
    first, *rest = t.servers
    children = {
        "etcd_cluster": _hosts(t.voters),
        "balancers": {"hosts": {t.address: None}},
        "master": _hosts((first,)),
        "replica": _hosts(tuple(rest)),
        "postgres_cluster": {"children": {"master": None, "replica": None}},
    }
    return {"all": {"children": _filled(children)}}


def _filled(value: object) -> object:
    """Ansible wants an empty mapping where there is nothing."""
    if isinstance(value, dict):
        return {k: _filled(v) for k, v in value.items()}
    return {} if value is None else value


def _hosts(nodes: tuple[Node, ...]) -> object:
    return {"hosts": {n.address: {"hostname": n.name} for n in nodes}}


def _variables(t: Topology) -> object:
    return {
        "patroni_cluster_name": t.name,
        "postgresql_version": t.postgres.version,
        "dcs_type": "etcd",
        "tls_cert_generate": t.postgres.tls,
        "synchronous_mode": t.sync != "off",
        "synchronous_node_count": 1,
        "patroni_ttl": t.timing.ttl_s,
        "patroni_loop_wait": t.timing.loop_wait_s,
        "patroni_retry_timeout": t.timing.retry_timeout_s,
        "patroni_maximum_lag_on_failover": 1048576,
        "patroni_maximum_lag_on_replica": f"{max(1, t.lag_bytes_max // 1048576)}MB",
        "with_haproxy_load_balancing": True,
        "pgbouncer_install": True,
        "pgbouncer_listen_port": t.app_port,
        "pgbouncer_pools": [
            {
                "name": p.database,
                "dbname": p.database,
                "pool_parameters": f"pool_size={p.size} reserve_pool={p.reserve}",
            }
            for p in t.pools
            if not p.replicas
        ],
        "postgresql_parameters": [
            {"option": "max_connections", "value": str(t.postgres.max_connections)},
            {"option": "superuser_reserved_connections", "value": str(t.postgres.reserved)},
            {"option": "shared_buffers", "value": f"{t.postgres.shared_buffers_mb}MB"},
            {"option": "wal_log_hints", "value": "on"},
            {"option": "max_slot_wal_keep_size", "value": f"{t.postgres.slot_wal_mb}MB"},
            {"option": "archive_mode", "value": "on" if t.postgres.archive_command else "off"},
            {"option": "archive_command", "value": t.postgres.archive_command or "/bin/true"},
        ],
    }


def _secrets(secrets: Secrets) -> object:
    return {
        "patroni_superuser_password": secrets.superuser,
        "patroni_replication_password": secrets.replication,
        "patroni_restapi_password": secrets.rest,
        "app_password": secrets.app,
    }


_README = """# For Autobase

1. `ansible-galaxy collection install vitabaks.autobase`
2. `ansible-vault encrypt secrets.yml`
3. `ansible-playbook -i inventory.yml -e @vars.yml -e @secrets.yml --ask-vault-pass \\
   vitabaks.autobase.deploy_pgcluster`

Autobase has no quorum commit: `synchronous_mode: true` names one synchronous replica. Its own
health checks are slower than ours (3 s x 3), so a failover takes some ten seconds longer.
"""
