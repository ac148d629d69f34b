"""The guard as WSGI middleware: the same gate for servers that give each request a thread.

Flask, Django's ``wsgi.py`` and the like under gunicorn, uWSGI, mod_wsgi or waitress. One guard
belongs to one process; its threads share it. A request that waits for a slot holds its thread for
as long (80 ms at most), so the server needs more threads than the cap: what waits for a *thread*
is in the server's own queue, which the guard does not see.

WSGI tells an application nothing of a client that hangs up, so that ``web.abandoned_ratio`` is 0
here, and there is no event loop whose lag could be measured.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from time import monotonic, monotonic_ns
from typing import Any

from premortem.guard.endpoints import BODY_MAX_BYTES, PREFIX, change, is_local, respond
from premortem.guard.front import Downstream, Front
from premortem.guard.observer import Outcome
from premortem.guard.queue import Entry
from premortem.guard.refusal import BODY
from premortem.guard.settings import Settings

__all__ = ["WsgiGuard"]

Environ = dict[str, Any]
StartResponse = Callable[..., Callable[[bytes], object]]
WsgiApp = Callable[[Environ, StartResponse], Iterable[bytes]]

POOL_LOOK_S = 0.05
"""How often the pool is read for the status while requests come in: as often as under ASGI."""


class WsgiGuard:
    """Wraps a WSGI application and lets in what it can serve; the rest is refused at once.

    ``pool`` is a connection pool (see ``pools.py``) or a callable that returns ``pool.*`` metrics;
    ``classify`` maps an environ to the name of a class, or to None to leave it to the routes.
    Raises ``TypeError`` when the pool is of no known kind.
    """

    def __init__(
        self,
        app: WsgiApp,
        settings: Settings,
        pool: Any = None,
        classify: Callable[[Environ], str | None] | None = None,
    ) -> None:
        self.app = app
        self._classify = classify
        self._front = Front(settings, pool, monotonic())
        self._lock = threading.Lock()
        self._looked_s = 0.0

    @property
    def settings(self) -> Settings:
        """What the guard was told last."""
        return self._front.settings

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path: str = environ.get("PATH_INFO", "")
        if path.startswith(PREFIX):
            return self._answer(environ, start_response)
        if path.startswith(self.settings.exempt_prefixes):
            return self.app(environ, start_response)
        entry = self._arrive(environ, path)
        self._wait(entry)
        if entry.state == "refused":
            self._ended(entry, "refused")
            return self._refuse(environ, start_response)
        return self._serve(entry, environ, start_response)

    # -- who enters

    def _arrive(self, environ: Environ, path: str) -> Entry:
        method = environ["REQUEST_METHOD"]
        who = environ.get("HTTP_X_CLIENT_ID") or environ.get("REMOTE_ADDR")
        patience = environ.get("HTTP_X_PREMORTEM_DEADLINE_MS")
        named = self._classify(environ) if self._classify is not None else None
        front = self._front
        with self._lock:
            now = monotonic()
            self._clockwork(now)
            front.seen.asked((who, method, path, environ.get("QUERY_STRING")), now)
            entry = Entry(
                front.kind(named, method, path),
                now,
                front.deadline_s(now, None if patience is None else patience.encode("latin-1")),
                ticket=threading.Event(),
            )
            _wake(front.gate.arrive(entry, now))
        return entry

    def _wait(self, entry: Entry) -> None:
        """Return once the entry no longer waits. Whoever wakes by the clock decides for all."""
        while entry.state == "waiting":
            with self._lock:
                now = monotonic()
                due = self._front.gate.due(now)
            decided: threading.Event = entry.ticket  # type: ignore[assignment]
            decided.wait(None if due is None else max(0.0, due - now))
            with self._lock:
                _wake(self._front.gate.drain(monotonic()))

    def _clockwork(self, now: float) -> None:
        """What a timer does under ASGI is done by whoever comes along."""
        if now >= self._looked_s + POOL_LOOK_S:
            self._looked_s = now
            self._front.seen.look_at_pool(now)
        _wake(self._front.adapt(now))

    # -- what the application answers

    def _serve(
        self, entry: Entry, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        with self._lock:
            self._front.seen.entered(entry, self._front.gate.in_flight)
        environ["premortem.guard"] = self
        status: list[str] = []

        def started(line: str, *more: Any) -> Callable[[bytes], object]:
            status[:] = [line]
            with self._lock:
                self._front.seen.answered(entry, monotonic(), self.settings.slow_ms)
            return start_response(line, *more)

        try:
            chunks = self.app(environ, started)
        except BaseException:  # whatever ends the request frees its slot; raised again
            self._ended(entry, "errors")
            raise
        return _Body(chunks, lambda whole: self._ended(entry, _outcome(status, whole=whole)))

    def _ended(self, entry: Entry, outcome: Outcome) -> None:
        with self._lock:
            now = monotonic()
            _wake(self._front.gate.end(entry, now))
            self._front.seen.ended(entry, outcome, now)
            self._clockwork(now)

    def _refuse(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        low, high = self.settings.retry_after_min_s, self.settings.retry_after_max_s
        dice = monotonic_ns() // 1_000  # microseconds are chance enough to spread a crowd
        headers = [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(BODY))),
            ("Retry-After", str(low + dice % (high - low + 1))),
        ]
        start_response("503 Service Unavailable", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [BODY]

    # -- looking in and turning knobs

    def values(self) -> dict[str, float]:
        """All ``web.*`` and, with a pool, ``pool.*`` metrics of the last second."""
        with self._lock:
            now = monotonic()
            self._clockwork(now)
            return self._front.values(now)

    def change(self, wanted: object) -> dict[str, object]:
        """Change settings while the site runs; the answer holds what undoes it.

        Raises ``ValueError`` with one line when a setting is unknown, fixed or out of range.
        """
        with self._lock:
            answer, decided = self._front.change(wanted, monotonic())
            _wake(decided)
        return answer

    def downstream(self) -> Downstream:
        """Put around a call to another service, so that its slowness is not taken for ours."""
        return Downstream(self._front.seen)

    def _answer(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        names = [
            key[5:].lower().replace("_", "-").encode("latin-1")
            for key in environ
            if key.startswith("HTTP_")
        ]
        found = respond(
            self,
            method,
            environ["PATH_INFO"],
            environ.get("HTTP_X_PREMORTEM_TOKEN", "").encode("latin-1"),
            local=is_local(environ.get("REMOTE_ADDR") or "", names),
        )
        status, data = found or _change(self, environ)
        body = json.dumps(data).encode()
        headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
        ]
        start_response(f"{status} {'OK' if status == 200 else 'Error'}", headers)
        return [] if method == "HEAD" else [body]


class _Body:
    """The application's chunks; tells once when they are over: whole, or cut short."""

    def __init__(self, chunks: Iterable[bytes], ended: Callable[[bool], None]) -> None:
        self._chunks = chunks
        self._ended: Callable[[bool], None] | None = ended

    def __iter__(self) -> Iterator[bytes]:
        yield from self._chunks
        self._end(whole=True)

    def close(self) -> None:
        """WSGI servers call this at the end of every response, whole or not."""
        try:
            if hasattr(self._chunks, "close"):
                self._chunks.close()
        finally:
            self._end(whole=False)

    def _end(self, *, whole: bool) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(whole)


def _wake(decided: Iterable[Entry]) -> None:
    for entry in decided:
        event: threading.Event = entry.ticket  # type: ignore[assignment]
        event.set()


def _outcome(status: list[str], *, whole: bool) -> Outcome:
    return "served" if whole and status and status[0][:1] < "5" else "errors"


def _change(guard: WsgiGuard, environ: Environ) -> tuple[int, Any]:
    given = environ.get("CONTENT_LENGTH") or "0"
    length = int(given) if given.isdigit() else BODY_MAX_BYTES + 1
    if length > BODY_MAX_BYTES:
        return 400, {"error": f"the body is longer than {BODY_MAX_BYTES} bytes"}
    return change(guard, environ["wsgi.input"].read(length))
