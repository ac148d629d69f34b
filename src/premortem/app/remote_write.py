"""Sends every reading to Prometheus, VictoriaMetrics or Mimir by remote write 1.0.

A thread of its own sends, so that a slow or dead receiver never delays a tick: ``append`` puts
readings into a bounded queue and returns. What does not fit is dropped, the oldest first, and
counted; so is what the receiver refuses for good (4xx). Anything else (5xx, 429, no connection)
is tried again with growing pauses.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Protocol, Self

from premortem.app.remote_post import PATIENCE_S, Post, Refused, Sender, Unsent, snappy
from premortem.app.remote_wire import Grouper, write_request
from premortem.model import Reading

__all__ = ["Counts", "RemoteWrite", "Sink"]

QUEUE_MAX = 20_000
"""Readings kept while the receiver is away: an hour of a site with six sources, some 40 MB."""
BATCH_MAX = 500
"""Readings in a request: some 10,000 samples, 100 kB compressed; Prometheus' own senders use 2,000
samples, and receivers take megabytes."""
GATHER_S = 1.0
"""A request a second carries a tick; more often would be more overhead than news."""
PAUSES_S = (1.0, 2.0, 5.0, 10.0, 30.0)
"""After failures in a row. An hour's queue survives many rounds of the last."""
CLOSE_S = 5.0
"""What is still queued at the end gets this long."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How it has gone so far, in readings."""

    queued: int = 0
    sent: int = 0
    dropped: int = 0
    """Did not fit into the queue, or were left at the end."""
    refused: int = 0
    """The receiver said 4xx."""
    samples_left_out: int = 0
    """Not newer than the last sample of their series, or beyond the bound of series."""
    last_error: str = ""


class Sink(Protocol):
    """Where the keeper sends what it keeps."""

    def append(self, site: str, readings: Iterable[Reading]) -> None: ...

    def close(self) -> None: ...


@dataclass(slots=True)
class RemoteWrite:
    """A sink of readings; use it as a context manager or close it."""

    send: Sender
    pauses_s: tuple[float, ...] = PAUSES_S
    queue_max: int = QUEUE_MAX
    _queue: deque[tuple[str, Reading]] = field(default_factory=deque, repr=False)
    _counts: Counts = Counts()
    _grouper: Grouper = field(default_factory=Grouper, repr=False)
    _change: threading.Condition = field(default_factory=threading.Condition, repr=False)
    _closing_at: float | None = None
    _thread: threading.Thread | None = field(default=None, repr=False)

    @classmethod
    def to(cls, url: str, token: str = "") -> Self:
        """To a receiver's URL, such as ``http://127.0.0.1:9090/api/v1/write``.

        Raises ``ValueError`` for a URL that cannot be used and ``ModuleNotFoundError`` without
        ``premortem[fleet]``.
        """
        snappy(b"")
        return cls(Post(url, token))

    def append(self, site: str, readings: Iterable[Reading]) -> None:
        """Queue readings. Returns at once; the oldest give way when the queue is full."""
        with self._change:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="remote-write", daemon=True)
                self._thread.start()
            self._queue.extend((site, r) for r in readings)
            over = max(0, len(self._queue) - self.queue_max)
            for _ in range(over):
                self._queue.popleft()
            self._count(dropped=over)
            self._change.notify()

    @property
    def counts(self) -> Counts:
        """How it has gone so far."""
        with self._change:
            left_out = self._grouper.left_out
            return replace(self._counts, queued=len(self._queue), samples_left_out=left_out)

    def close(self) -> None:
        """Send what is queued, for ``CLOSE_S`` at most, and end. May be called twice."""
        with self._change:
            thread, self._thread = self._thread, None
            self._closing_at = time.monotonic()
            self._change.notify()
        if thread is not None:
            thread.join(CLOSE_S + PATIENCE_S)
        with self._change:
            self._count(dropped=len(self._queue))
            self._queue.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- in the thread

    def _run(self) -> None:
        try:
            while (batch := self._next()) is not None:
                self._deliver(batch)
        finally:
            if isinstance(self.send, Post):
                self.send.close()

    def _next(self) -> list[tuple[str, Reading]] | None:
        """Wait for a batch and take it from the queue; ``None`` at the end."""
        with self._change:
            while not self._queue:
                if self._closing_at is not None:
                    return None
                self._change.wait()
            if self._closing_at is None and len(self._queue) < BATCH_MAX:
                self._change.wait_for(lambda: self._closing_at is not None, GATHER_S)
            return [self._queue.popleft() for _ in range(min(BATCH_MAX, len(self._queue)))]

    def _deliver(self, batch: list[tuple[str, Reading]]) -> None:
        series = self._grouper.group(batch)
        body = snappy(write_request(series)) if series else b""
        failures = 0
        while body:
            try:
                self.send(body)
                break
            except Refused as refusal:
                self._count(refused=len(batch), last_error=str(refusal))
                return
            except Unsent as problem:
                self._count(last_error=str(problem))
                pause_s = self.pauses_s[min(failures, len(self.pauses_s) - 1)]
                failures += 1
                if not self._may_go_on(max(pause_s, min(problem.after_s, 60.0))):
                    self._count(dropped=len(batch))
                    return
        self._count(sent=len(batch))

    def _may_go_on(self, pause_s: float) -> bool:
        """Pause; at the end only as long as there is time left."""
        with self._change:
            self._change.wait_for(lambda: self._closing_at is not None, pause_s)
            if self._closing_at is None:
                return True
            left_s = self._closing_at + CLOSE_S - time.monotonic()
        time.sleep(max(0.0, min(pause_s, 0.2, left_s)))
        return left_s > 0

    def _count(self, *, last_error: str | None = None, **more: int) -> None:
        with self._change:
            now = self._counts
            if last_error is not None:
                now = replace(now, last_error=last_error)
            self._counts = replace(now, **{k: getattr(now, k) + n for k, n in more.items()})
