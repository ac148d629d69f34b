"""Every rule: the topology that breaks it, and the mended one beside it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from premortem.cluster.check import RULES, check, refused
from premortem.cluster.topology import Node, Pool, Postgres, Timing, Topology

NODES = tuple(Node(f"db{i}", f"10.0.0.{i}", zone=f"z{i}") for i in (1, 2, 3))
GOOD = Topology("shop", NODES, address="10.0.0.9")


def node(i: int, **changes: object) -> tuple[Node, ...]:
    return tuple(replace(n, **changes) if j == i else n for j, n in enumerate(NODES))  # type: ignore[arg-type]


REFUSED: dict[str, tuple[str, Topology]] = {
    "idle pools fill every slot": (
        "pool_sum",
        replace(GOOD, pools=(Pool(size=25, reserve=0, poolers=4),)),
    ),
    "empty pool": ("pool_sum", replace(GOOD, pools=(Pool(size=0),))),
    "two etcd members": ("etcd_members", replace(GOOD, nodes=node(2, etcd=False))),
    "no etcd": ("etcd_members", replace(GOOD, nodes=tuple(replace(n, etcd=False) for n in NODES))),
    "async with no loss": ("no_loss", replace(GOOD, sync="off")),
    "one server with no loss": (
        "no_loss",
        replace(GOOD, nodes=tuple(replace(n, postgres=n.name == "db1") for n in NODES)),
    ),
    "ttl too small": ("timing", replace(GOOD, timing=Timing(ttl_s=19))),
    "loop_wait 0": ("timing", replace(GOOD, timing=Timing(loop_wait_s=0))),
    "retry too small": ("timing", replace(GOOD, timing=Timing(retry_timeout_s=2))),
    "retries outlast the key": ("timing", replace(GOOD, timing=Timing(20, 10, 6))),
    "trust": ("authentication", replace(GOOD, postgres=Postgres(auth="trust"))),
    "no TLS": ("authentication", replace(GOOD, postgres=Postgres(tls=False))),
    "far replica": ("distance", replace(GOOD, nodes=node(1, rtt_ms=30.0))),
    "far voter": (
        "distance",
        replace(GOOD, sync="off", no_loss=False, nodes=node(1, rtt_ms=150.0)),
    ),
    "a zone holds the quorum": ("zones", replace(GOOD, nodes=node(1, zone="z1"))),
    "one port twice": ("ports", replace(GOOD, address="10.0.0.1", app_port=5432)),
    "buffers fill the memory": ("memory", replace(GOOD, nodes=node(0, memory_gb=0.1))),
}
FINE: dict[str, Topology] = {
    "three zones": GOOD,
    "exactly all slots": replace(
        GOOD, pools=(Pool(size=97, reserve=0),), postgres=Postgres(max_connections=100, reserved=3)
    ),
    "timing at the limit": replace(GOOD, timing=Timing(20, 10, 5)),
    "async, loss accepted": replace(GOOD, sync="off", no_loss=False),
    "far replica without sync": replace(
        GOOD, sync="off", no_loss=False, nodes=node(1, rtt_ms=30.0)
    ),
}
LOCAL = replace(
    GOOD,
    address="127.0.0.1",
    nodes=tuple(
        replace(
            n,
            address="127.0.0.1",
            zone="one",
            postgres_port=p,
            patroni_port=p + 1,
            etcd_client_port=p + 2,
            etcd_peer_port=p + 3,
        )
        for n, p in zip(NODES, (21000, 21010, 21020), strict=True)
    ),
    postgres=Postgres(tls=False),
)


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(name: str) -> None:
    rule, topology = REFUSED[name]
    hits = [p for p in check(topology) if p.rule == rule and p.severity == "refuse"]
    assert hits
    assert all(p.what and p.why and p.mend for p in hits)


@pytest.mark.parametrize("name", FINE)
def test_lets_pass(name: str) -> None:
    assert not refused(check(FINE[name]))


def test_every_rule_is_shown_firing() -> None:
    shown = {rule for rule, _ in REFUSED.values()} | {"failover_target"}
    assert {r.__name__ for r in RULES} == shown


def test_loopback_is_warned_of_its_one_zone_and_not_refused() -> None:
    found = check(LOCAL)
    assert not refused(found)
    assert [p.rule for p in found] == ["zones"]
    assert "one machine cannot give this" in found[0].mend


def test_trust_on_loopback_is_a_warning() -> None:
    found = check(replace(LOCAL, postgres=Postgres(auth="trust", tls=False)))
    assert ("authentication", "warn") in [(p.rule, p.severity) for p in found]
    assert not refused(found)


def test_one_server_is_warned() -> None:
    t = replace(GOOD, nodes=NODES[:1], sync="off", no_loss=False)
    assert "failover_target" in [p.rule for p in check(t)]


def test_refusals_come_first_and_in_one_line() -> None:
    found = check(replace(GOOD, sync="off", nodes=node(1, zone="z1")))
    assert [p.severity for p in found] == sorted(p.severity for p in found)
    assert all("\n" not in str(p) for p in found)
