"""The loop that sends: users arrive on an absolute schedule, whatever the site does.

One process, one epoll, no asyncio. A user is a coroutine that the loop drives with ``send`` and
``throw``; a request's latency counts from the instant at which the user meant to send it.
"""

from __future__ import annotations

import gc
import random
import select
import time
from collections.abc import Callable, Iterator, Sequence
from heapq import heappop
from itertools import accumulate

from premortem.load.journey import (
    BadJourney,
    Choice,
    JourneyEnded,
    Outcome,
    Plain,
    Response,
    Script,
)
from premortem.load.requests import Requests, Settings
from premortem.load.sockets import READY, Address
from premortem.load.stats import Arrived, Second, Tally
from premortem.load.visitor import Exchange, Pause, Site, Template, Visitor

__all__ = ["Engine", "Settings"]

JOURNEY_ERRORS = (
    ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError,
)  # fmt: skip
"""What a journey raises when a page is not what it expected: the user failed. Anything else
(NameError, ImportError …) is a mistake in the journey and stops the run."""
EVENTS_MAX = 32
"""Events taken at once: 32 of ~15 µs keep arrivals within ~0.5 ms of their instant."""
ARRIVALS_MAX = 64
"""Users begun before sockets are looked at again, for the same reason."""
POLL_S_MAX = 0.2
"""A signal is noticed within this time."""
GC_OBJECTS = 20_000
"""Between collections: the default of 700 comes a hundred times a second and finds nothing, as the
engine makes no cycles; journeys may."""


class Engine(Requests):
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
        super().__init__(address, settings, random.Random(f"{seed}:{run}"))
        self.stopping = False
        self._weights = list(accumulate(c.weight for c in choices))
        self._on_second = on_second
        shared = (
            f" HTTP/1.1\r\nHost: {address.host}\r\nUser-Agent: {user_agent}\r\n"
            f"Accept: */*\r\nX-Client-Id: {run}-"
        )
        self._site = site = Site(address.prefix, shared, run, seed, acknowledge)
        self._choices = [
            Template(site, c.journey) if isinstance(c.journey, Plain) else c.journey
            for c in choices
        ]
        self._only = self._choices[0] if len(choices) == 1 else None
        self._spinning = False
        self._user_number = 0
        self._lag_counts = self.tally.lag.counts
        self._users_max = settings.users_in_flight_max
        self._arrived = Arrived(-1)
        self._arrived_from = float("inf")
        self._start = 0.0
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
        self._end = self._start + seconds
        self._second_end = self._start + 1.0
        self._cpu_s = time.process_time()
        self._next_arrival()
        usual = gc.get_threshold()
        gc.collect()
        gc.freeze()  # what was there before the run is not looked through during it
        gc.set_threshold(GC_OBJECTS, 10, 10)
        try:
            while self._tick():
                pass
        finally:
            gc.set_threshold(*usual)
            gc.unfreeze()
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
        connections = self._connections
        for fd, _ in self._wait():
            connection = connections.get(fd)
            if connection is not None:
                if connection.stage == READY and not connection.unsent:
                    self._readable(connection)
                else:
                    self._advance(connection)
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

    # -- users

    def _next_arrival(self) -> None:
        self._spinning = False
        offset_s = next(self._schedule, None)
        self._arrival = float("inf") if offset_s is None else self._start + offset_s

    def _arrive(self, now: float) -> None:
        for _ in range(ARRIVALS_MAX):
            if self._arrival > now:
                break
            self._begin_user(self._arrival)
            self._next_arrival()
        if self._short_of_users(now):
            for _ in range(min(ARRIVALS_MAX, self._crowd - self._users)):
                self._begin_user(time.perf_counter())

    def _short_of_users(self, now: float) -> bool:
        return self._users < self._crowd and self._start <= now < self._end

    def _begin_user(self, arrived: float) -> None:
        if not self._arrived_from <= arrived < self._arrived_from + 1.0:
            second = int(arrived - self._start)
            self._arrived = self.tally.of_arrival(second)
            self._arrived_from = self._start + second
        row = self._arrived
        row.offered += 1
        if self._users >= self._users_max:
            row.not_started += 1
            self.limits.add(f"{self._users_max} users in flight")
            return
        self._users += 1
        self._user_number += 1
        now = time.perf_counter()
        lag_us = int((now - arrived) * 1e6)  # Histogram.record without the call
        shift = lag_us.bit_length() - 9
        self._lag_counts[lag_us if shift <= 0 else (shift << 8) + (lag_us >> shift)] += 1
        journey = self._only or self._choose()
        if isinstance(journey, Template):
            exchange = journey.exchange(self._user_number, row)
            exchange.intended = arrived
            self._attempt(exchange, now)
        else:
            user = Visitor(self._site, self._user_number, row)
            user.coroutine = journey(user)
            self._step(user, None, arrived)

    def _follow(self, now: float) -> None:
        if self._users < self._crowd and now < self._end:
            self._begin_user(now)

    def _choose(self) -> Script | Template:
        return self._dice.choices(self._choices, cum_weights=self._weights)[0]

    def _step(self, user: Visitor, answer: Response | None, due: float) -> None:
        """Let the journey go on; ``due`` is when its next request ought to leave."""
        assert user.coroutine is not None
        try:
            command = user.coroutine.send(answer)
        except StopIteration:
            self._end_user(user, "served")
        except (JourneyEnded, *JOURNEY_ERRORS) as error:
            self._note(f"journey: {type(error).__name__}: {error}")
            self._end_user(user, "failed")
        else:
            if isinstance(command, Exchange):
                command.intended = due
                self._attempt(command, time.perf_counter())
            elif isinstance(command, Pause):
                self._at(due + command.seconds, user)
            else:
                raise BadJourney(f"a journey awaits only what its user offers, not {command!r}")

    def _due(self, timer: tuple[float, int, Visitor | Exchange]) -> None:
        when, _, what = timer
        now = time.perf_counter()
        self._lag.record(int((now - when) * 1e6))
        if isinstance(what, Exchange):
            self._attempt(what, now)
        else:
            self._step(what, None, when)

    def _end_user(self, user: Visitor, outcome: Outcome) -> None:
        row, arrived = self._row, user.arrived
        if outcome == "served":
            row.served += 1
            arrived.served += 1
        elif outcome == "refused":
            row.refused += 1
            arrived.refused += 1
        else:
            row.failed += 1
            arrived.failed += 1
            if self.tally.first_failed_s is None:
                self.tally.first_failed_s = time.perf_counter() - self._start
        self._users -= 1
        user.coroutine = None
        if user.connection is not None:
            self._drop(user.connection)
            user.connection = None

    def _stop_user(self, exchange: Exchange, outcome: Outcome, ending: JourneyEnded) -> None:
        """End a journey at the request it awaits."""
        user, coroutine = exchange.user, exchange.user.coroutine
        if coroutine is not None:
            try:
                coroutine.throw(ending)
            except (StopIteration, JourneyEnded, *JOURNEY_ERRORS):
                pass  # however it ends, what it ended of is known
            else:
                coroutine.close()
        self._end_user(user, outcome)
