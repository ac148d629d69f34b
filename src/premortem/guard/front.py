"""What every guard is inside, whatever the server: settings, gate, limit, and what was seen.

Told the time; the entries it returns are for the caller to wake.
"""

from __future__ import annotations

from time import monotonic
from typing import Any

from premortem.guard.gate import Gate
from premortem.guard.limit import WINDOW_S, Aimd
from premortem.guard.observer import Observer
from premortem.guard.queue import Entry, Patience
from premortem.guard.refusal import Refusal
from premortem.guard.settings import Settings, change

__all__ = ["Downstream", "Front"]


class Front:
    """Decides who enters under ``settings``; reads ``pool`` (see ``pools.py``) when there is one.

    Raises ``TypeError`` when the pool is of no known kind.
    """

    def __init__(self, settings: Settings, pool: Any, now: float) -> None:
        self.settings = settings
        self.seen = Observer(pool)
        self.gate = Gate(
            settings.cap_of_process, {c.name: c.share for c in settings.classes}, Patience()
        )
        self.refusal = Refusal(settings.retry_after_min_s, settings.retry_after_max_s)
        self._kinds = {c.name for c in settings.classes}
        self._limit = float(settings.cap_of_process)
        self._window_ends_s = 0.0
        self.configure(now)

    def kind(self, named: str | None, method: str, path: str) -> str:
        """The class of a request: the one that was named, else the first route's, else the
        default."""
        if named is not None and named in self._kinds:
            return named
        for route in self.settings.routes:
            if route.method in ("*", method) and path.startswith(route.prefix):
                return route.name
        return self.settings.default_class

    def deadline_s(self, now: float, header: bytes | None) -> float:
        """Until when work on a request that arrived ``now`` is of use to its client."""
        patience_s = self.settings.deadline_ms / 1000
        if header is not None and header.isdigit() and len(header) < 10:
            patience_s = min(patience_s, int(header) / 1000)
        return now + patience_s

    def adapt(self, now: float) -> list[Entry]:
        """Close the window when it is over and set the limit by what it held."""
        if now < self._window_ends_s:
            return []
        window = self.seen.close_window(now, self.settings.slow_ms, self.gate.in_flight)
        self._window_ends_s = now + WINDOW_S
        cap = self.settings.cap_of_process
        if self.settings.adaptive:
            self._limit = Aimd(cap, self.settings.floor_ratio).after(self._limit, window)
        else:
            self._limit = float(cap)
        return self.gate.resize(cap, self._limit, now)

    def values(self, now: float) -> dict[str, float]:
        """All ``web.*`` and, with a pool, ``pool.*`` metrics of the last second."""
        return {
            "web.in_flight": float(self.gate.in_flight),
            "web.in_flight_limit": float(self.gate.limit),
            "web.queue_length": float(len(self.gate.queue)),
            **self.seen.values(now),
        }

    def change(self, wanted: object, now: float) -> tuple[dict[str, object], list[Entry]]:
        """Change settings: the answer holds what undoes it; and who is decided by it.

        Raises ``ValueError`` with one line when a setting is unknown, fixed or out of range.
        """
        self.settings, old = change(self.settings, wanted)
        decided = self.configure(now)
        return {"old": old, "new": {name: getattr(self.settings, name) for name in old}}, decided

    def configure(self, now: float) -> list[Entry]:
        """Put the settings into force."""
        settings = self.settings
        self.refusal = Refusal(settings.retry_after_min_s, settings.retry_after_max_s)
        patience = Patience(
            settings.queue_max,
            settings.queue_timeout_ms / 1000,
            settings.queue_interval_ms / 1000,
            settings.queue_standing_timeout_ms / 1000,
        )
        self.gate.queue.be_patient(patience)
        cap = settings.cap_of_process
        at_cap = self._limit >= self.gate.cap or not settings.adaptive
        self._limit = float(cap) if at_cap else min(self._limit, float(cap))
        return self.gate.resize(cap, self._limit, now)


class Downstream:
    """Context manager that times one call to another service."""

    def __init__(self, seen: Observer) -> None:
        self._seen = seen

    def __enter__(self) -> None:
        self._seen.called(self, monotonic())

    def __exit__(self, *_: object) -> None:
        self._seen.returned(self, monotonic())
