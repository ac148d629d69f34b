"""The programs' own configuration, from a topology: the same text here and on other machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from premortem.cluster.topology import Node, Topology

__all__ = ["Places", "Secrets", "etcd", "haproxy", "patroni", "pgbouncer", "userlist"]

CHECK_MS = 300
"""Health check interval: with fall 2 a dead primary loses its route in 0.6 s at most."""


@dataclass(frozen=True, slots=True, repr=False)
class Secrets:
    """Passwords. Not shown by ``repr``."""

    superuser: str
    replication: str
    rewind: str
    app: str
    monitor: str
    """Role ``monitor`` (pg_monitor): may look at everything and change nothing."""
    rest: str
    """Patroni's REST interface and PgBouncer's console (user ``premortem``)."""

    def __repr__(self) -> str:
        return f"Secrets({', '.join(f.name + '=***' for f in fields(self))})"


@dataclass(frozen=True, slots=True)
class Places:
    """Where one node keeps its things."""

    data: str = "/var/lib/premortem/postgres"
    sockets: str = "/run/premortem"
    binaries: str = ""
    """PostgreSQL's programs; empty: wherever the PATH says."""
    tls: str = "/etc/premortem/tls"
    passfile: str = "/var/lib/premortem/pgpass"
    etcd_data: str = "/var/lib/premortem/etcd"


def etcd(t: Topology, n: Node, places: Places) -> Mapping[str, object]:
    """An etcd member's configuration file."""
    web = "https" if t.postgres.tls else "http"
    members = ",".join(f"{m.name}={web}://{m.address}:{m.etcd_peer_port}" for m in t.voters)
    conf: dict[str, object] = {
        "name": n.name,
        "data-dir": places.etcd_data,
        "listen-client-urls": f"{web}://{n.address}:{n.etcd_client_port}",
        "advertise-client-urls": f"{web}://{n.address}:{n.etcd_client_port}",
        "listen-peer-urls": f"{web}://{n.address}:{n.etcd_peer_port}",
        "initial-advertise-peer-urls": f"{web}://{n.address}:{n.etcd_peer_port}",
        "initial-cluster": members,
        "initial-cluster-token": t.name,
        "initial-cluster-state": "new",
        # etcd 3.4 switches its JSON gateway off when it reads a file that does not ask for it
        "enable-grpc-gateway": True,
        # Patroni writes a few keys a second: keep an hour of history, not all of it
        "auto-compaction-mode": "periodic",
        "auto-compaction-retention": "1h",
    }
    if t.postgres.tls:
        security = {
            "cert-file": f"{places.tls}/node.crt",
            "key-file": f"{places.tls}/node.key",
            "trusted-ca-file": f"{places.tls}/ca.crt",
            "client-cert-auth": True,
        }
        conf["client-transport-security"] = conf["peer-transport-security"] = security
    return conf


def patroni(t: Topology, n: Node, secrets: Secrets, places: Places) -> Mapping[str, object]:
    """A node's patroni.yml."""
    conf: dict[str, object] = {
        "scope": t.name,
        "namespace": "/service/",
        "name": n.name,
        "restapi": _restapi(t, n, secrets, places),
        "etcd3": _etcd3(t, places),
        "bootstrap": {"dcs": _dcs(t), "initdb": _initdb(t)},
        "postgresql": _postgresql(t, n, secrets, places),
        "tags": {"zone": n.zone},
    }
    if t.postgres.tls:
        conf["ctl"] = {
            "cacert": f"{places.tls}/ca.crt",
            "certfile": f"{places.tls}/node.crt",
            "keyfile": f"{places.tls}/node.key",
        }
    return conf


def _restapi(t: Topology, n: Node, secrets: Secrets, places: Places) -> Mapping[str, object]:
    api: dict[str, object] = {
        "listen": f"{n.address}:{n.patroni_port}",
        "connect_address": f"{n.address}:{n.patroni_port}",
        "authentication": {"username": "premortem", "password": secrets.rest},
    }
    if t.postgres.tls:
        api |= {
            "certfile": f"{places.tls}/node.crt",
            "keyfile": f"{places.tls}/node.key",
            "cafile": f"{places.tls}/ca.crt",
            "verify_client": "optional",
        }
    return api


