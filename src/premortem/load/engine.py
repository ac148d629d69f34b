"""The loop that sends: users arrive on an absolute schedule, whatever the site does.

One process, one epoll, no asyncio. A user is a coroutine that the loop drives with ``send`` and
``throw``; a request's latency counts from the instant at which the user meant to send it.
"""

from __future__ import annotations

import errno
import gc
import random
import select
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import accumulate
from urllib.parse import urljoin, urlsplit

from premortem.load.journey import (
    BadJourney,
    Choice,
    JourneyEnded,
    Outcome,
    Plain,
    Refused,
    RequestFailed,
    Response,
    Script,
)
from premortem.load.sockets import READY, RECEIVE_BYTES, Address, Connection, GeneratorLimit
from premortem.load.stats import OTHER, Arrived, Second, Tally
from premortem.load.visitor import SAFE_METHODS, Exchange, Pause, Site, Template, Visitor
from premortem.load.wire import BadResponse, Head, Heads, Reader

__all__ = ["Engine", "Settings"]

JOURNEY_ERRORS = (
    ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError,
)  # fmt: skip
"""What a journey raises when a page is not what it expected: the user failed. Anything else
(NameError, ImportError …) is a mistake in the journey and stops the run."""
EVENTS_MAX = 64
"""Events taken at once: 64 of ~20 µs keep arrivals within ~1 ms of their instant."""
ARRIVALS_MAX = 64
"""Users begun before sockets are looked at again, for the same reason."""
POLL_S_MAX = 0.2
"""A signal is noticed within this time."""
SWEEP_S = 0.005
"""How often time-outs are looked for, when there is something to look at."""
REDIRECTS_MAX = 5
"""More is a circle: RFC 2616 recommended 5, and no healthy page needs them."""
ERRORS_MAX = 100
GC_OBJECTS = 20_000
"""Between collections: the default of 700 comes a hundred times a second and finds nothing, as the
engine makes no cycles; journeys may."""


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


