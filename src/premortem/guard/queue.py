"""The bounded CoDel-LIFO queue: short waits in order of arrival, a standing queue newest first.

From Facebook's "Fail at Scale" (Maurer, ACM Queue 2015), after CoDel (Nichols and Jacobson 2012):
a queue that empties within every 100 ms is a burst, and a burst is worth a short wait. A queue
that has not been empty for 100 ms is standing: whoever has waited long is about to give up, so the
newest goes first and nobody waits longer than 5 ms.

The wait of a burst ends after 80 ms rather than 100: a refusal is to reach the client within
100 ms, and the event loop and the way back need the rest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

__all__ = ["Entry", "Line", "Patience", "Queue", "State"]

State = Literal["new", "waiting", "admitted", "refused", "dropped", "done"]
"""``new`` becomes ``admitted``, ``refused`` or ``waiting``; ``waiting`` becomes ``admitted``,
``refused`` (too late) or ``dropped`` (its client went away); ``admitted`` becomes ``done``."""


@dataclass(slots=True, eq=False)
class Entry:
    """One request. Times are seconds of one monotonic clock."""

    kind: str
    arrived_s: float
    deadline_s: float
    state: State = "new"
    decided_s: float = 0.0
    """When it was admitted, refused or dropped."""
    ticket: object = None
    """Whatever the caller wants to find again; never looked at here."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long entries may wait, and how many."""

    entries_max: int = 200
    burst_timeout_s: float = 0.080
    standing_after_s: float = 0.100
    standing_timeout_s: float = 0.005


class Line:
    """Those of one class who wait, oldest first."""

    __slots__ = ("_busy_since_s", "entries", "patience")

    def __init__(self, patience: Patience) -> None:
        self.patience = patience
        self.entries: deque[Entry] = deque()
        self._busy_since_s = 0.0

    def standing(self, now: float) -> bool:
        """Whether the line has not been empty for ``standing_after_s``."""
        return bool(self.entries) and now >= self._busy_since_s + self.patience.standing_after_s

    def timeout_s(self, now: float) -> float:
        """How long an entry may wait as things stand."""
        patience = self.patience
        return patience.standing_timeout_s if self.standing(now) else patience.burst_timeout_s

    def push(self, entry: Entry, now: float) -> None:
        """Take ``entry`` in."""
        if not self.entries:
            self._busy_since_s = now
        self.entries.append(entry)

    def pop(self, now: float) -> Entry:
        """The oldest in a burst, the newest in a standing line. ``IndexError`` if nobody waits."""
        return self.entries.pop() if self.standing(now) else self.entries.popleft()

    def expire(self, now: float) -> list[Entry]:
        """Take out and return those who have waited as long as they may."""
        timeout_s, entries = self.timeout_s(now), self.entries
        late: list[Entry] = []
        while entries and now >= entries[0].arrived_s + timeout_s:
            late.append(entries.popleft())
        return late

    def due(self, now: float) -> float:
        """When :meth:`expire` must next be called. ``IndexError`` if nobody waits."""
        due = self.entries[0].arrived_s + self.timeout_s(now)
        turn = self._busy_since_s + self.patience.standing_after_s
        return min(due, turn) if now < turn else due


class Queue:
    """One line a class, the most important first, under one bound.

    Each class has its own line so that the crowd of a less important one does not make the short
    waits of a more important one, which is served first, count as standing.

    Entries leave through :meth:`pop`, :meth:`expire`, :meth:`remove` or by being evicted from
    :meth:`push`; each exactly once. The caller gives them their state.
    """

    def __init__(self, kinds: Iterable[str], patience: Patience) -> None:
        self._lines = {kind: Line(patience) for kind in kinds}
        self._patience = patience
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def be_patient(self, patience: Patience) -> None:
        """Other time-outs and another bound from now on."""
        self._patience = patience
        for line in self._lines.values():
            line.patience = patience

    def waiting(self, kind: str) -> int:
        """How many entries of ``kind`` wait."""
        return len(self._lines[kind].entries)

    def kinds(self) -> Iterator[str]:
        """The classes with somebody waiting, most important first."""
        return (kind for kind, line in self._lines.items() if line.entries)

    def push(self, entry: Entry, now: float) -> Entry | None:
        """Take ``entry`` in; the return value is who must go for it, maybe ``entry`` itself.

        A full queue gives up the oldest of the least important class below the newcomer's; in its
        own class the newcomer goes, or, in a standing line, the oldest.
        """
        victim = self._victim(entry, now) if self._length >= self._patience.entries_max else None
        if victim is entry:
            return entry
        if victim is not None:
            self.remove(victim)
        self._lines[entry.kind].push(entry, now)
        self._length += 1
        return victim

    def _victim(self, entry: Entry, now: float) -> Entry:
        for kind in reversed(self._lines):
            line = self._lines[kind]
            if kind == entry.kind:
                return line.entries[0] if line.standing(now) else entry
            if line.entries:
                return line.entries[0]
        return entry

    def pop(self, kind: str, now: float) -> Entry:
        """The next of ``kind``. Raises ``IndexError`` if none waits."""
        entry = self._lines[kind].pop(now)
        self._length -= 1
        return entry

    def expire(self, now: float) -> list[Entry]:
        """Take out and return those who have waited as long as they may."""
        late = [entry for line in self._lines.values() for entry in line.expire(now)]
        self._length -= len(late)
        return late

    def due(self, now: float) -> float | None:
        """When :meth:`expire` must next be called; ``None`` when nobody waits."""
        return min((line.due(now) for line in self._lines.values() if line.entries), default=None)

    def remove(self, entry: Entry) -> None:
        """Take out an entry whose client has gone. Raises ``ValueError`` if it does not wait."""
        self._lines[entry.kind].entries.remove(entry)
        self._length -= 1
