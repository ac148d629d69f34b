"""What comes back: the fast lane for the answer that looks like the last one, and the careful way
for all others."""

from __future__ import annotations

import random
import time
from abc import abstractmethod
from urllib.parse import urljoin, urlsplit

from premortem.load.journey import Refused, Response
from premortem.load.requests import TRY_AGAIN, Requests, Settings, words_of
from premortem.load.sockets import RECEIVE_BYTES, RECEIVE_BYTES_MAX, Address, Connection
from premortem.load.visitor import Exchange
from premortem.load.wire import BadResponse, Head, Heads, Reader

__all__ = ["Answers"]

REDIRECTS_MAX = 5
"""More is a circle: RFC 2616 recommended 5, and no healthy page needs them."""
USUAL_MAX = 256
"""Answers to expect: a page each, so more would be a site whose every answer is its own."""


class Answers(Requests):
    """Reads what the site sends, tells the users' part, and records how long it took."""

    def __init__(self, address: Address, settings: Settings, dice: random.Random) -> None:
        super().__init__(address, settings, dice)
        self._heads = Heads()
        self._usual: dict[int, tuple[bytes, Head]] = {}
        """The answers to expect, plain successes: length of the whole → its head, raw and parsed.
        The same page is the same but for the Date, once a second."""
        self._receive_bytes = RECEIVE_BYTES

    @abstractmethod
    def _next_alone(self, exchange: Exchange, connection: Connection, now: float) -> None:
        """A plain journey ended: what comes after it, on the connection that is free."""

    @abstractmethod
    def _due_arrivals(self, now: float) -> float:
        """Begin the users who are due; when the next one is."""

    # -- the fast lane

    def _serve(self, events: list[tuple[int, int]], arrival: float) -> None:
        """Take in what the sockets say. Users who come due meanwhile do not wait for the rest.

        The hottest loop there is: what it asks often is in local names, what it counts is added up
        at the end, and everything unusual goes the careful way.
        """
        connections, waiting, queue = self._connections, self._waiting, self._queue
        names, service = self._samples.names, self._samples.service.append
        clock = time.perf_counter
        usual = self._usual if self._keep_alive else {}
        answered = 0
        for fd, _ in events:
            connection = connections.get(fd)
            if connection is None:
                continue
            if not connection.open:
                self._advance(connection)
                continue
            try:
                data = connection.read(self._receive_bytes)
            except TRY_AGAIN:
                continue
            except OSError as error:
                self._lost(connection, f"broken: {words_of(error)}")
                continue
            exchange = connection.exchange
            known = usual.get(len(data))
            if (
                known is None
                or exchange is None
                or connection.reader is not None
                or queue
                or not data.startswith(known[0])
            ):
                self._received(connection, data)
                continue
            now = clock()
            connection.used = True
            del waiting[exchange]
            answered += 1
            started, intended = exchange.started, exchange.intended
            took_us = (now - started) * 1e6
            service(took_us)
            names[exchange.name].append(took_us if intended == started else (now - intended) * 1e6)
            if not exchange.alone:
                exchange.connection = connection.exchange = None
                self._idle.append(connection)
                self._step(exchange.user, Response(known[1], data[len(known[0]) :]), now)
            else:
                self._next_alone(exchange, connection, now)
            if now >= arrival:
                arrival = self._due_arrivals(now)
        self._row.requests_ok += answered

    # -- the careful way

    def _advance(self, connection: Connection) -> None:
        try:
            connection.advance()
        except OSError as error:
            self._lost(connection, f"broken: {words_of(error)}")
            return
        if connection.open:
            self._readable(connection)

    def _readable(self, connection: Connection) -> None:
        try:
            data = connection.read(self._receive_bytes)
        except TRY_AGAIN:
            return
        except OSError as error:
            self._lost(connection, f"broken: {words_of(error)}")
            return
        self._received(connection, data)

    def _received(self, connection: Connection, data: bytes) -> None:
        exchange = connection.exchange
        if exchange is None:  # an idle connection was closed, or speaks without being asked
            self._drop(connection)
            return
        whole = len(data) == self._receive_bytes
        if whole and self._receive_bytes < RECEIVE_BYTES_MAX:
            self._receive_bytes *= 2  # this site's answers are larger
        if connection.reader is None and data and exchange.method != "HEAD":
            end = data.find(b"\r\n\r\n") + 4
            known = self._heads.known.get(data[: end - 4]) if end > 4 else None
            if known is not None and known.status >= 200 and known.length == len(data) - end:
                if known.status < 300 and not known.close and not known.cookies:
                    if len(self._usual) >= USUAL_MAX:
                        self._usual.clear()
                    self._usual[len(data)] = (data[:end], known)
                self._answered(connection, exchange, known, data[end:], not known.close)
                return
        self._read_on(connection, exchange, data)
        if whole and self._address.tls is not None and connection.exchange is exchange:
            self._readable(connection)  # the rest of a TLS record: epoll does not know of it

    def _read_on(self, connection: Connection, exchange: Exchange, data: bytes) -> None:
        """Responses in pieces, chunked ones, odd ones, broken ones."""
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

    def _answered(
        self, connection: Connection, exchange: Exchange, head: Head, body: bytes, reusable: bool
    ) -> None:
        now = time.perf_counter()
        exchange.connection = None
        status = head.status
        self._release(connection, exchange, reusable=reusable)
        if head.cookies:
            exchange.user.keep_cookies(head.cookies)
        if status >= 300 and status not in exchange.expect:
            if status >= 400:
                self._unwelcome(exchange, head, now)
                return
            if self._redirected(exchange, head):
                return
        del self._waiting[exchange]
        self._row.requests_ok += 1
        samples = self._samples
        samples.names[exchange.name].append((now - exchange.intended) * 1e6)
        samples.service.append((now - exchange.started) * 1e6)
        if exchange.alone:
            self._end_user(exchange.user, "served")
            self._follow(now)
        else:
            self._step(exchange.user, Response(head, body), now)

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
