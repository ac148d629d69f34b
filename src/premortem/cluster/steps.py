"""The control plane's own steps, as generators: they decide, somebody else acts.

A generator yields a step and is sent what came of it. Nothing here waits, reads a clock or talks
to a server, so every interleaving with crashes in between can be explored
(tests/unit/cluster/test_steps_model.py does).

The invariant of `fail_over` and `hand_over`: the leader key of a node is released only after every
process of that node's server was seen dead, and nothing of that node is started in between. So a
key that we release never lets a second server become writable beside a first one.

The invariant of `hand_over` and `switchover`: after PAUSE was asked for, RESUME is asked for on
every path; if we die in between, whoever starts next runs `recover`, which resumes first of all.
Each step has a time-out (`Step.within_s`), so that every path ends.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "HEIR_S",
    "SWITCH_TRIES",
    "Heartbeat",
    "Kind",
    "Outcome",
    "Script",
    "Step",
    "fail_over",
    "hand_over",
    "recover",
    "rolling",
    "switchover",
    "watch_over",
]

Kind = Literal[
    "is_leader",
    "kill",
    "verify_dead",
    "release_key",
    "start",
    "checkpoint",
    "pause",
    "stop_server",
    "ask_switchover",
    "await_route",
    "resume",
    "restart",
    "await_healthy",
]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do to one node, and how long it may take."""

    kind: Kind
    node: str = ""
    within_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a step: done or not, and why. A time-out is an outcome, not an exception."""

    ok: bool
    note: str = ""


Script = Generator[Step, Outcome, Outcome]
"""Yields steps, is sent outcomes, returns what came of the whole."""

CHECKPOINT_S = 30.0
FENCE_TRIES = 5
"""Kill and look again; a process in uninterruptible sleep may need a moment."""
PAUSE_S = 5.0
"""Longest wait for running transactions to end; PgBouncer queues new ones meanwhile."""
HEIR_S = 15.0
"""A server that is started again streams and is counted after one or two of Patroni's rounds."""
SWITCH_S = 20.0
SWITCH_TRIES = 3
"""How often Patroni is asked for a named server that it refuses; the second time is the right one
when its list of servers that are counted was out of date."""
STOP_S = 10.0
"""Longest wait for a server's orderly stop; after a checkpoint it takes some 100 ms."""
ROUTE_S = 10.0
RESUME_S = 5.0
HOLD_S = 0.2
"""Wait for PAUSE in a failover: the sessions of a dead server end by themselves."""
TAKEOVER_S = 3.0
"""A replica takes over within one; when none does, errors are more honest than silence."""


def fail_over(node: str, *, pooled: bool = False) -> Script:
    """A node's Patroni is gone: fence its server, see it dead, release the key, start again.

    When the server cannot be seen dead nothing is released and nothing started: the key runs out
    by itself, which is slow and safe. When it was the primary and there is a pooler, clients are
    held meanwhile: they wait a moment instead of getting an error each.
    """
    held = False
    if pooled:
        held = (yield Step("is_leader", node, 1.0)).ok
    if held:
        yield Step("pause", "", HOLD_S)  # in time or not, new queries are held from now on
    dead = Outcome(ok=False, note="not tried")
    for _ in range(FENCE_TRIES):
        yield Step("kill", node, 2.0)
        dead = yield Step("verify_dead", node, 2.0)
        if dead.ok:
            break
    released = dead
    if dead.ok:
        released = yield Step("release_key", node, 3.0)
    if held and released.ok:
        yield Step("await_route", "", TAKEOVER_S)
    if held:
        yield Step("resume", "", RESUME_S)
    if not dead.ok:
        return Outcome(ok=False, note=f"{node} could not be fenced ({dead.note}): its key is kept")
    started = yield Step("start", node, 5.0)
    if not started.ok:
        return Outcome(ok=False, note=f"{node} is fenced but does not start: {started.note}")
    return Outcome(ok=True, note=released.note)


def hand_over(primary: str, *, pooled: bool = True) -> Script:
    """Move the primary away from this node: the same order as `fail_over`, with a gentle stop.

    The server stops in order (it sends all it has to its replicas first), is seen dead, and its
    key is released: the replicas see that at once, and Patroni makes the fittest one primary. When
    PAUSE or the stop take too long nothing moves: users keep the primary they have.
    """
    held = yield from _hold(pooled=pooled)
    if not held.ok:
        return held
    yield Step("stop_server", primary, STOP_S)
    gone = yield Step("verify_dead", primary, 2.0)
    routed = gone
    if gone.ok:
        yield Step("release_key", primary, 3.0)
        routed = yield Step("await_route", "", ROUTE_S)
    if pooled and routed.ok:
        yield Step("resume", "", RESUME_S)
    started = yield Step("start", primary, 5.0)
    if routed.ok:
        return started
    back = yield Step("await_route", "", ROUTE_S)
    if pooled:
        yield Step("resume", "", RESUME_S)
    where = "the old primary is back" if back.ok else "there is no primary"
    return Outcome(ok=False, note=f"not switched, {where}: {routed.note}")


