"""The loop that sends: users arrive on an absolute schedule, whatever the site does.

One process, one epoll, no asyncio; a request's latency counts from the instant at which the user
meant to send it.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterator, Sequence
from heapq import heappop

from premortem.load.journey import Choice
from premortem.load.plain import Template
from premortem.load.requests import Settings
from premortem.load.samples import SAMPLES_MAX
from premortem.load.sockets import Address
from premortem.load.stats import Second, Tally
from premortem.load.users import Users

__all__ = ["Engine", "Settings"]

EVENTS_MAX = 32
"""Events taken at once: 32 of ~15 µs keep arrivals within ~0.5 ms of their instant."""
POLL_S_MAX = 0.2
"""A signal is noticed within this time."""


class Engine(Users):
    """Drives the users of one process. ``run`` returns when all are done or time is up."""

    def __init__(
        self,
        address: Address,
        choices: Sequence[Choice],
        settings: Settings,
        *,
        seed: int = 1,
        run: str = "u",
        on_second: Callable[[Second], None] | None = None,
        acknowledge: Callable[[str, object, str], None] = lambda kind, id, user: None,
        user_agent: str = "premortem",
    ) -> None:
        super().__init__(
            address, choices, settings, seed=seed, run=run, acknowledge=acknowledge,
            user_agent=user_agent,
        )  # fmt: skip
        self.stopping = False
        self._on_second = on_second
        self._second_end = float("inf")
        self._cpu_s = 0.0

    def stop(self) -> None:
        """End the run soon, with the results so far. Safe in a signal handler."""
        self.stopping = True

    # -- the loop

    def run(
        self,
        schedule: Iterator[float],
        seconds: float,
        *,
        crowd: int = 0,
        start_in_s: float = 0.0,
    ) -> Tally:
        """Send until the schedule is over; with a ``crowd``, for ``seconds``."""
        self._start = time.perf_counter() + start_in_s
        self._schedule, self._crowd = schedule, crowd
        self._refills = crowd > 0 and isinstance(self._only, Template)
        self._end = self._start + seconds
        self._second_end = self._start + 1.0
        self._cpu_s = time.process_time()
        self._next_arrival()
        try:
            while self._tick():
                pass
        finally:
            self._finish()
        return self.tally

    def _tick(self) -> bool:
        now = time.perf_counter()
        if self._arrival <= now or self._users < self._crowd:
            self._arrive(now)
        timers = self._timers
        while timers and timers[0][0] <= now:
            self._due(heappop(timers))
        if now >= self._sweep_at:
            self._sweep(now)
        if now >= self._second_end and self._arrival >= self._second_end:
            self._close_second(now)
        if self._over(now):
            return False
        self._serve(self._wait(), self._arrival)
        if len(self._samples.service) >= SAMPLES_MAX:
            self._samples.settle(self.tally, self._row)
        return True

    def _over(self, now: float) -> bool:
        if self.stopping:
            return True
        if now < self._end or self._arrival < float("inf"):
            return False
        return not self._users or now >= self._end + self._settings.drain_s

    def _wait(self) -> list[tuple[int, int]]:
        """Sleep until the next thing is due or a socket speaks.

        epoll counts in whole milliseconds, ``select`` on the epoll's own descriptor in
        microseconds: the last stretch before an arrival is slept there, which costs no spinning.
        """
        due = min(self._arrival, self._sweep_at, self._second_end)
        if self._timers and self._timers[0][0] < due:
            due = self._timers[0][0]
        now = time.perf_counter()
        gap_s = 0.0 if self._short_of_users(now) else due - now
        if gap_s > 0.002:
            self._spinning = self._settings.spin_s > 0.0
            return self._epoll.poll(min(gap_s - 0.001, POLL_S_MAX), EVENTS_MAX)
        if self._spinning:
            gap_s -= self._settings.spin_s
        if gap_s > 0.0:
            select.select((self._epoll,), (), (), gap_s)
        return self._epoll.poll(0, EVENTS_MAX)

    def _close_second(self, now: float) -> None:
        row = self._row
        self._samples.settle(self.tally, row)
        self._lag.counts[0] += self._followed
        self._followed = 0
        cpu_s = time.process_time()
        elapsed_s = now - self._second_end + 1.0
        if elapsed_s > 0.5:  # less is too short to judge by
            row.cpu_ratio = (cpu_s - self._cpu_s) / elapsed_s
        self._cpu_s = cpu_s
        self._second_end += 1.0
        row.in_flight = self._users
        row.offered = self.tally.of_arrival(row.second).offered
        self.tally.close(row)
        if self._on_second is not None:
            self._on_second(row)
        self._row = Second(row.second + 1)

    def _finish(self) -> None:
        for row in self.tally.arrived.values():
            ended = row.served + row.refused + row.failed + row.not_started
            row.unfinished = row.offered - ended
        self._close_second(time.perf_counter())
        for connection in list(self._connections.values()):
            connection.close()
        self._connections.clear()
        self._epoll.close()