class Engine:
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
        self.tally = Tally()
        self.stopping = False
        self.limits: set[str] = set()
        """What this machine ran out of; any makes the run invalid."""
        self._address = address
        self._settings = settings
        self._timeout_s = settings.timeout_s
        self._keep_alive = settings.keep_alive
        self._lag, self._service = self.tally.lag, self.tally.service
        self._weights = list(accumulate(c.weight for c in choices))
        self._dice = random.Random(f"{seed}:{run}")
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
        self._epoll = select.epoll()
        self._heads = Heads()
        self._connections: dict[int, Connection] = {}
        self._idle: list[Connection] = []
        self._queue: deque[tuple[Exchange, int, float]] = deque()
        self._waiting: dict[Exchange, None] = {}  # in the order in which they were sent
        self._timers: list[tuple[float, int, Visitor | Exchange]] = []
        self._timer_number = 0
        self._user_number = 0
        self._users = 0
        self._sweep_at = float("inf")
        self._row = Second(0)
        self._arrived = Arrived(-1)
        self._start = 0.0
        self._cpu_s = 0.0

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
            return self._epoll.poll(min(gap_s - 0.001, POLL_S_MAX), EVENTS_MAX)
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
        second = int(arrived - self._start)
        row = self._arrived
        if row.second != second:
            row = self._arrived = self.tally.of_arrival(second)
        row.offered += 1
        if self._users >= self._settings.users_in_flight_max:
            row.not_started += 1
            self.limits.add(f"{self._settings.users_in_flight_max} users in flight")
            return
        self._users += 1
        self._user_number += 1
        now = time.perf_counter()
        self._lag.record(int((now - arrived) * 1e6))
        user = Visitor(self._site, self._user_number, row)
        journey = self._choices[0] if len(self._choices) == 1 else self._choose()
        if isinstance(journey, Template):
            exchange = journey.exchange(user)
            exchange.intended = arrived
            self._attempt(exchange, now)
        else:
            user.coroutine = journey(user)
            self._step(user, None, arrived)

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

    def _at(self, when: float, what: Visitor | Exchange) -> None:
        self._timer_number += 1
        heappush(self._timers, (when, self._timer_number, what))

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

    def _note(self, why: str) -> None:
        errors = self.tally.errors
        errors[why[:200] if why in errors or len(errors) < ERRORS_MAX else OTHER] += 1

    # -- requests

    def _attempt(self, exchange: Exchange, now: float) -> None:
        exchange.started = now
        exchange.attempts += 1
        self._row.attempts += 1
        self._waiting[exchange] = None
        if self._sweep_at > now + self._timeout_s:  # noqa: PLR1730 - hot: no call
            self._sweep_at = now + self._timeout_s
        if self._idle:
            self._put(exchange, self._idle.pop())
        else:
            self._dispatch(exchange)

    def _dispatch(self, exchange: Exchange, *, fresh: bool = False) -> None:
        """Put a request on a connection, or in the queue for one."""
        try:
            connection = self._connection(exchange.user, fresh=fresh)
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
            self._lost(connection, f"broken: {_words(error)}")

    def _connection(self, user: Visitor, *, fresh: bool) -> Connection | None:
        """A connection to use now; ``None`` when all allowed ones are busy."""
        if not self._keep_alive:
            own, user.connection = user.connection, None
            if own is not None and not fresh:
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

    def _release(self, connection: Connection, user: Visitor, *, reusable: bool) -> None:
        connection.exchange = connection.reader = None
        connection.used = True
        if not reusable:
            self._drop(connection)
        elif not self._keep_alive:
            user.connection = connection
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

    # -- what comes back

    def _advance(self, connection: Connection) -> None:
        try:
            connection.advance()
        except OSError as error:
            self._lost(connection, f"broken: {_words(error)}")
            return
        if connection.stage == READY:
            self._readable(connection)

    def _readable(self, connection: Connection) -> None:
        try:
            data = connection.sock.recv(RECEIVE_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError as error:
            self._lost(connection, f"broken: {_words(error)}")
            return
        exchange = connection.exchange
        if exchange is None:  # an idle connection was closed, or speaks without being asked
            self._drop(connection)
            return
        if connection.reader is None and data:
            end = data.find(b"\r\n\r\n")
            head = self._heads.known.get(data[:end])
            if (
                head is not None
                and head.length == len(data) - end - 4
                and exchange.method != "HEAD"
            ):
                self._answered(connection, exchange, head, data[end + 4 :], not head.close)
                return
        self._read_on(connection, exchange, data)

    def _read_on(self, connection: Connection, exchange: Exchange, data: bytes) -> None:
        """The careful way: responses in pieces, chunked ones, odd ones, broken ones."""
        reader = connection.reader
        if not data:
            if reader is None or not reader.end():
                self._lost(connection, "broken: closed by the server")
                return
        else:
            if reader is None:
                most = self._settings.body_bytes_max
                reader = Reader(
                    self._heads, bodiless=exchange.method == "HEAD", body_bytes_max=most
                )
                connection.reader = reader
            try:
                if not reader.feed(data):
                    return
            except BadResponse as error:
                self._attempt_failed(exchange, f"bad response: {error}")
                return
        assert reader is not None and reader.head is not None
        reusable = not (reader.head.close or reader.surplus)
        self._answered(connection, exchange, reader.head, bytes(reader.body), reusable)

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

    def _answered(
        self, connection: Connection, exchange: Exchange, head: Head, body: bytes, reusable: bool
    ) -> None:
        now = time.perf_counter()
        exchange.connection = None
        self.tally.bytes_received += len(body)
        user, status = exchange.user, head.status
        if reusable and self._keep_alive and not self._queue:  # as nearly always: no call
            connection.exchange = connection.reader = None
            connection.used = True
            self._idle.append(connection)
        else:
            self._release(connection, user, reusable=reusable)
        if head.cookies:
            user.keep_cookies(head.cookies)
        if status >= 300 and status not in exchange.expect:
            if status >= 400:
                self._unwelcome(exchange, head, now)
                return
            if self._redirected(exchange, head):
                return
        del self._waiting[exchange]
        self._row.names[exchange.name].record(int((now - exchange.intended) * 1e6))
        self._service.record(int((now - exchange.started) * 1e6))
        self._row.requests_ok += 1
        if user.coroutine is None:
            self._end_user(user, "served")
        else:
            self._step(user, Response(head, body), now)

    def _unwelcome(self, exchange: Exchange, head: Head, now: float) -> None:
        """An error status: refused politely, to be retried, or final."""
        status, taken_s = head.status, now - exchange.started
        if status == 503 and "retry-after" in head.headers and taken_s < self._settings.refusal_s:
            del self._waiting[exchange]
            self.tally.refusals.record(int((now - exchange.intended) * 1e6))
            self._stop_user(exchange, "refused", Refused(exchange.name))
        else:
            self._attempt_failed(exchange, f"status {status}", final=status < 500)

    def _redirected(self, exchange: Exchange, head: Head) -> bool:
        """Follow a redirect within the site; true unless there is none to follow."""
        target = _redirect(self._address.host, exchange.target, head)
        if target is None:
            return False
        exchange.hops += 1
        if exchange.hops > REDIRECTS_MAX:
            self._attempt_failed(exchange, f"more than {REDIRECTS_MAX} redirects", final=True)
            return True
        exchange.redirect(target, head.status)
        self._dispatch(exchange)
        return True


def _words(error: OSError) -> str:
    """An error without addresses or object names, so that equal ones are counted together."""
    if isinstance(error, ssl.SSLError):
        return f"TLS {error.reason or type(error).__name__}"
    return errno.errorcode.get(error.errno or 0, type(error).__name__)


def _redirect(host: str, target: str, head: Head) -> str | None:
    """Where a 3xx leads on this site; ``None`` when it leads nowhere or elsewhere."""
    location = head.headers.get("location")
    if location is None or head.status not in (301, 302, 303, 307, 308):
        return None
    try:
        parts = urlsplit(urljoin(f"http://{host}{target}", location))
    except ValueError:
        return None
    if parts.netloc != host:
        return None
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