def _etcd3(t: Topology, places: Places) -> Mapping[str, object]:
    hosts = [f"{v.address}:{v.etcd_client_port}" for v in t.voters]
    if not t.postgres.tls:
        return {"hosts": hosts}
    return {
        "hosts": hosts,
        "protocol": "https",
        "cacert": f"{places.tls}/ca.crt",
        "cert": f"{places.tls}/node.crt",
        "key": f"{places.tls}/node.key",
    }


def _dcs(t: Topology) -> Mapping[str, object]:
    modes: Mapping[str, object] = {"quorum": "quorum", "on": True, "off": False}
    return {
        "ttl": t.timing.ttl_s,
        "loop_wait": t.timing.loop_wait_s,
        "retry_timeout": t.timing.retry_timeout_s,
        "synchronous_mode": modes[t.sync],
        # all of etcd may be gone: go on as primary while every other node confirms it
        "failsafe_mode": True,
        "maximum_lag_on_failover": 1048576,
        "postgresql": {
            "use_pg_rewind": True,
            "use_slots": True,
            "remove_data_directory_on_rewind_failure": True,
            "parameters": _parameters(t),
        },
    }


def _parameters(t: Topology) -> Mapping[str, object]:
    values: dict[str, object] = {
        "max_connections": t.postgres.max_connections,
        "superuser_reserved_connections": t.postgres.reserved,
        "shared_buffers": f"{t.postgres.shared_buffers_mb}MB",
        "wal_level": "replica",
        "wal_log_hints": "on",
        "hot_standby": "on",
        "max_wal_senders": 10,
        "max_replication_slots": 10,
        "max_slot_wal_keep_size": f"{t.postgres.slot_wal_mb}MB",
        "password_encryption": "scram-sha-256",
        "wal_sender_timeout": "5s",
        "wal_receiver_timeout": "5s",
        "tcp_user_timeout": "5s",
        # a replica whose primary went looks for the next one at once, not after five seconds
        "wal_retrieve_retry_interval": "500ms",
    }
    if t.postgres.archive_command:
        values |= {"archive_mode": "on", "archive_command": t.postgres.archive_command}
    return values


def _initdb(t: Topology) -> list[object]:
    options: list[object] = [{"encoding": "UTF8"}, "data-checksums"]
    if t.postgres.version >= 17:  # the built-in provider needs neither ICU nor the system's locales
        options += [{"locale": "C"}, {"locale-provider": "builtin"}, {"builtin-locale": "C.UTF-8"}]
    return options


def _postgresql(t: Topology, n: Node, secrets: Secrets, places: Places) -> Mapping[str, object]:
    parameters: dict[str, object] = {"unix_socket_directories": places.sockets}
    if t.postgres.tls:
        parameters |= {
            "ssl": "on",
            "ssl_cert_file": f"{places.tls}/node.crt",
            "ssl_key_file": f"{places.tls}/node.key",
            "ssl_ca_file": f"{places.tls}/ca.crt",
        }
    conf: dict[str, object] = {
        "listen": f"{n.address}:{n.postgres_port}",
        "connect_address": f"{n.address}:{n.postgres_port}",
        "data_dir": places.data,
        "pgpass": places.passfile,
        "authentication": {
            "superuser": {"username": "postgres", "password": secrets.superuser},
            "replication": {"username": "replicator", "password": secrets.replication},
            "rewind": {"username": "rewind", "password": secrets.rewind},
        },
        "parameters": parameters,
        "pg_hba": _hba(t),
        "basebackup": [{"checkpoint": "fast"}],
    }
    return {"bin_dir": places.binaries, **conf} if places.binaries else conf


def _hba(t: Topology) -> list[str]:
    kind = "hostssl" if t.postgres.tls else "host"
    how = t.postgres.auth
    rules = [f"local all all {how}"]
    addresses = sorted({n.address for n in t.nodes} | {t.address, "127.0.0.1"})
    for address in addresses:
        net = f"{address}/32" if ":" not in address else f"{address}/128"
        door = kind if not address.startswith("127.") else "host"
        rules.append(f"{door} replication replicator {net} {how}")
        rules.append(f"{door} all all {net} {how}")
    return rules


