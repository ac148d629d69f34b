"""The files for many machines: complete, without trust, without a secret where none belongs."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Literal

import pytest
import yaml

from premortem.cluster.confs import Secrets
from premortem.cluster.render import TARGETS, File, render
from premortem.cluster.topology import BadTopology, Node, Postgres, Topology

NODES = tuple(Node(f"db{i}", f"10.0.0.{i}", zone=f"z{i}") for i in (1, 2, 3))
VOTER = Node("vote", "10.0.0.4", zone="z3", postgres=False)
GOOD = Topology("shop", NODES, address="10.0.0.9")
SECRETS = Secrets("s-super", "s-repl", "s-rewind", "s-app", "s-mon", "s-rest")


def files(target: str, topology: Topology = GOOD) -> dict[str, File]:
    return {f.path: f for f in render(topology, target, SECRETS)}


@pytest.mark.parametrize("target", TARGETS)
def test_secrets_are_only_in_files_that_say_so(target: str) -> None:
    made = files(target)
    holding = {
        p for p, f in made.items() if re.search(r"s-(super|repl|rewind|app|mon|rest)", f.text)
    }
    assert holding == {p for p, f in made.items() if f.secret}
    assert holding


@pytest.mark.parametrize("target", TARGETS)
def test_never_trust(target: str) -> None:
    assert not [p for p, f in files(target).items() if re.search(r"\btrust\b", f.text)]
    with pytest.raises(BadTopology, match="never rendered"):
        render(replace(GOOD, postgres=Postgres(auth="trust")), target, SECRETS)


def test_unknown_target() -> None:
    with pytest.raises(BadTopology, match="there are systemd"):
        render(GOOD, "nomad", SECRETS)


def test_systemd_has_a_folder_a_machine() -> None:
    made = files("systemd", replace(GOOD, nodes=(*NODES[:2], VOTER)))
    assert {p.split("/")[0] for p in made if "/" in p} == {"db1", "db2", "vote", "front"}
    assert "vote/etc/premortem/patroni.yml" not in made
    assert "vote/etc/premortem/etcd.yml" in made
    assert made["make-certificates.sh"].program
    assert "one front 10.0.0.9" in made["make-certificates.sh"].text


def test_systemd_uses_tls_everywhere() -> None:
    made = files("systemd")
    assert (
        "check-ssl verify required ca-file /etc/premortem/tls/ca.crt"
        in made["front/etc/premortem/haproxy.cfg"].text
    )
    assert "server_tls_sslmode = require" in made["front/etc/premortem/pgbouncer.ini"].text
    assert "http://" not in made["db1/etc/premortem/etcd.yml"].text


def test_compose_gives_each_container_its_address() -> None:
    text = files("compose")["compose.yml"].text
    addresses = re.findall(r"ipv4_address: \"?(10\.213\.78\.\d+)", text)
    assert len(addresses) == len(set(addresses)) == 7  # 3 servers, 3 voters, the front
    assert "127.0.0.1:6432:6432" in text


def test_kubernetes_follows_sync() -> None:
    assert "method: any" in files("kubernetes")["cluster.yml"].text
    asynchronous = replace(GOOD, sync="off", no_loss=False)
    assert "synchronous" not in files("kubernetes", asynchronous)["cluster.yml"].text


TEXT, NUMBER, FLAG, NAMES = "text", "number", "flag", "names"
NAMED = {"name": TEXT}
CNPG = {
    "Cluster": {
        "instances": NUMBER,
        "imageName": TEXT,
        "bootstrap": {
            "initdb": {"database": TEXT, "owner": TEXT, "dataChecksums": FLAG, "secret": NAMED}
        },
        "postgresql": {
            "parameters": NAMES,
            "synchronous": {
                "method": ("any", "first"),
                "number": NUMBER,
                "dataDurability": ("required", "preferred"),
                "failoverQuorum": FLAG,
            },
        },
        "affinity": {
            "enablePodAntiAffinity": FLAG,
            "podAntiAffinityType": ("required", "preferred"),
            "topologyKey": TEXT,
        },
        "resources": {"requests": NAMES, "limits": NAMES},
        "storage": {"size": TEXT},
    },
    "Pooler": {
        "cluster": NAMED,
        "instances": NUMBER,
        "type": ("rw", "ro", "r"),
        "pgbouncer": {"poolMode": ("session", "transaction"), "parameters": NAMES},
    },
}
"""The part of CloudNativePG's API that we write (its API reference, `postgresql.cnpg.io/v1`)."""


def misfits(value: object, schema: object, where: str) -> list[str]:
    """What the operator's own validation would refuse."""
    if isinstance(schema, dict):
        if not isinstance(value, dict):
            return [f"{where}: not a table"]
        unknown = [f"{where}.{k}: no such field" for k in value if k not in schema]
        known = [k for k in value if k in schema]
        return unknown + [m for k in known for m in misfits(value[k], schema[k], f"{where}.{k}")]
    if isinstance(schema, tuple):
        return [] if value in schema else [f"{where}: {value!r}"]
    if schema is NAMES:
        texts = isinstance(value, dict) and all(isinstance(v, str) for v in value.values())
        return [] if texts else [f"{where}: every value must be text"]
    kinds = {TEXT: str, NUMBER: int, FLAG: bool}
    return [] if type(value) is kinds[schema] else [f"{where}: {value!r} is no {schema}"]


@pytest.mark.parametrize("sync", ["quorum", "off"])
def test_kubernetes_is_what_the_operator_reads(sync: Literal["quorum", "off"]) -> None:
    made = files("kubernetes", replace(GOOD, sync=sync, no_loss=sync != "off"))
    objects = [d for f in ("cluster.yml", "poolers.yml") for d in yaml.safe_load_all(made[f].text)]
    assert [o["kind"] for o in objects] == ["Cluster", "Pooler", "Pooler"]
    for o in objects:
        assert o["apiVersion"] == "postgresql.cnpg.io/v1"
        assert misfits(o["spec"], CNPG[o["kind"]], o["kind"]) == []
    assert misfits({"instances": "3", "size": 1}, CNPG["Cluster"], "Cluster") == [
        "Cluster.size: no such field",
        "Cluster.instances: '3' is no number",
    ]


def test_ansible_tells_primary_and_replicas_apart() -> None:
    text = files("ansible")["inventory.yml"].text
    master = text.split("master:")[1].split("replica:")[0]
    assert "10.0.0.1" in master
    assert "10.0.0.2" not in master


def test_secrets_survive_quoting() -> None:
    odd = replace(SECRETS, rest='a"b: #c')
    text = next(
        f.text
        for f in render(GOOD, "systemd", odd)
        if f.path.endswith("db1/etc/premortem/patroni.yml")
    )
    assert json.dumps('a"b: #c') in text
