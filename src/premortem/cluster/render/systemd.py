"""systemd units and the programs' own files, a folder a machine."""

from __future__ import annotations

from collections.abc import Iterator

from premortem.cluster import confs
from premortem.cluster.confs import Places, Secrets
from premortem.cluster.render.file import File
from premortem.cluster.topology import Node, Topology
from premortem.cluster.yaml import dump

__all__ = ["systemd"]

ETC = "/etc/premortem"
FRONT = "front"


def systemd(t: Topology, secrets: Secrets) -> tuple[File, ...]:
    """What to copy to each machine's root, and how."""
    files = [
        File("README.md", _readme(t)),
        File("make-certificates.sh", _certificates(t), program=True),
    ]
    for n in t.nodes:
        files += _node(t, n, secrets)
    return (*files, *_front(t, secrets))


def _node(t: Topology, n: Node, secrets: Secrets) -> Iterator[File]:
    places = Places(binaries=f"/usr/lib/postgresql/{t.postgres.version}/bin")
    home = f"{n.name}{ETC}"
    units = f"{n.name}/etc/systemd/system"
    if n.etcd:
        yield File(f"{home}/etcd.yml", dump(confs.etcd(t, n, places)))
        yield File(f"{units}/premortem-etcd.service", _ETCD)
    if n.postgres:
        conf = dump(confs.patroni(t, n, secrets, places))
        yield File(f"{home}/patroni.yml", conf, secret=True)
        yield File(f"{units}/premortem-patroni.service", _PATRONI)


def _front(t: Topology, secrets: Secrets) -> Iterator[File]:
    home, units = f"{FRONT}{ETC}", f"{FRONT}/etc/systemd/system"
    tls = f"{ETC}/tls" if t.postgres.tls else ""
    yield File(f"{home}/haproxy.cfg", confs.haproxy(t, ca=f"{tls}/ca.crt"))
    yield File(f"{home}/pgbouncer.ini", confs.pgbouncer(t, f"{ETC}/userlist.txt", tls=tls))
    yield File(f"{home}/userlist.txt", confs.userlist(secrets), secret=True)
    yield File(f"{units}/premortem-haproxy.service", _HAPROXY)
    yield File(f"{units}/premortem-pgbouncer.service", _PGBOUNCER)


_ETCD = """[Unit]
Description=etcd member (who is primary)
After=network-online.target
Wants=network-online.target

[Service]
Type=notify
User=postgres
StateDirectory=premortem
ExecStart=/usr/bin/etcd --config-file /etc/premortem/etcd.yml
Restart=always
RestartSec=1
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
"""

_PATRONI = """[Unit]
Description=Patroni and the PostgreSQL it holds
After=network-online.target premortem-etcd.service
Wants=network-online.target

[Service]
Type=simple
User=postgres
StateDirectory=premortem
RuntimeDirectory=premortem
ExecStart=/opt/premortem/bin/patroni /etc/premortem/patroni.yml
ExecReload=/bin/kill -s HUP $MAINPID
# A Patroni that died is back in a second, long before its key runs out; meanwhile its server
# goes on: only the main process is signalled.
Restart=always
RestartSec=1
KillMode=process
TimeoutSec=60

[Install]
WantedBy=multi-user.target
"""

_HAPROXY = """[Unit]
Description=HAProxy (the way to the primary and to fresh replicas)
After=network-online.target
Wants=network-online.target

[Service]
Type=simple
DynamicUser=yes
SupplementaryGroups=postgres
ExecStartPre=/usr/sbin/haproxy -c -f /etc/premortem/haproxy.cfg
ExecStart=/usr/sbin/haproxy -db -f /etc/premortem/haproxy.cfg
Restart=always
RestartSec=1

[Install]
WantedBy=multi-user.target
"""

_PGBOUNCER = """[Unit]
Description=PgBouncer (the pools)
After=network-online.target
Wants=network-online.target

[Service]
Type=simple
User=postgres
ExecStart=/usr/sbin/pgbouncer /etc/premortem/pgbouncer.ini
ExecReload=/bin/kill -s HUP $MAINPID
Restart=always
RestartSec=1
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
"""


def _certificates(t: Topology) -> str:
    """An authority of one's own and a certificate a machine, by openssl."""
    names = [(n.name, n.address) for n in t.nodes] + [(FRONT, t.address)]
    calls = "\n".join(f"one {name} {address}" for name, address in names)
    return f"""#!/bin/sh
# Makes ca.crt and ca.key here, and NAME/etc/premortem/tls/ (ca.crt, node.crt, node.key) a machine.
# Keep ca.key offline. Valid 825 days: put the date in a calendar.
set -eu
umask 077
test -f ca.key || openssl req -x509 -newkey rsa:3072 -nodes -days 3650 \\
    -subj "/CN={t.name} authority" -keyout ca.key -out ca.crt
one() {{
    case "$2" in *[a-zA-Z]*) name="DNS:$2" ;; *) name="IP:$2" ;; esac
    folder="$1/etc/premortem/tls"
    mkdir -p "$folder"
    openssl req -newkey rsa:3072 -nodes -subj "/CN=$1" -keyout "$folder/node.key" -out request
    echo "subjectAltName=$name,DNS:$1" > extra
    echo "extendedKeyUsage=serverAuth,clientAuth" >> extra
    openssl x509 -req -in request -CA ca.crt -CAkey ca.key -CAcreateserial -days 825 \\
        -extfile extra -out "$folder/node.crt"
    cp ca.crt "$folder/ca.crt"
    rm request extra
}}
{calls}
"""


def _readme(t: Topology) -> str:
    servers = ", ".join(n.name for n in t.servers)
    voters = ", ".join(n.name for n in t.voters)
    return f"""# The cluster {t.name}, for systemd

Servers: {servers}. etcd: {voters}. Proxy and pooler: front ({t.address}).

1. `sh make-certificates.sh` (once; keep `ca.key` offline).
2. On each server: PostgreSQL {t.postgres.version} from your distribution (its service disabled),
   etcd, and Patroni in an environment of its own: `python3 -m venv /opt/premortem`, then
   `/opt/premortem/bin/pip install 'patroni[etcd3]' 'psycopg[binary]'`.
3. Copy each machine's folder onto its root, `chown -R postgres /etc/premortem`, mode 0600 for
   `patroni.yml`, `userlist.txt` and `node.key`.
4. `systemctl enable --now premortem-etcd` on every etcd machine, then `premortem-patroni` on the
   servers, then `premortem-haproxy premortem-pgbouncer` on front.
5. As superuser on the primary: `CREATE ROLE app LOGIN PASSWORD '...'` (the one in `userlist.txt`)
   and `CREATE DATABASE app OWNER app`.

Sites connect to {t.address}:{t.app_port}, database `app` (read-write) or `app_ro` (replicas).
A host that falls silent is replaced after {t.timing.ttl_s} s; a crashed process in a few seconds.
Backups are not part of this: set `archive_command` in the topology (pgBackRest, Barman).
"""