def haproxy(t: Topology, socket: str = "", ca: str = "") -> str:
    """haproxy.cfg: a port that leads to the primary, and one that leads to fresh replicas."""
    lag_mb = max(1, t.lag_bytes_max // (1024 * 1024))
    secure = f" check-ssl verify required ca-file {ca}" if t.postgres.tls else ""
    head = ["global", "    maxconn 4000"]
    if socket:
        head.append(f"    stats socket {socket} mode 600 level admin")
    lines = [
        *head,
        "",
        "defaults",
        "    mode tcp",
        "    retries 0",
        "    timeout connect 1s",
        "    timeout check 1s",
        "    timeout client 1h",
        "    timeout server 1h",
        "    option clitcpka",
        "    option srvtcpka",
        "",
        "listen stats",
        "    mode http",
        "    timeout client 10s",
        "    timeout server 10s",
        f"    bind {t.address}:{t.stats_port}",
        "    stats enable",
        "    stats uri /",
    ]
    doors = (
        ("primary", t.primary_port, "/primary", " on-marked-down shutdown-sessions"),
        # sessions of a replica that merely lags are left to end: long reads are its purpose
        ("replicas", t.replica_port, f"/replica?lag={lag_mb}MB", ""),
    )
    for name, port, uri, down in doors:
        lines += [
            "",
            f"listen {name}",
            f"    bind {t.address}:{port}",
            "    balance leastconn",
            f"    option httpchk OPTIONS {uri}",
            "    http-check expect status 200",
            f"    default-server inter {CHECK_MS}ms fall 2 rise 1{down}",
        ]
        lines += [
            f"    server {n.name} {n.address}:{n.postgres_port} check port {n.patroni_port}{secure}"
            for n in t.servers
        ]
    return "\n".join(lines) + "\n"


def pgbouncer(t: Topology, userfile: str, *, sockets: str = "", tls: str = "") -> str:
    """pgbouncer.ini: transaction pooling in front of the proxy's two ports."""
    lines = ["[databases]"]
    for p in t.pools:
        port = t.replica_port if p.replicas else t.primary_port
        lines.append(
            f"{p.alias} = host={t.address} port={port} dbname={p.database} "
            f"pool_size={p.size} reserve_pool={p.reserve}"
        )
    lines += [
        "",
        "[pgbouncer]",
        f"listen_addr = {t.address}",
        f"listen_port = {t.app_port}",
        f"unix_socket_dir = {sockets}",
        "auth_type = scram-sha-256",
        f"auth_file = {userfile}",
        "admin_users = premortem",
        "pool_mode = transaction",
        "max_client_conn = 2000",
        "reserve_pool_timeout = 2",
        "; reach the new primary a second after the old one went, not fifteen",
        "server_login_retry = 1",
        "server_connect_timeout = 3",
        "server_fast_close = 1",
        "; a client waits this long for a free connection, then gets an error instead of a hang",
        "query_wait_timeout = 30",
        "server_check_delay = 5",
        "; a replica keeps its connections when it becomes the primary: reads move on within this",
        "server_lifetime = 30",
        "log_connections = 0",
        "log_disconnections = 0",
        "ignore_startup_parameters = extra_float_digits,options",
        "tcp_keepalive = 1",
        "tcp_keepidle = 5",
        "tcp_keepintvl = 2",
        "tcp_keepcnt = 3",
    ]
    if tls:
        lines += [
            "client_tls_sslmode = require",
            f"client_tls_cert_file = {tls}/node.crt",
            f"client_tls_key_file = {tls}/node.key",
            "server_tls_sslmode = require",
            f"server_tls_ca_file = {tls}/ca.crt",
        ]
    return "\n".join(lines) + "\n"


def userlist(secrets: Secrets) -> str:
    """PgBouncer's auth_file. Holds passwords: mode 0600."""
    return f'"app" "{secrets.app}"\n"premortem" "{secrets.rest}"\n'
