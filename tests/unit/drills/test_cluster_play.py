"""What a cluster drill keeps of its seconds and ticks, and that its guard cleans up."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from premortem.drills import cluster_hosts
from premortem.drills.cluster_faults import switchover
from premortem.drills.cluster_guard import guarded
from premortem.drills.cluster_play import Plan, _Run, _seconds
from premortem.drills.play import Progress
from premortem.engines.errors import EngineError
from premortem.model import Diagnosis, Event, Reading, Verdict
from premortem.pipeline import Tick

ZERO = 1_000.0
PLAN = Plan("failover", [], 12.0, switchover)


def run() -> _Run:
    return _Run(PLAN, ZERO, Progress("failover", ZERO), lambda now: None, lambda: ZERO + 1.0)


def tick(at: float, state: Any, cause: str | None = None) -> Tick:
    verdict = Verdict("failover_in_progress", "database", state, f"at {at:g}.")
    values = {"db.sessions.active": 2.0, "db.connections.used": 9.0, "db.connections.max": 100.0}
    diagnosis = Diagnosis(at, (verdict,), cause=cause, tier="database" if cause else None)
    event = Event(at, "signal", "seen")
    return Tick(at, (Reading("postgres", "db", at, values),), diagnosis, (event,))


def test_the_ledger_is_kept_where_it_changes_and_when_a_cause_was_first_named() -> None:
    now = run()
    now.take(tick(ZERO - 2, "confirmed", "failover_in_progress"))  # before zero: no naming
    now.take(tick(ZERO + 1, "confirmed", "failover_in_progress"))
    now.take(tick(ZERO + 2, "ruled_out"))
    assert [(t, dict(s)) for t, s in now.ledger] == [
        (-2.0, {"failover_in_progress": "confirmed"}),
        (2.0, {"failover_in_progress": "ruled_out"}),
    ]
    assert now.final_ledger[0].because == "at 1001."
    assert now.sessions[0] == (-2.0, 2.0, 7.0, 100.0)
    assert len(now.events) == len(now.progress.events) == 3


def test_what_the_drill_tells_is_an_event_of_now() -> None:
    now = run()
    now.tell("phase", "it is killed", "drill", phase="fault")
    assert now.events == [Event(ZERO + 1.0, "phase", "it is killed", "drill", {"phase": "fault"})]


@dataclass
class Done:
    """The load engine after its last user."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    final: dict[str, Any] = field(default_factory=dict)


def test_who_was_neither_served_nor_refused_has_failed() -> None:
    arrived = [{"second": 12, "offered": 9, "served": 5, "refused": 1}]
    done = Done([{"second": 12, "requests_ok": 11, "attempts": 19}], {"arrived": arrived})
    assert _seconds(done, PLAN) == [  # type: ignore[arg-type]
        {"t": 0.0, "offered": 9, "served": 5, "refused": 1, "failed": 3,
         "requests_ok": 11, "attempts": 19}
    ]  # fmt: skip


def test_a_guarded_folder_goes_with_the_block(tmp_path: Path) -> None:
    folder = tmp_path / "drill"
    folder.mkdir()
    (folder / "something").write_text("x")
    with guarded(folder):
        assert folder.exists()
    assert not folder.exists()


def test_namespaces_are_named_after_their_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple[str, ...]] = []
    monkeypatch.setattr(cluster_hosts, "_ip", lambda *words, check=True: said.append(words))
    monkeypatch.setattr(cluster_hosts, "remove", lambda owner: said.append(("gone",)))
    with cluster_hosts.hosts(["db1", "vote1"]) as made:
        assert made["vote1"].space.endswith("-vote1")
        assert made["vote1"].address == "10.213.78.12"
        assert made["db1"].prefix[:3] == ("ip", "netns", "exec")
    assert said[-1] == ("gone",)
    assert sum(words[:2] == ("netns", "add") for words in said) == 2


def test_a_cut_is_healed_also_when_it_fails_half_way(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple[str, ...]] = []

    def ip(*words: str, check: bool = True) -> None:
        said.append(words)
        if "10.0.0.2/32" in words and "add" in words:
            raise EngineError("ip: no")

    monkeypatch.setattr(cluster_hosts, "_ip", ip)
    host = cluster_hosts.Host("db1", "space", "10.0.0.1")
    with pytest.raises(EngineError), cluster_hosts.cut(host, ["10.0.0.3", "10.0.0.2"]):
        raise AssertionError("the block must not run")
    assert ("-n", "space", "route", "del", "blackhole", "10.0.0.3/32") in said
