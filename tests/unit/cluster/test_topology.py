"""The topology file: every mistake is one line that says where, what and what to do."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from premortem.cluster.topology import BadTopology, Node, Pool, read_topology, topology_from

GOOD = """
name = "shop"
sync = "on"
address = "10.0.0.9"

[timing]
ttl_s = 30

[postgres]
max_connections = 200

[[nodes]]
name = "db1"
address = "10.0.0.1"
zone = "a"
cpus = 8

[[nodes]]
name = "vote"
address = "10.0.0.2"
postgres = false

[[pools]]
size = 40
"""


def test_reads_every_part() -> None:
    t = read_topology(GOOD)
    assert (t.sync, t.timing.ttl_s, t.postgres.max_connections) == ("on", 30, 200)
    assert [n.name for n in t.servers] == ["db1"]
    assert [n.name for n in t.voters] == ["db1", "vote"]
    assert t.pools == (Pool(size=40),)
    assert t.node("db1").cpus == 8


def test_survives_being_written_down() -> None:
    t = read_topology(GOOD)
    table = asdict(t)
    table["nodes"], table["pools"] = list(table["nodes"]), list(table["pools"])
    assert topology_from(table, "x") == t


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("name = ", "not TOML"),
        ('name = "x"', "no nodes"),
        ('name = "x"\nnode = 3', "unknown key 'node'"),
        ('[[nodes]]\nname="a"\naddress="b"', "name is missing"),
        ('name="x"\n[[nodes]]\nname="a"', "address is missing"),
        ('name="x"\n[[nodes]]\nname="a"\naddress="b"\ncpus="many"', "expected a number"),
        ('name="x"\n[[nodes]]\nname="a"\naddress="b"\netcd=1', "expected true or false"),
        ('name="x"\nsync="yes"\n[[nodes]]\nname="a"\naddress="b"', "use quorum, on or off"),
        ('name="x"\napp_port=-1\n[[nodes]]\nname="a"\naddress="b"', "must not be negative"),
        ('name="x"\nnodes="a"', "[[nodes]]"),
        (
            'name="x"\n[[nodes]]\nname="a"\naddress="b"\n[[nodes]]\nname="a"\naddress="c"',
            "two nodes",
        ),
        ('name=3\n[[nodes]]\nname="a"\naddress="b"', "name must be text"),
    ],
)
def test_mistakes_are_one_line(text: str, part: str) -> None:
    with pytest.raises(BadTopology) as caught:
        read_topology(text, "shop.toml")
    assert part in str(caught.value)
    assert str(caught.value).startswith("shop.toml")
    assert "\n" not in str(caught.value)


def test_an_unknown_node_names_the_known_ones() -> None:
    with pytest.raises(BadTopology, match="there are db1, vote"):
        read_topology(GOOD).node("db9")


@pytest.mark.parametrize(
    ("address", "loopback"),
    [("127.0.0.2", True), ("::1", True), ("10.0.0.1", False), ("db", False)],
)
def test_loopback(address: str, loopback: bool) -> None:
    assert Node("n", address).loopback is loopback


def test_a_replica_pool_has_a_name_of_its_own() -> None:
    assert Pool(database="shop", replicas=True).alias == "shop_ro"
    assert Pool(size=10, reserve=2, poolers=3).total == 36
