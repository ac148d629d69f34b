"""How one request is carried through: connections, attempts, time-outs, what comes back."""

from __future__ import annotations

import errno
import random
import select
import ssl
import time
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from heapq import heappush

from premortem.load.journey import JourneyEnded, Outcome, RequestFailed, Response
from premortem.load.samples import Samples
from premortem.load.sockets import Address, Connection, GeneratorLimit
from premortem.load.stats import OTHER, Second, Tally
from premortem.load.visitor import SAFE_METHODS, Exchange, Visitor

__all__ = ["TRY_AGAIN", "Requests", "Settings", "words_of"]

TRY_AGAIN = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
"""The socket has nothing to give, or no room, at the moment."""
SWEEP_S = 0.005
"""How often time-outs are looked for, when there is something to look at."""
ERRORS_MAX = 100
"""Kinds of errors told apart."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How users behave and what the engine allows itself."""

    timeout_s: float = 1.0
    """One attempt, connecting and redirects included; a visitor's patience in the drill."""
    retries: int = 2
    backoff_s: float = 0.2
    """Mean wait before the first retry; doubled for each further one, ± 50 % jitter."""
    refusal_s: float = 0.1
    """A 503 with Retry-After within this time is polite; later it is a failure."""
    keep_alive: bool = True
    """Connections are shared by all users; else each user has one of their own."""
    connections_max: int = 0
    """0: as many as there are requests in flight, as browsers do."""
    users_in_flight_max: int = 10_000
    """Users beyond are counted as not started, and the run is invalid."""
    drain_s: float = 15.0
    """How long users may go on after the last arrival."""
    body_bytes_max: int = 16 * 1024 * 1024
    spin_s: float = 0.0
    """Stay awake this long before someone is due who is more than a millisecond away. 0.0002 takes
    the time of waking up (~0.1 ms) off the send lag and costs that much processor time a user."""


