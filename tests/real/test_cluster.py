"""What the cluster promises: no open door, no lost commit, a crash that is soon forgotten."""

from __future__ import annotations

import os
import signal
import time

import psycopg
import pytest

from premortem.cluster.units import adopt, postmaster, units
from tests.real._cluster import Rehearsal, supervisors

pytestmark = [pytest.mark.real, pytest.mark.slow]

DEATHS_APART_S = 0.05
"""What dies together is not dead at the same moment: each needs a core to die on."""


def test_up_gives_two_dsns(rehearsal: Rehearsal) -> None:
    with psycopg.connect(rehearsal.state.dsn(), prepare_threshold=None) as connection:
        row = connection.execute("SELECT pg_is_in_recovery(), current_user").fetchone()
        assert row == (False, "app")
    with psycopg.connect(rehearsal.state.dsn(replicas=True), prepare_threshold=None) as connection:
        assert connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)


def test_nobody_gets_in_without_a_password(rehearsal: Rehearsal) -> None:
    for node in rehearsal.state.topology.servers:
        with pytest.raises(psycopg.OperationalError, match=r"password|no password"):
            psycopg.connect(
                host=node.address, port=node.postgres_port, user="postgres", connect_timeout=3
            )


def test_commits_wait_for_a_replica(rehearsal: Rehearsal) -> None:
    node = rehearsal.state.topology.node(rehearsal.primary())
    with psycopg.connect(rehearsal.state.server_dsn(node)) as connection:
        row = connection.execute("SHOW synchronous_standby_names").fetchone()
    assert row is not None
    assert str(row[0]).startswith("ANY 1")


@pytest.mark.parametrize("order", ["server first", "Patroni first"])
def test_a_crashed_primary_is_replaced_and_comes_back(rehearsal: Rehearsal, order: str) -> None:
    name = rehearsal.primary()
    node = rehearsal.state.topology.node(name)
    with psycopg.connect(
        rehearsal.state.dsn(), prepare_threshold=None, autocommit=True
    ) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (id int)")
        connection.execute("INSERT INTO kept VALUES (1)")
    pid = postmaster(rehearsal.state.data(node))
    assert pid is not None
    patroni = adopt([u for u in units(rehearsal.state, name) if u.kind == "patroni"])
    victims = [pid, *(p.pid for p in patroni.values())]
    for victim in victims if order == "server first" else reversed(victims):
        os.kill(victim, signal.SIGKILL)
        time.sleep(DEATHS_APART_S)
    began = time.monotonic()

    rehearsal.until(lambda: rehearsal.execute("INSERT INTO kept VALUES (2) RETURNING id"))
    assert rehearsal.execute("SELECT id FROM kept WHERE id = 1")
    assert time.monotonic() - began < 10.0
    rehearsal.settled()
    assert rehearsal.primary() != name


def test_patroni_alone_killed_is_started_again_and_nothing_moves(rehearsal: Rehearsal) -> None:
    name = rehearsal.primary()
    before = postmaster(rehearsal.state.data(rehearsal.state.topology.node(name)))
    unit = [u for u in units(rehearsal.state, name) if u.kind == "patroni"]
    for proc in adopt(unit).values():
        os.kill(proc.pid, signal.SIGKILL)
    rehearsal.until(lambda: adopt(unit), 3.0)
    rehearsal.settled()
    assert rehearsal.primary() == name
    assert postmaster(rehearsal.state.data(rehearsal.state.topology.node(name))) == before


def test_a_killed_supervisor_is_back_and_adopts(rehearsal: Rehearsal) -> None:
    before = {n: p.pid for n, p in adopt(units(rehearsal.state)).items()}
    found = supervisors(rehearsal.folder)
    assert found
    for p in found:
        p.kill()
    rehearsal.until(rehearsal.cluster.running, 10.0)
    after = {n: p.pid for n, p in adopt(units(rehearsal.state)).items()}
    assert after == before
    # and it keeps what it adopted
    os.kill(after["haproxy"], signal.SIGKILL)
    rehearsal.until(lambda: adopt(units(rehearsal.state)).get("haproxy"), 5.0)
    rehearsal.settled()


def test_servers_whose_supervisor_is_gone_for_good_are_adopted(rehearsal: Rehearsal) -> None:
    """Patroni holds its servers meanwhile, as everywhere; `up` takes them over as they are."""
    before = {n: p.pid for n, p in adopt(units(rehearsal.state)).items()}
    for p in supervisors(rehearsal.folder, twins=True):
        p.kill()
    time.sleep(1.0)
    assert not rehearsal.cluster.running()
    assert rehearsal.execute("SELECT 1") == [(1,)]
    assert {n: p.pid for n, p in adopt(units(rehearsal.state)).items()} == before
    rehearsal.cluster.up()
    assert {n: p.pid for n, p in adopt(units(rehearsal.state)).items()} == before
