"""What is written for the programs."""

from __future__ import annotations

import configparser
from dataclasses import replace

import pytest

from premortem.cluster import confs
from premortem.cluster.confs import Places, Secrets
from premortem.cluster.topology import Node, Pool, Postgres, Sync, Topology
from premortem.cluster.yaml import dump

NODES = tuple(Node(f"db{i}", f"10.0.0.{i}", zone=f"z{i}") for i in (1, 2, 3))
GOOD = Topology("shop", NODES, address="10.0.0.9")
SECRETS = Secrets("s-super", "s-repl", "s-rewind", "s-app", "s-mon", "s-rest")


def text(t: Topology) -> str:
    return dump(confs.patroni(t, t.nodes[0], SECRETS, Places()))


@pytest.mark.parametrize(("sync", "mode"), [("quorum", "quorum"), ("on", True), ("off", False)])
def test_sync_mode(sync: Sync, mode: object) -> None:
    conf = confs.patroni(replace(GOOD, sync=sync), NODES[0], SECRETS, Places())
    assert conf["bootstrap"]["dcs"]["synchronous_mode"] == mode  # type: ignore[index]


def test_never_trust_and_always_tls_between_machines() -> None:
    hba = confs.patroni(GOOD, NODES[0], SECRETS, Places())["postgresql"]["pg_hba"]  # type: ignore[index]
    assert not [rule for rule in hba if "trust" in rule]
    assert [r for r in hba if "10.0.0.2/32" in r]
    assert all(r.startswith("hostssl") for r in hba if "10.0.0." in r)
    assert not [r for r in hba if "0.0.0.0/0" in r]


def test_etcd_asks_for_client_certificates() -> None:
    conf = confs.etcd(GOOD, NODES[0], Places())
    assert conf["client-transport-security"]["client-cert-auth"] is True  # type: ignore[index]
    assert "http://" not in dump(conf)


def test_archiving_is_one_switch() -> None:
    on = replace(GOOD, postgres=Postgres(archive_command="pgbackrest archive-push %p"))
    assert "archive_mode" in text(on)
    assert "archive_mode" not in text(GOOD)


def test_proxy_sends_sessions_of_a_dead_primary_away_but_lets_reads_end() -> None:
    primary, replicas = confs.haproxy(GOOD).split("listen primary")[1].split("listen replicas")
    assert "shutdown-sessions" in primary
    assert "shutdown-sessions" not in replicas
    assert "OPTIONS /replica?lag=16MB" in replicas
    assert primary.count("    server ") == 3


def test_pooler_has_every_pool_and_no_password() -> None:
    t = replace(GOOD, pools=(Pool(size=7, reserve=1), Pool(replicas=True)))
    parser = configparser.ConfigParser()
    parser.read_string(confs.pgbouncer(t, "/etc/pgbouncer/userlist.txt"))
    assert (
        parser["databases"]["app"]
        == "host=10.0.0.9 port=5000 dbname=app pool_size=7 reserve_pool=1"
    )
    assert "port=5001" in parser["databases"]["app_ro"]
    assert parser["pgbouncer"]["auth_type"] == "scram-sha-256"
    assert "s-app" not in confs.pgbouncer(t, "x")
    assert '"app" "s-app"' in confs.userlist(SECRETS)


def test_secrets_do_not_show() -> None:
    assert "s-app" not in repr(SECRETS)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": "no"}, 'a: "no"\n'),
        ({"a": [1, "b c"]}, 'a:\n  - 1\n  - "b c"\n'),
        ({"a": "x\ny\n"}, "a: |\n  x\n  y\n"),
        ([{"a": 1, "b": {"c": []}}], "- a: 1\n  b:\n    c: []\n"),
    ],
)
def test_yaml(value: object, expected: str) -> None:
    assert dump(value) == expected
