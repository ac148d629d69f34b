"""Who enters, who waits, who is refused: the enforcement of a limit that others estimate.

Pure: the caller says what time it is and performs what is decided. An entry is decided exactly
once, and never more than ``cap`` entries are in flight.

Classes follow concurrency-limits' ``AbstractPartitionedLimiter``: below the limit anybody enters;
above it (and below the cap) a class enters only while it holds less than its own share. A freed
slot goes to the most important class that is under its share, else to the most important one that
waits, so that nothing idles while somebody waits.
"""

from __future__ import annotations

from collections.abc import Mapping

from premortem.guard.queue import Entry, Patience, Queue, State

__all__ = ["Gate"]


class Gate:
    """In-flight counts, the queue before them, and the rules between the two.

    Methods return the entries decided besides the one passed in, whose state says it all.

    >>> gate = Gate(cap=1, shares={"normal": 1.0}, patience=Patience())
    >>> first, second = Entry("normal", 0.0, 1.0), Entry("normal", 0.0, 1.0)
    >>> gate.arrive(first, 0.0), gate.arrive(second, 0.0)
    ([], [])
    >>> first.state, second.state
    ('admitted', 'waiting')
    >>> [e.state for e in gate.end(first, 0.01)]
    ['admitted']
    """

    def __init__(self, cap: int, shares: Mapping[str, float], patience: Patience) -> None:
        self.cap = cap
        self.limit = cap
        self.in_flight = 0
        self.queue = Queue(shares, patience)
        self._shares = dict(shares)
        self._held = dict.fromkeys(shares, 0)

    def arrive(self, entry: Entry, now: float) -> list[Entry]:
        """Admit, queue or refuse a new entry."""
        if now >= entry.deadline_s:
            self._close(entry, "refused", now)
            return []
        queue = self.queue
        if self._room(entry.kind) and not (len(queue) and queue.waiting(entry.kind)):
            self._admit(entry, now)
            return []
        entry.state = "waiting"
        victim = queue.push(entry, now)
        if victim is None:
            return []
        self._close(victim, "refused", now)
        return [] if victim is entry else [victim]

    def end(self, entry: Entry, now: float) -> list[Entry]:
        """The entry's work is over or its client gone, whatever state it is in."""
        if entry.state == "admitted":
            self.in_flight -= 1
            self._held[entry.kind] -= 1
            entry.state = "done"
        elif entry.state == "waiting":
            self.queue.remove(entry)
            self._close(entry, "dropped", now)
        return self.drain(now) if len(self.queue) else []

    def resize(self, cap: int, limit: float, now: float) -> list[Entry]:
        """Set cap and limit; a smaller one takes effect as the entries in flight end."""
        self.cap = cap
        self.limit = max(1, min(cap, int(limit)))
        return self.drain(now)

    def drain(self, now: float) -> list[Entry]:
        """Refuse those who waited too long and admit those for whom there is room."""
        decided = [self._close(late, "refused", now) for late in self.queue.expire(now)]
        while (kind := self._next()) is not None:
            entry = self.queue.pop(kind, now)
            if now >= entry.deadline_s:
                decided.append(self._close(entry, "refused", now))
            else:
                decided.append(self._admit(entry, now))
        return decided

    def due(self, now: float) -> float | None:
        """When :meth:`drain` must be called although nothing happened; ``None``: never."""
        return self.queue.due(now)

    def _next(self) -> str | None:
        able = [kind for kind in self.queue.kinds() if self._room(kind)]
        return next((kind for kind in able if self._under_share(kind)), able[0] if able else None)

    def _room(self, kind: str) -> bool:
        if self.in_flight < self.limit:
            return True
        return self.in_flight < self.cap and self._under_share(kind)

    def _under_share(self, kind: str) -> bool:
        return self._held[kind] < max(1, int(self._shares[kind] * self.limit))

    def _admit(self, entry: Entry, now: float) -> Entry:
        self.in_flight += 1
        self._held[entry.kind] += 1
        return self._close(entry, "admitted", now)

    @staticmethod
    def _close(entry: Entry, state: State, now: float) -> Entry:
        entry.state = state
        entry.decided_s = now
        return entry
