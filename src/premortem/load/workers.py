"""One attack from several processes, merged exactly.

Every process walks the same seeded schedule and sends its share of it (each n-th user), so the
arrivals are those of one process, whatever their number. What they recorded is integer counts:
the merge loses nothing.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from premortem.load.attack import Attack, Result, attack, reasons_against
from premortem.load.engine import Engine
from premortem.load.stats import Second, merged

__all__ = ["Seconds", "attack_many", "merge_results"]

START_S = 0.5
"""Until all processes are there; they begin at one instant."""
PROCESSES_MAX = 256


@dataclass(slots=True)
class Seconds:
    """Rows of a second, held until everyone who sends them has sent theirs."""

    processes: int
    on_second: Callable[[Second], None]
    rows: dict[int, list[Second]] = field(default_factory=dict)

    def take(self, row: Second) -> None:
        rows = self.rows.setdefault(row.second, [])
        rows.append(row)
        if len(rows) == self.processes:
            whole = Second(row.second)
            for one in self.rows.pop(row.second):
                whole.add(one)
            self.on_second(whole)


def attack_many(
    plan: Attack,
    processes: int,
    on_second: Callable[[Second], None] | None = None,
    stop: Callable[[Callable[[], None]], None] | None = None,
) -> Result:
    """Run ``plan`` from ``processes`` processes, each on its own of ``plan.cpus``.

    ``stop`` is handed a function that ends the run early. A process that dies makes the result
    invalid. Raises ``ValueError`` for a senseless number of processes.
    """
    if not 1 <= processes <= PROCESSES_MAX:
        raise ValueError(f"processes must be between 1 and {PROCESSES_MAX}, not {processes}")
    plan = replace(plan, start_at=plan.start_at or time.time() + START_S)
    context = multiprocessing.get_context("fork")
    children: list[BaseProcess] = []
    pipes: list[Connection[Any, Any]] = []
    for which in range(processes):
        ours, theirs = context.Pipe(duplex=False)
        child: BaseProcess = context.Process(
            target=_work, args=(_share(plan, which, processes), theirs)
        )
        child.start()
        theirs.close()
        children.append(child)
        pipes.append(ours)
    if stop is not None:
        stop(lambda: _terminate(children))
    seconds = Seconds(processes, on_second or (lambda row: None))
    try:
        results = _collect(pipes, seconds)
    finally:
        _terminate(children)  # by now they have ended, unless this process is being stopped
        for child in children:
            child.join()
    return merge_results(plan, results, processes)


def _terminate(children: list[BaseProcess]) -> None:
    for child in children:
        child.terminate()


def _share(plan: Attack, which: int, of: int) -> Attack:
    cpus = plan.cpus and (plan.cpus[which % len(plan.cpus)],)
    first, among = plan.share  # itself a share, where several machines send
    which, of = first + among * which, among * of
    crowd = plan.crowd // of + (which < plan.crowd % of)
    most = max(1, plan.settings.users_in_flight_max // of)
    settings = replace(plan.settings, users_in_flight_max=most)
    return replace(plan, share=(which, of), cpus=cpus, crowd=crowd, settings=settings)


def _work(plan: Attack, pipe: Connection[Any, Any]) -> None:
    """In the child: run the share, send rows and at the end the result."""

    def watch(engine: Engine) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, frame: engine.stop())

    pipe.send(attack(plan, pipe.send, watch))
    pipe.close()


def _collect(pipes: list[Connection[Any, Any]], seconds: Seconds) -> list[Result]:
    results = []
    open_pipes = list(pipes)
    while open_pipes:
        for pipe in wait(open_pipes):
            assert isinstance(pipe, Connection)
            try:
                message = pipe.recv()
            except EOFError:
                open_pipes.remove(pipe)
                continue
            if isinstance(message, Second):
                seconds.take(message)
            else:
                results.append(message)
    return results


def merge_results(plan: Attack, results: list[Result], processes: int) -> Result:
    """One result of several: exact. Fewer than there were processes make it invalid."""
    tally = merged(result.tally for result in results)
    peak = max((r.cpu_ratio_peak for r in results), default=0.0)
    limits = {limit for r in results for limit in r.limits}
    reasons = reasons_against(plan, tally, limits, peak, any(r.stopped for r in results))
    if len(results) < processes:
        reasons += (f"{processes - len(results)} of {processes} generator processes died",)
    assert plan.start_at is not None
    return Result(
        tally,
        plan.start_at,
        max((r.elapsed_s for r in results), default=0.0),
        sum(r.cpu_ratio for r in results) / max(1, len(results)),
        peak,
        reasons,
        frozenset(limits),
        any(r.stopped for r in results),
    )
