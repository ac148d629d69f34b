"""One run of ``premortem load run``: users sent, the site watched, bars held against it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache

from premortem.app.load_sight import Sight, watching
from premortem.app.load_target import Aim
from premortem.engines.errors import EngineError
from premortem.load.attack import Result
from premortem.load.bars import Bar, Judged, judge
from premortem.load.pace import Pacer
from premortem.load.safety import StopRules, stop_reason
from premortem.load.spec import Attack
from premortem.load.stats import Second
from premortem.load.workers import attack_many
from premortem.model import Diagnosis

__all__ = ["Progress", "Run", "attack_watched", "mute_forked_children", "perform", "sender_of"]

OnSecond = Callable[[Second], None]
Hold = Callable[[Callable[[], None]], None]
"""Is handed what ends an attack early."""
Sender = Callable[[Attack, OnSecond, Hold], Result]
START_IN_S = 0.5
"""Forking the generator and its first look through its own memory."""


@dataclass(slots=True)
class Progress:
    """What there is to show of a run under way."""

    pace: Pacer
    rows: list[Second] = field(default_factory=list)
    sight: Sight = field(default_factory=Sight)
    stopped: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """A run and what is held of it."""

    result: Result
    seconds: float
    judged: tuple[Judged, ...]
    stopped: str | None
    """Why it ended itself."""
    diagnosis: Diagnosis | None
    """The last that named a cause, else the last."""

    @property
    def invalid(self) -> str | None:
        """Why the figures are not to be believed. Users who hang are the site's doing, and a run
        that ended itself is judged by why it did."""
        own = [r for r in self.result.reasons if "had not finished" not in r]
        if self.stopped is not None:
            own = [r for r in own if r != "the run was stopped"]
        return "; ".join(own) or None

    @property
    def verdict(self) -> str:
        """``invalid``, ``stopped``, ``missed`` or ``passed``."""
        if self.invalid is not None:
            return "invalid"
        if self.stopped is not None:
            return "stopped"
        return "passed" if all(j.held for j in self.judged) else "missed"


async def perform(
    aim: Aim,
    pace: Pacer,
    bars: Sequence[Bar],
    show: Callable[[Progress], None],
) -> Run:
    """Send the users, watch the site, stop early if a rule says so, hold the bars against it."""
    rules = aim.table.stop_rules()
    async with watching(aim.sources, aim.thresholds) as sight:
        progress = Progress(pace, sight=sight)
        result = await attack_watched(aim.attack(pace), sender_of(aim), progress, rules, show)
        diagnosis = sight.worst or sight.diagnosis
    seconds = min(pace.seconds, result.elapsed_s) if result.stopped else pace.seconds
    judged = tuple(judge(bar, result.tally, seconds) for bar in bars)
    return Run(result, seconds, judged, progress.stopped, diagnosis)


def sender_of(aim: Aim) -> Sender:
    """What performs an attack: processes on this machine, or agents on others. Blocks."""
    if not aim.agents:
        return lambda plan, on_second, hold: attack_many(plan, aim.workers, on_second, hold)

    def send(plan: Attack, on_second: OnSecond, hold: Hold) -> Result:
        from premortem.load.agents import AgentFailed, attack_on_agents, ssh_command  # noqa: PLC0415

        commands = [ssh_command(host) for host in aim.agents]
        try:
            return attack_on_agents(
                plan, aim.journey, commands, on_second, hold, processes=aim.workers
            )
        except AgentFailed as error:
            raise EngineError(f"agent {error}") from None

    return send


async def attack_watched(
    plan: Attack,
    send: Sender,
    progress: Progress,
    rules: StopRules,
    show: Callable[[Progress], None],
) -> Result:
    """An attack in processes of its own while this loop goes on: rows come in, rules are asked.

    Cancelled, it ends the attack before it lets go.
    """
    mute_forked_children()
    loop = asyncio.get_running_loop()
    ends: list[Callable[[], None]] = []
    stopping = False

    def stop() -> None:
        nonlocal stopping
        stopping = True
        for end in ends:
            end()

    def hold(end: Callable[[], None]) -> None:
        ends.append(end)
        if stopping:
            end()

    def take(row: Second) -> None:
        progress.rows.append(row)
        if progress.stopped is None:
            progress.stopped = stop_reason(progress.rows, list(progress.sight.named), rules)
            if progress.stopped is not None:
                stop()
        show(progress)

    def on_second(row: Second) -> None:
        with suppress(RuntimeError):  # the loop has gone: we are being ended
            loop.call_soon_threadsafe(take, row)

    plan = replace(plan, start_at=time.time() + START_IN_S)
    work = asyncio.create_task(asyncio.to_thread(send, plan, on_second, hold))
    try:
        return await asyncio.shield(work)
    finally:
        if not work.done():
            stop()
            await asyncio.wait({work})


@cache
def mute_forked_children() -> None:
    """Have a forked process drop the descriptor by which asyncio hears of signals: it shares it
    with us, and the SIGTERM that ends a generator would be heard here as our own."""
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))
