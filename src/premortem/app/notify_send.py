"""Sends messages through apprise, each address from a thread of its own.

Nothing here can delay a watch: handing over never waits, an attempt that does not end is left
behind, a failed one is repeated a few times, and what is too much is dropped and counted.
Addresses hold secrets: they are never shown, only their number in the list and their scheme.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from premortem.app.config import BadConfig
from premortem.app.notify import Notice
from premortem.app.shelter import contained

__all__ = ["Letter", "Post", "Send", "apprise_sends"]

ATTEMPT_S = 15.0
"""apprise gives each connect and each read 4 s; some services take several of both."""

AGAIN_AFTER_S = (2.0, 10.0, 60.0, 240.0)
"""Five attempts in five minutes; who is to be woken is told late rather than never."""

WAITING_MAX = 50
"""More than two hours of messages at the hourly bound."""

STUCK_MAX = 3
"""Attempts that never ended, of one address: then it is given up until one of them ends."""

Send = Callable[[str, str, str], bool]
"""Title, body, kind (``failure``, ``warning`` or ``success``) → whether it was taken."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One message, ready to be sent."""

    title: str
    body: str
    kind: str

    @classmethod
    def of(cls, notice: Notice, title: str, body: str) -> Letter:
        """The message of a notice."""
        urgency = "failure" if notice.kind == "page" else "warning"
        return cls(title, body, "success" if notice.step == "resolved" else urgency)


def apprise_sends(urls: Sequence[str]) -> dict[str, Send]:
    """A sender for each address, by a name without secrets.

    Raises :class:`BadConfig` for an address that apprise does not know, or without apprise.
    """
    if not urls:
        return {}
    try:
        import apprise  # noqa: PLC0415 - 30 MB, for those who are to be told
    except ImportError:
        text = "[notify] needs apprise: pip install 'premortem[watch]'"
        raise BadConfig(text) from None
    logging.getLogger("apprise").addHandler(logging.NullHandler())
    logging.getLogger("apprise").propagate = False
    asset = apprise.AppriseAsset(app_id="premortem", app_desc="premortem", async_mode=False)
    found: dict[str, Send] = {}
    for number, url in enumerate(urls, start=1):
        one = apprise.Apprise(asset=asset)
        if not one.add(url):
            raise BadConfig(f"[notify]: address {number} is none that apprise knows")
        found[f"{number}:{url.partition('://')[0][:20]}"] = _sender(one.notify)
    return found


def _sender(notify: Callable[..., object]) -> Send:
    return lambda title, body, kind: bool(notify(body=body, title=title, notify_type=kind))


@dataclass(slots=True)
class _Address:
    """One address with its queue and its worker."""

    name: str
    send: Send
    say: Callable[[str], None]
    attempt_s: float
    again_after_s: Sequence[float]
    sent: int = 0
    failed: int = 0
    attempts_failed: int = 0
    waiting: queue.Queue[Letter | None] = field(default_factory=lambda: queue.Queue(WAITING_MAX))
    closing: threading.Event = field(default_factory=threading.Event)
    _stuck: list[threading.Thread] = field(default_factory=list)
    _why: str = ""
    """What the last attempt raised, if it did."""

    def work(self) -> None:
        while (letter := self.waiting.get()) is not None:
            if self._deliver(letter):
                self.sent += 1
            else:
                self.failed += 1
                why = f" ({self._why})" if self._why else ""
                self.say(f"a message could not be sent to address {self.name}{why}: {letter.title}")

    def end(self) -> None:
        """Try once what waits, then end; of a full queue the oldest gives way."""
        self.closing.set()
        while True:
            try:
                return self.waiting.put_nowait(None)
            except queue.Full:
                with suppress(queue.Empty):
                    self.waiting.get_nowait()
                    self.failed += 1

    def _deliver(self, letter: Letter) -> bool:
        for wait_s in (*self.again_after_s, 0.0):
            if self._attempt(letter):
                return True
            self.attempts_failed += 1
            if self.closing.wait(wait_s):
                return False
        return False

    def _attempt(self, letter: Letter) -> bool:
        self._stuck = [t for t in self._stuck if t.is_alive()]
        if len(self._stuck) >= STUCK_MAX:
            return False
        taken: list[bool | str] = []

        def attempt() -> None:
            taken.append(contained(lambda: self.send(letter.title, letter.body, letter.kind)))

        thread = threading.Thread(target=attempt, name=f"send {self.name}", daemon=True)
        thread.start()
        thread.join(self.attempt_s)
        if thread.is_alive():
            self._stuck.append(thread)
        self._why = "".join(t for t in taken if isinstance(t, str))
        return taken == [True]


class Post:
    """All addresses. ``say`` is called from their threads."""

    def __init__(
        self,
        sends: Mapping[str, Send],
        say: Callable[[str], None],
        *,
        attempt_s: float = ATTEMPT_S,
        again_after_s: Sequence[float] = AGAIN_AFTER_S,
    ) -> None:
        self._addresses = [
            _Address(name, send, say, attempt_s, again_after_s) for name, send in sends.items()
        ]
        self._threads = [
            threading.Thread(target=a.work, name=f"post {a.name}", daemon=True)
            for a in self._addresses
        ]
        for thread in self._threads:
            thread.start()

    def put(self, letter: Letter) -> None:
        """Hand a message over to every address; never waits."""
        for address in self._addresses:
            try:
                address.waiting.put_nowait(letter)
            except queue.Full:
                address.failed += 1

    def figures(self) -> dict[str, tuple[int, int, int, int]]:
        """By address: messages sent, given up, waiting; and attempts that failed."""
        return {
            a.name: (a.sent, a.failed, a.waiting.qsize(), a.attempts_failed)
            for a in self._addresses
        }

    def close(self, within_s: float = 5.0) -> None:
        """Let what waits be tried once more, and end; nobody is waited for longer than told."""
        for address in self._addresses:
            address.end()
        deadline = time.monotonic() + within_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
