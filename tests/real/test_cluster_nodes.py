"""Day-2 orders: add, remove, copy afresh, and what is refused."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from premortem.engines.errors import EngineError
from tests.real._cluster import Rehearsal

pytestmark = [pytest.mark.real, pytest.mark.slow]


def test_a_node_is_added_and_removed(rehearsal: Rehearsal) -> None:
    assert rehearsal.cluster.add_node("extra")["node"] == "extra"
    assert rehearsal.members()["extra"]["state"] == "streaming"
    with pytest.raises(EngineError, match="already"):
        rehearsal.cluster.add_node("extra")
    rehearsal.cluster.remove_node("extra")
    assert "extra" not in rehearsal.members()
    assert not (rehearsal.folder / "extra").exists()


def test_a_replica_is_copied_afresh(rehearsal: Rehearsal) -> None:
    name = rehearsal.primary()
    replica = rehearsal.replica()
    rehearsal.cluster.reinit(replica)
    assert rehearsal.members()[replica]["state"] == "streaming"
    with pytest.raises(EngineError, match="is the primary"):
        rehearsal.cluster.reinit(name)


def test_what_the_commands_show(rehearsal: Rehearsal) -> None:
    """As a user sees them: `status`, `status --json`, `status --watch`, `logs`."""
    folder = ["--folder", str(rehearsal.folder)]
    said = json.loads(command("status", "--json", *folder).stdout)
    assert said["primary"] == rehearsal.primary()
    assert [e["healthy"] for e in said["etcd"]] == [True, True, True]
    assert said["routes"]["primary"] == [said["primary"]]
    assert rehearsal.state.secrets.app not in json.dumps(said)
    text = command("status", *folder).stdout
    assert f"primary {said['primary']}" in text
    assert "etcd: 3 of 3 healthy" in text
    logs = command("logs", "supervisor", *folder).stdout
    assert "ready" in logs
    assert json.loads(command("logs", "--json", *folder).stdout).keys() >= {"haproxy", "pgbouncer"}


def test_the_live_view_goes_on_until_it_is_interrupted(rehearsal: Rehearsal) -> None:
    words = [*PREMORTEM, "status", "--watch", "--folder", str(rehearsal.folder)]
    child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(4.0)
    assert child.poll() is None
    child.send_signal(signal.SIGINT)
    out, errors = child.communicate(timeout=10)
    assert child.returncode == 0, errors
    assert "primary" in out


PREMORTEM = [str(Path(sys.executable).with_name("premortem")), "cluster"]


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PREMORTEM, *words], check=True, capture_output=True, text=True)


def test_mistaken_orders_are_one_line(rehearsal: Rehearsal) -> None:
    for order in (
        lambda: rehearsal.cluster.switchover("nobody"),
        lambda: rehearsal.cluster.remove_node(rehearsal.primary()),
        lambda: rehearsal.cluster.logs("nothing"),
    ):
        with pytest.raises((EngineError, ValueError)) as caught:
            order()
        assert "\n" not in str(caught.value)