def switchover(to: str, *, pooled: bool = True) -> Script:
    """Make a named server primary: only Patroni's own switchover can promise which one.

    It takes some three seconds longer than `hand_over`: Patroni looks for the end of the old server
    once a second, gives the replicas one more, and the other ones stand back for two (`ha.py`,
    `demote` and `process_unhealthy_cluster`), in which they confirm no commit. A server that has
    just come back is waited for before anybody is held: until commits wait for it, Patroni refuses
    it (`ha.py`, `get_failover_candidates`). What Patroni knows of that may be older than the last
    change of primary: when it refuses all the same, clients go on and it is asked again.
    """
    asked = Outcome(ok=False, note="not tried")
    for _ in range(SWITCH_TRIES):
        ready = yield Step("await_healthy", to, HEIR_S)
        if not ready.ok:
            return Outcome(ok=False, note=f"not switched: {ready.note}")
        held = yield from _hold(pooled=pooled)
        if not held.ok:
            return held
        asked = yield Step("ask_switchover", to, SWITCH_S)
        routed = yield Step("await_route", to if asked.ok else "", ROUTE_S)
        if pooled:
            yield Step("resume", "", RESUME_S)
        if asked.ok:
            return Outcome(ok=routed.ok, note=routed.note)
    return Outcome(ok=False, note=f"Patroni did not switch: {asked.note}")


def _hold(*, pooled: bool) -> Script:
    """Write down what a stop would, then hold clients; those that cannot be held go on."""
    yield Step("checkpoint", "", CHECKPOINT_S)
    if pooled:
        paused = yield Step("pause", "", PAUSE_S)
        if not paused.ok:
            yield Step("resume", "", RESUME_S)
            return Outcome(ok=False, note=f"not switched, could not pause: {paused.note}")
    return Outcome(ok=True)


def recover(nodes_down: Iterable[str]) -> Script:
    """What a supervisor does first: let clients through, then see to nodes without a Patroni."""
    yield Step("resume", "", RESUME_S)
    notes: list[str] = []
    for node in nodes_down:
        outcome = yield from fail_over(node)
        if not outcome.ok:
            notes.append(outcome.note)
    return Outcome(ok=not notes, note="; ".join(notes))


def rolling(replicas: Iterable[str], primary: str, *, pooled: bool = True) -> Script:
    """Restart every server, replicas first, the primary last and only after it is one no more."""
    others = tuple(replicas)
    for node in others:
        turn = yield from _restart(node)
        if not turn.ok:
            return turn
    if others:
        moved = yield from hand_over(primary, pooled=pooled)
        if not moved.ok:
            return moved
    return (yield from _restart(primary))


def _restart(node: str) -> Script:
    """Only when the node is in order, and wait until it is so again: one at a time is away."""
    turns: tuple[Kind, ...] = ("await_healthy", "restart", "await_healthy")
    done = Outcome(ok=False)
    for kind in turns:
        done = yield Step(kind, node, 60.0)
        if not done.ok:
            return Outcome(ok=False, note=f"stopped at {node}: {done.note}")
    return done


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What was seen of one node at one look."""

    patroni: bool
    """The Patroni process is there."""
    server: bool
    """The PostgreSQL server is there."""
    silent_s: float = 0.0
    """How long Patroni's REST interface has not answered."""
    deaths: int = 0
    """How often Patroni died in the last ``CRASH_WINDOW_S``."""


CRASH_WINDOW_S = 30.0
DEATHS_MAX = 3
"""A Patroni that dies this often in the window does not hold its server in check."""
SILENT_SHARE_MAX = 0.5
"""Fence a Patroni that was silent for half its ttl: before the key can run out elsewhere."""


def watch_over(seen: Heartbeat, ttl_s: float) -> Literal["leave", "start", "fence"]:
    """What to do about a node.

    A server whose Patroni died is in good order: Patroni started within a second finds it and
    keeps the key, and nobody notices. A server that died with its Patroni, or a Patroni that
    cannot be kept alive or hangs, must be fenced well before the key could run out.

    >>> watch_over(Heartbeat(patroni=False, server=True, deaths=1), ttl_s=20)
    'start'
    >>> watch_over(Heartbeat(patroni=False, server=False, deaths=1), ttl_s=20)
    'fence'
    >>> watch_over(Heartbeat(patroni=True, server=True, silent_s=11), ttl_s=20)
    'fence'
    """
    if seen.patroni:
        silent = seen.server and seen.silent_s > ttl_s * SILENT_SHARE_MAX
        return "fence" if silent else "leave"
    return "start" if seen.server and seen.deaths < DEATHS_MAX else "fence"