class Requests(ABC):
    """The part of the engine below its users. It tells them what came of what they asked for by
    ``_step``, ``_end_user`` and ``_stop_user``."""

    def __init__(self, address: Address, settings: Settings, dice: random.Random) -> None:
        self.tally = Tally()
        self.limits: set[str] = set()
        """What this machine ran out of; any makes the run invalid."""
        self._address = address
        self._settings = settings
        self._timeout_s = settings.timeout_s
        self._keep_alive = settings.keep_alive
        self._dice = dice
        self._lag, self._service = self.tally.lag, self.tally.service
        self._epoll = select.epoll()
        self._connections: dict[int, Connection] = {}
        self._idle: list[Connection] = []
        self._queue: deque[tuple[Exchange, int, float]] = deque()
        self._waiting: dict[Exchange, None] = {}  # in the order in which they were sent
        self._timers: list[tuple[float, int, Visitor | Exchange]] = []
        self._timer_number = 0
        self._users = self._crowd = 0
        self._sweep_at = float("inf")
        self._row = Second(0)
        self._samples = Samples()

    # -- what the users' part provides

    @abstractmethod
    def _step(self, user: Visitor, answer: Response | None, due: float) -> None:
        """Let a journey go on with the answer to what it asked for."""

    @abstractmethod
    def _end_user(self, user: Visitor, outcome: Outcome) -> None:
        """Count what became of a user."""

    @abstractmethod
    def _follow(self, now: float) -> None:
        """Someone of a crowd left: let the next one in at once."""

    @abstractmethod
    def _stop_user(self, exchange: Exchange, outcome: Outcome, ending: JourneyEnded) -> None:
        """End a journey at the request it awaits."""

    def _note(self, why: str) -> None:
        errors = self.tally.errors
        errors[why[:200] if why in errors or len(errors) < ERRORS_MAX else OTHER] += 1

    def _at(self, when: float, what: Visitor | Exchange) -> None:
        self._timer_number += 1
        heappush(self._timers, (when, self._timer_number, what))

    # -- requests

    def _attempt(self, exchange: Exchange, now: float) -> None:
        exchange.started = now
        exchange.attempts += 1
        self._row.attempts += 1
        self._waiting[exchange] = None
        if self._sweep_at > now + self._timeout_s:  # noqa: PLR1730 - hot: no call
            self._sweep_at = now + self._timeout_s
        if not self._idle:
            self._dispatch(exchange)
            return
        connection = self._idle.pop()
        connection.exchange = exchange
        exchange.connection = connection
        message = exchange.message
        try:
            sent = connection.write(message)
        except TRY_AGAIN:
            sent = 0
        except OSError as error:
            self._lost(connection, f"broken: {words_of(error)}")
            return
        if sent != len(message):
            connection.keep(message[sent:])

    def _dispatch(self, exchange: Exchange, *, fresh: bool = False) -> None:
        """Put a request on a connection, or in the queue for one."""
        try:
            connection = self._connection(exchange, fresh=fresh)
        except GeneratorLimit as error:
            self.limits.add(str(error))
            self._attempt_failed(exchange, f"generator limit: {error}")
            return
        except OSError as error:
            self._attempt_failed(exchange, f"broken: {error}")
            return
        if connection is None:
            self._queue.append((exchange, exchange.attempts, time.perf_counter()))
            return
        self._put(exchange, connection)

    def _put(self, exchange: Exchange, connection: Connection) -> None:
        connection.exchange = exchange
        exchange.connection = connection
        try:
            connection.send(exchange.message)
        except OSError as error:
            self._lost(connection, f"broken: {words_of(error)}")

    def _connection(self, exchange: Exchange, *, fresh: bool) -> Connection | None:
        """A connection to use now; ``None`` when all allowed ones are busy."""
        if not self._keep_alive:
            user = exchange.user
            own, user.connection = user.connection, None
            if own is not None and not fresh and self._connections.get(own.fd) is own:
                return own
        elif self._idle and not fresh:
            return self._idle.pop()
        most = self._settings.connections_max
        if most and len(self._connections) >= most:
            if not self._idle:
                return None
            self._drop(self._idle[0])
        connection = Connection(self._address, self._epoll)
        self._connections[connection.fd] = connection
        return connection

    def _release(self, connection: Connection, exchange: Exchange, *, reusable: bool) -> None:
        connection.exchange = connection.reader = None
        connection.used = True
        if not reusable:
            self._drop(connection)
        elif not self._keep_alive:
            exchange.user.connection = connection
        else:
            self._idle.append(connection)
            if self._queue:
                self._serve_queue()

    def _serve_queue(self) -> None:
        """Give the free connection to whoever has waited longest and still waits."""
        while self._queue:
            exchange, attempts, since = self._queue.popleft()
            if exchange in self._waiting and exchange.attempts == attempts:
                self.tally.wait.record(int((time.perf_counter() - since) * 1e6))
                self._dispatch(exchange)
                return

    def _drop(self, connection: Connection) -> None:
        """Close; the server sees the user go, as when a browser gives up."""
        if self._connections.pop(connection.fd, None) is None:
            return
        if connection in self._idle:
            self._idle.remove(connection)
        owner = connection.exchange
        if owner is not None:
            owner.connection = None
        connection.close()
        if self._queue:
            self._serve_queue()

    def _sweep(self, now: float) -> None:
        """Give up on attempts that took too long; the oldest are in front."""
        timeout_s = self._timeout_s
        while self._waiting:
            exchange = next(iter(self._waiting))
            if exchange.started + timeout_s > now:
                self._sweep_at = max(exchange.started + timeout_s, now + SWEEP_S)
                return
            self._row.timeouts += 1
            self._attempt_failed(exchange, "timeout")
        self._sweep_at = float("inf")

    def _attempt_failed(self, exchange: Exchange, why: str, *, final: bool = False) -> None:
        """Retry after a while, or fail the user when the retries are used up."""
        self._waiting.pop(exchange, None)
        if exchange.connection is not None:
            self._drop(exchange.connection)
        settings = self._settings
        if exchange.attempts <= settings.retries and not final:
            self._row.retries += 1
            wait_s = settings.backoff_s * 2 ** (exchange.attempts - 1)
            self._at(time.perf_counter() + wait_s * self._dice.uniform(0.5, 1.5), exchange)
            return
        self._note(why)
        now = time.perf_counter()
        self._row.names[exchange.name].record(int((now - exchange.intended) * 1e6))
        self._service.record(int((now - exchange.started) * 1e6))
        self._row.requests_failed += 1
        self._stop_user(exchange, "failed", RequestFailed(why))

    def _lost(self, connection: Connection, why: str) -> None:
        """A connection broke. One that had been idle and is closed under a request that may be
        repeated is replaced without counting, as browsers do (RFC 9112 section 9.3.1)."""
        exchange = connection.exchange
        stale = connection.used and connection.reader is None
        self._drop(connection)
        if exchange is None:
            return
        if stale and exchange.method in SAFE_METHODS and not exchange.resent:
            exchange.resent = True
            self._dispatch(exchange, fresh=True)
        else:
            self._attempt_failed(exchange, why)


def words_of(error: OSError) -> str:
    """An error without addresses or object names, so that equal ones are counted together."""
    if isinstance(error, ssl.SSLError):
        return f"TLS {error.reason or type(error).__name__}"
    return errno.errorcode.get(error.errno or 0, type(error).__name__)
