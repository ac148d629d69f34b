"""One HTTP request on its way through the guard: what it waits on and what became of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, MutableMapping
from types import coroutine
from typing import TYPE_CHECKING, Any

from premortem.guard.queue import Entry

if TYPE_CHECKING:
    import asyncio

__all__ = ["App", "Call", "Message", "Receive", "Scope", "Send"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

BUFFER_MAX_BYTES = 65_536
"""Body read ahead while a request waits, to notice that its client has gone. Servers read about
as much ahead by themselves; a larger body stays unread until the request is admitted."""

PATIENCE_S = 0.1
"""A client that has waited longer for the first byte may have gone: then it is worth the 30 µs to
look. Nobody gives up sooner."""


class Call:
    """Stands between the server's ``receive`` and ``send`` and the application's.

    Whatever is read ahead is kept and handed to the application in order, so that nothing is lost
    however the request ends.
    """

    __slots__ = (
        "_ahead",
        "_ahead_bytes",
        "_loop",
        "_receive",
        "_receiving",
        "_send",
        "_started",
        "_waiter",
        "_watch",
        "entry",
        "finished",
        "gone",
        "status",
    )

    def __init__(
        self,
        entry: Entry,
        receive: Receive,
        send: Send,
        loop: asyncio.AbstractEventLoop,
        started: Callable[[Call], float],
    ) -> None:
        self.entry = entry
        self.status = 0
        """Status of the application's response; 0 until it has begun."""
        self.finished = False
        """Whether the response is complete."""
        self.gone = False
        """Whether the client is known to have gone before its answer was complete."""
        self._receive = receive
        self._send = send
        self._loop = loop
        self._started = started
        self._ahead: list[Message] = []
        self._ahead_bytes = 0
        self._receiving = False
        self._waiter: asyncio.Future[None] | None = None
        self._watch: asyncio.Task[Message] | None = None
        entry.ticket = self

    # -- while it waits for a slot

    async def decided(self, gone: Callable[[Call], None]) -> None:
        """Return once the entry no longer waits; ``gone`` is called if the client leaves."""
        self._waiter = self._loop.create_future()
        self._look_ahead(gone)
        await self._waiter

    def wake(self) -> None:
        """The entry was decided."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _look_ahead(self, gone: Callable[[Call], None]) -> None:
        async def read() -> Message:
            return await self._receive()

        def heard(task: asyncio.Task[Message]) -> None:
            if task.cancelled() or task.exception() is not None or self._watch is not task:
                return  # an error stays in the task: the application meets it when it reads
            self._watch = None
            message = task.result()
            self._keep(message)
            if self.gone:
                gone(self)
            elif self._ahead_bytes < BUFFER_MAX_BYTES and (
                self.entry.state == "waiting" or not message.get("more_body")
            ):
                self._look_ahead(gone)

        self._watch = self._loop.create_task(read())
        self._watch.add_done_callback(heard)

    def _keep(self, message: Message) -> None:
        self._ahead.append(message)
        self._ahead_bytes += len(message.get("body", b""))
        self._note(message)

    def _note(self, message: Message) -> None:
        if message["type"] == "http.disconnect" and not self.finished:
            self.gone = True

    # -- while the application works

    async def receive(self) -> Message:
        """What the application calls: first what was read ahead, then the server's own."""
        if self._ahead:
            return self._ahead.pop(0)
        self._receiving = True
        if self._watch is not None:
            watch, self._watch = self._watch, None
            message = await watch
        else:
            message = await self._receive()
        self._receiving = False
        self._note(message)
        return message

    async def send(self, message: Message) -> None:
        """What the application calls; takes the status and the moment of the first byte."""
        kind = message["type"]
        if kind == "http.response.start":
            self.status = message["status"]
            if self._started(self) > PATIENCE_S and not self.gone:
                await self._look()
        elif kind == "http.response.body" and not message.get("more_body"):
            self.finished = True
        await self._send(message)

    async def _look(self) -> None:
        """Take what the server has at hand without waiting: maybe that the client has gone."""
        if self._receiving or self._watch is not None:
            return
        self._look_ahead(_nothing)
        for _ in range(4):  # a turn to read and one to note it, for the body and for what follows
            await _turn()

    def close(self) -> None:
        """Nothing is read any more."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None


def _nothing(call: Call) -> None:
    """The request is in flight already: that its client has gone is counted at its end."""


@coroutine
def _turn() -> Generator[None, None, None]:
    """One turn of the event loop: what ``asyncio.sleep(0)`` does, without importing asyncio."""
    yield
