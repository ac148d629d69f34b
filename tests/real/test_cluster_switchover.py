"""A planned switchover and the pause around it: no error, and always an end."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from premortem.engines.errors import EngineError
from tests.real._cluster import Rehearsal, supervisors

pytestmark = [pytest.mark.real, pytest.mark.slow]

PAUSE_S_MAX = 5.0
"""The guard looks once a second and a look may take one; a new supervisor starts within two."""


@pytest.mark.parametrize("named", [False, True])
def test_a_switchover_shows_clients_no_error(rehearsal: Rehearsal, named: bool) -> None:
    name = rehearsal.primary()
    target = next(n.name for n in rehearsal.state.topology.servers if n.name != name)
    rehearsal.execute("CREATE TABLE IF NOT EXISTS ticks (i int)")
    worker = subprocess.Popen(
        [sys.executable, "-c", _CLIENT, rehearsal.state.dsn()], stdout=subprocess.PIPE, text=True
    )
    try:
        time.sleep(1.0)
        result = rehearsal.cluster.switchover(target if named else "")
        time.sleep(1.0)
    finally:
        worker.terminate()
        out, _ = worker.communicate()
    assert result["primary"] != name
    assert not named or result["primary"] == target
    done, failed = (int(word) for word in out.split())
    assert failed == 0
    assert done > 50


def test_who_has_just_left_can_be_named_at_once(rehearsal: Rehearsal) -> None:
    """Patroni, asked at that moment, may refuse: it does not count the old primary yet."""
    for _ in range(2):
        old = rehearsal.primary()
        assert rehearsal.cluster.switchover()["primary"] != old
        assert rehearsal.cluster.switchover(old)["primary"] == old


_CLIENT = """
import signal, sys, time, psycopg
done = failed = 0
def end(*_):
    print(done, failed, flush=True)
    sys.exit()
signal.signal(signal.SIGTERM, end)
c = psycopg.connect(sys.argv[1], autocommit=True, prepare_threshold=None)
while True:
    try:
        c.execute("INSERT INTO ticks VALUES (1)")
        done += 1
    except psycopg.Error:
        failed += 1
        c = psycopg.connect(sys.argv[1], autocommit=True, prepare_threshold=None)
    time.sleep(0.005)
"""


def test_a_forgotten_pause_ends(rehearsal: Rehearsal) -> None:
    rehearsal.state.console.pause(5.0)
    began = time.monotonic()
    assert rehearsal.execute("SELECT 1") == [(1,)]
    assert time.monotonic() - began < PAUSE_S_MAX


def test_a_supervisor_killed_in_a_switchover_leaves_nobody_waiting(rehearsal: Rehearsal) -> None:
    order = threading.Thread(target=_switch, args=(rehearsal,))
    order.start()
    rehearsal.until(rehearsal.state.console.paused, 30.0)
    for p in supervisors(rehearsal.folder):
        p.kill()
    began = time.monotonic()
    rehearsal.until(lambda: not rehearsal.state.console.paused(), 30.0)
    assert time.monotonic() - began < PAUSE_S_MAX
    order.join()
    rehearsal.until(rehearsal.cluster.running)


def _switch(rehearsal: Rehearsal) -> None:
    with pytest.raises(EngineError):  # who was to carry it out was killed
        rehearsal.cluster.switchover()
