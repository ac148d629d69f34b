"""Every run of our steps, each going well or not: PAUSE ends, nothing is switched unasked."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from premortem.cluster.steps import (
    SWITCH_TRIES,
    Heartbeat,
    Outcome,
    Script,
    Step,
    fail_over,
    hand_over,
    recover,
    rolling,
    switchover,
    watch_over,
)


def paths(make: Callable[[], Script]) -> Iterator[list[tuple[Step, bool]]]:
    """Every run of a script, each step going well or not."""
    todo: list[tuple[bool, ...]] = [()]
    while todo:
        sent = todo.pop()
        script, run = make(), []
        try:
            step = next(script)
            for ok in sent:
                run.append((step, ok))
                step = script.send(Outcome(ok=ok))
        except StopIteration:
            yield run
            continue
        todo += [(*sent, True), (*sent, False)]


SCRIPTS: dict[str, Callable[[], Script]] = {
    "fail_over": lambda: fail_over("a", pooled=True),
    "hand_over": lambda: hand_over("a"),
    "switchover": lambda: switchover("b"),
    "rolling": lambda: rolling(("b",), "a"),
}


def held(run: list[tuple[Step, bool]]) -> bool:
    """Whether clients may be held after these steps. A PAUSE that failed may still come true."""
    paused = False
    for step, ok in run:
        paused = paused or step.kind == "pause"
        paused = paused and not (step.kind == "resume" and ok)
    return paused


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_path_asks_to_resume_after_pause(name: str) -> None:
    for run in paths(SCRIPTS[name]):
        kinds = [step.kind for step, _ in run]
        if "pause" in kinds:
            assert kinds.index("pause") < len(kinds) - 1 - kinds[::-1].index("resume")
        if all(ok for step, ok in run if step.kind == "resume"):
            assert not held(run)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_crash_at_any_step_ends_the_pause(name: str) -> None:
    recovery = next(run for run in paths(lambda: recover(())) if all(ok for _, ok in run))
    assert recovery[0][0].kind == "resume"
    for run in paths(SCRIPTS[name]):
        for died_after in range(len(run) + 1):
            assert not held(run[:died_after] + recovery)


@pytest.mark.parametrize("name", ["switchover", "hand_over"])
def test_a_pause_lasts_no_longer_than_its_time_outs(name: str) -> None:
    longest = 0.0
    for run in paths(SCRIPTS[name]):
        steps = [step for step, _ in run]
        for first in (i for i, step in enumerate(steps) if step.kind == "pause"):
            last = next(i for i in range(first, len(steps)) if steps[i].kind == "resume")
            longest = max(longest, sum(step.within_s for step in steps[first : last + 1]))
    assert 0.0 < longest <= 60.0


def test_a_switchover_that_patroni_refuses_is_asked_again_and_not_for_ever() -> None:
    for run in paths(lambda: switchover("b")):
        asked = [ok for step, ok in run if step.kind == "ask_switchover"]
        assert len(asked) <= SWITCH_TRIES
        assert True not in asked[:-1]
        if asked and not asked[-1] and all(ok for s, ok in run if s.kind != "ask_switchover"):
            assert len(asked) == SWITCH_TRIES


def test_a_failover_holds_clients_only_for_the_primary() -> None:
    for run in paths(lambda: fail_over("a", pooled=True)):
        kinds = [s.kind for s, _ in run]
        assert ("pause" in kinds) is run[0][1]
    seen = [s.kind for run in paths(lambda: fail_over("a")) for s, _ in run]
    assert not {"pause", "resume", "is_leader"} & set(seen)


def test_no_pause_without_a_pooler() -> None:
    kinds = {s.kind for run in paths(lambda: switchover("b", pooled=False)) for s, _ in run}
    assert kinds == {"await_healthy", "checkpoint", "ask_switchover", "await_route"}


def test_nobody_is_held_before_the_named_server_is_counted_again() -> None:
    for run in paths(lambda: switchover("b")):
        assert run[0][0].kind == "await_healthy" and run[0][0].node == "b"
        assert run[0][1] or len(run) == 1


@pytest.mark.parametrize("name", ["switchover", "hand_over"])
def test_nothing_is_switched_when_pause_fails(name: str) -> None:
    for run in paths(SCRIPTS[name]):
        refused = [i for i, (step, ok) in enumerate(run) if step.kind == "pause" and not ok]
        for i in refused:
            assert [step.kind for step, _ in run[i + 1 :]] == ["resume"]


def test_a_hand_over_that_fails_starts_the_old_primary_again() -> None:
    for run in paths(lambda: hand_over("a")):
        kinds = [s.kind for s, _ in run]
        assert ("start" in kinds) is ("stop_server" in kinds)


def test_rolling_stops_at_the_first_node_that_does_not_come_back() -> None:
    for run in paths(lambda: rolling(("b", "c"), "a")):
        bad = [i for i, (s, ok) in enumerate(run) if s.kind == "await_healthy" and not ok]
        if bad:
            assert not [s for s, _ in run[bad[0] + 1 :] if s.kind == "restart"]


def test_a_key_is_kept_when_the_server_cannot_be_seen_dead() -> None:
    script = fail_over("a")
    step, result = next(script), None
    kinds = []
    try:
        while True:
            kinds.append(step.kind)
            step = script.send(Outcome(ok=step.kind != "verify_dead"))
    except StopIteration as end:
        result = end.value
    assert result is not None
    assert not result.ok
    assert "release_key" not in kinds
    assert "start" not in kinds


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (Heartbeat(patroni=True, server=True), "leave"),
        (Heartbeat(patroni=True, server=False, silent_s=99), "leave"),
        (Heartbeat(patroni=True, server=True, silent_s=9.9), "leave"),
        (Heartbeat(patroni=True, server=True, silent_s=10.1), "fence"),
        (Heartbeat(patroni=False, server=True, deaths=2), "start"),
        (Heartbeat(patroni=False, server=True, deaths=3), "fence"),
        (Heartbeat(patroni=False, server=False, deaths=1), "fence"),
    ],
)
def test_watch_over(seen: Heartbeat, expected: str) -> None:
    assert watch_over(seen, ttl_s=20) == expected
