"""Every interleaving of our steps with crashes: never two primaries because of us, PAUSE ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import pytest

from premortem.cluster.steps import (
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

NODES = ("a", "b")
FAULTS_MAX = 2
"""Crashes and failing steps a history may hold. Three show nothing more and take four times as
long (checked once by hand)."""

Server = Literal["dead", "replica", "primary"]


@dataclass(frozen=True)
class World:
    """Two nodes, one key, one supervisor, as plain values."""

    patroni: tuple[bool, bool] = (True, True)
    server: tuple[Server, Server] = ("primary", "replica")
    key: str | None = "a"
    faults: int = 0
    expired: bool = False
    """The key ran out by itself: what happens then is not because of us."""
    supervisor: bool = True
    script: str = ""
    """The node a script works on; empty: idle."""
    planned: bool = False
    """Whether that script is the planned one."""
    sent: tuple[bool, ...] = ()
    """The outcomes the script was sent so far: it is replayed from them."""

    def with_node(self, i: int, patroni: bool | None = None, server: Server | None = None) -> World:
        p, s = list(self.patroni), list(self.server)
        p[i] = p[i] if patroni is None else patroni
        s[i] = s[i] if server is None else server
        return replace(self, patroni=(p[0], p[1]), server=(s[0], s[1]))


@cache
def step_of(make: Callable[[str], Script], node: str, sent: tuple[bool, ...]) -> Step | None:
    """The step the script waits for after these outcomes; ``None`` when it ended."""
    script = make(node)
    try:
        step = next(script)
        for ok in sent:
            step = script.send(Outcome(ok=ok))
    except StopIteration:
        return None
    return step


def environment(w: World) -> Iterator[World]:
    """What may happen at any moment without us."""
    if w.faults < FAULTS_MAX:
        worse = replace(w, faults=w.faults + 1)
        for i in range(2):
            if w.patroni[i]:
                yield worse.with_node(i, patroni=False)
            if w.server[i] != "dead":
                yield worse.with_node(i, server="dead")
        if w.supervisor:
            yield replace(worse, supervisor=False, script="", sent=())
    if not w.supervisor:
        yield replace(w, supervisor=True)
    holder = None if w.key is None else NODES.index(w.key)
    if holder is not None and not w.patroni[holder]:
        yield replace(w, key=None, expired=True)
    for i in range(2):
        if w.patroni[i]:
            yield from patroni(w, i, holder)


def patroni(w: World, i: int, holder: int | None) -> Iterator[World]:
    """What a living Patroni does: its server follows the key."""
    if w.server[i] == "dead":
        yield w.with_node(i, server="primary" if holder == i else "replica")
    elif holder is None and w.server[i] == "replica":
        yield replace(w, key=NODES[i])
    elif holder == i and w.server[i] == "replica":
        yield w.with_node(i, server="primary")
    elif holder != i and w.server[i] == "primary":
        yield w.with_node(i, server="replica")


def ours(w: World, make: Callable[[str], Script]) -> Iterator[World]:
    """What the supervisor does next."""
    if not w.supervisor:
        return
    if not w.script:
        for i, name in enumerate(NODES):
            if w.key == name and w.patroni[i]:
                yield replace(w, script=name, planned=True, sent=())
            if not w.patroni[i]:
                yield replace(w, script=name, planned=False, sent=())
                if w.server[i] != "dead":
                    yield w.with_node(i, patroni=True)
        return
    step = step_of(hand_over if w.planned else make, w.script, w.sent)
    if step is None:
        yield replace(w, script="", sent=())
        return
    for after, ok in perform(w, step):
        yield replace(after, sent=(*after.sent, ok))


def perform(w: World, step: Step) -> Iterator[tuple[World, bool]]:
    """Every way a step may turn out, also half-way: done and not said so."""
    if not step.node:
        yield w, True
        yield w, False
        return
    i = NODES.index(step.node)
    worse = replace(w, faults=w.faults + 1)
    may_fail = w.faults < FAULTS_MAX
    if step.kind == "kill":
        yield w.with_node(i, patroni=False, server="dead"), True
        if may_fail:
            yield worse.with_node(i, patroni=False), True  # the server survives the signal
    elif step.kind == "stop_server":
        yield w.with_node(i, patroni=False, server="dead"), True
        yield w.with_node(i, patroni=False), False  # the server does not stop in time
    elif step.kind == "verify_dead":
        yield w, w.server[i] == "dead" and not w.patroni[i]
    elif step.kind == "release_key":
        gone = replace(w, key=None) if w.key == step.node else w
        yield gone, True
        if may_fail:
            yield replace(gone, faults=worse.faults), False  # done, but the answer was lost
            yield worse, False
    elif step.kind == "start":
        yield w.with_node(i, patroni=True), True
        if may_fail:
            yield worse, False


def explore(make: Callable[[str], Script]) -> tuple[int, list[World]]:
    """All reachable worlds, up to the first with two writable primaries because of us."""
    start = World()
    seen, todo = {start}, [start]
    while todo:
        w = todo.pop()
        if w.server == ("primary", "primary") and not w.expired:
            return len(seen), [w]
        for after in (*environment(w), *ours(w, make)):
            if after not in seen:
                seen.add(after)
                todo.append(after)
    return len(seen), []


def test_fail_over_never_makes_two_primaries() -> None:
    count, bad = explore(fail_over)
    assert bad == []
    assert count > 1_000  # the model really branches


def hasty(node: str) -> Script:
    """A wrong one: it trusts the signal and does not look."""
    yield Step("kill", node)
    yield Step("release_key", node)
    yield Step("start", node)
    return Outcome(ok=True)


def backwards(node: str) -> Script:
    """A wrong one: the key goes before the server is dead."""
    yield Step("release_key", node)
    yield Step("kill", node)
    yield Step("start", node)
    return Outcome(ok=True)


@pytest.mark.parametrize("wrong", [hasty, backwards])
def test_the_model_sees_what_is_wrong(wrong: Callable[[str], Script]) -> None:
    _, bad = explore(wrong)
    assert bad


# -- PAUSE


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
    "switchover": lambda: switchover("b"),
    "hand_over": lambda: hand_over("a"),
    "rolling": lambda: rolling(("b",), "a", hand_over),
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
        kinds = [step.kind for step, _ in run]
        if "pause" in kinds:
            first, last = kinds.index("pause"), len(kinds) - 1 - kinds[::-1].index("resume")
            longest = max(longest, sum(step.within_s for step, _ in run[first : last + 1]))
    assert longest <= 60.0


def test_a_failover_holds_clients_only_for_the_primary() -> None:
    for run in paths(lambda: fail_over("a", pooled=True)):
        kinds = [s.kind for s, _ in run]
        assert ("pause" in kinds) is run[0][1]
    seen = [s.kind for run in paths(lambda: fail_over("a")) for s, _ in run]
    assert not {"pause", "resume", "is_leader"} & set(seen)


def test_no_pause_without_a_pooler() -> None:
    kinds = {s.kind for run in paths(lambda: switchover("b", pooled=False)) for s, _ in run}
    assert kinds == {"checkpoint", "ask_switchover", "await_route"}


@pytest.mark.parametrize("name", ["switchover", "hand_over"])
def test_nothing_is_switched_when_pause_fails(name: str) -> None:
    for run in paths(SCRIPTS[name]):
        if ("pause", False) in [(s.kind, ok) for s, ok in run]:
            assert not {"ask_switchover", "stop_server"} & {s.kind for s, _ in run}


def test_a_hand_over_that_fails_starts_the_old_primary_again() -> None:
    for run in paths(lambda: hand_over("a")):
        kinds = [s.kind for s, _ in run]
        assert ("start" in kinds) is ("stop_server" in kinds)


def test_rolling_stops_at_the_first_node_that_does_not_come_back() -> None:
    for run in paths(lambda: rolling(("b", "c"), "a", hand_over)):
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
