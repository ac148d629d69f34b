"""The users of one process: who begins when, what each asks next, how each ends.

A user is a coroutine that is driven with ``send`` and ``throw``; a plain journey is no more than
its one request.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

from premortem.load.answers import Answers
from premortem.load.journey import (
    BadJourney,
    Choice,
    JourneyEnded,
    Outcome,
    Plain,
    Response,
    Script,
)
from premortem.load.plain import Lone, Template
from premortem.load.requests import TRY_AGAIN, Settings, words_of
from premortem.load.sockets import Address, Connection
from premortem.load.stats import Arrived
from premortem.load.visitor import Exchange, Pause, Site, Visitor

__all__ = ["Users"]

JOURNEY_ERRORS = (
    ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError,
)  # fmt: skip
"""What a journey raises when a page is not what it expected: the user failed. Anything else
(NameError, ImportError …) is a mistake in the journey and stops the run."""
ARRIVALS_MAX = 64
"""Users begun before sockets are looked at again: some 0.5 ms."""


class Users(Answers):
    """Begins users, drives their journeys and counts how they end."""

    _schedule: Iterator[float]

    def __init__(
        self,
        address: Address,
        choices: Sequence[Choice],
        settings: Settings,
        *,
        seed: int = 1,
        run: str = "u",
        acknowledge: Callable[[str, object, str], None] = lambda kind, id, user: None,
        user_agent: str = "premortem",
    ) -> None:
        super().__init__(address, settings, random.Random(f"{seed}:{run}"))
        self._weights = list(accumulate(c.weight for c in choices))
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
        self._refills = False
        self._followed = 0
        """Users of a crowd who came at once after the one before: their send lag is nothing."""
        self._spinning = False
        self._user_number = 0
        self._users_max = settings.users_in_flight_max
        self._arrived = Arrived(-1)
        self._arrived_from = float("inf")
        self._start = 0.0
        self._end = float("inf")
        self._arrival = float("inf")

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

    def _arrived_in(self, arrived: float) -> Arrived:
        """The row of those who arrive in this second."""
        second = int(arrived - self._start)
        self._arrived = self.tally.of_arrival(second)
        self._arrived_from = self._start + second
        return self._arrived

    def _begin_user(self, arrived: float) -> None:
        row = self._arrived
        if not self._arrived_from <= arrived < self._arrived_from + 1.0:
            row = self._arrived_in(arrived)
        row.offered += 1
        if self._users >= self._users_max:
            row.not_started += 1
            self.limits.add(f"{self._users_max} users in flight")
            return
        self._users += 1
        self._user_number += 1
        now = time.perf_counter()
        self._samples.lag.append((now - arrived) * 1e6)
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

    def _due_arrivals(self, now: float) -> float:
        self._arrive(now)
        return self._arrival

    def _next_alone(self, exchange: Exchange, connection: Connection, now: float) -> None:
        """Its user is served. Of a crowd, the next one takes over connection and request."""
        assert isinstance(exchange, Lone)
        row, arrived = self._row, self._arrived
        row.served += 1
        exchange.arrived.served += 1
        fresh = exchange.attempts == 1 and exchange.own is None and not exchange.resent
        if not self._refills or not fresh or now >= self._end:
            self._users -= 1
            exchange.connection = connection.exchange = None
            self._idle.append(connection)
            if fresh:
                exchange.free.append(exchange)
            self._follow(now)
            return
        if not self._arrived_from <= now < self._arrived_from + 1.0:
            arrived = self._arrived_in(now)
        arrived.offered += 1
        row.attempts += 1
        self._user_number = number = self._user_number + 1
        exchange.number, exchange.arrived = number, arrived
        exchange.message = message = b"%b%d%b" % (exchange.before, number, exchange.after)
        exchange.intended = exchange.started = now
        self._followed += 1
        self._waiting[exchange] = None
        try:
            sent = connection.write(message)
        except TRY_AGAIN:
            sent = 0
        except OSError as error:
            self._lost(connection, f"broken: {words_of(error)}")
            return
        if sent != len(message):
            connection.keep(message[sent:])

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
