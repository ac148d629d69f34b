"""How long to wait before knocking again at a door that did not open. Pure."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Patience"]

PAUSES_S = (1.0, 2.0, 5.0)
"""Quick enough to notice that it is over, and never a storm of connections on top of it."""


@dataclass(slots=True)
class Patience:
    """Counts failures in a row; each makes the next pause longer, up to the last.

    >>> p = Patience()
    >>> p.failed(10.0, "refused")
    >>> p.still(10.9), p.still(11.0)
    ('refused', '')
    """

    _failures: int = 0
    _not_before: float = 0.0
    _why: str = ""

    def failed(self, at: float, why: str) -> None:
        """The door did not open at ``at``."""
        self._not_before = at + PAUSES_S[min(self._failures, len(PAUSES_S) - 1)]
        self._failures += 1
        self._why = why

    def still(self, at: float) -> str:
        """Why it is too early to knock again; empty when it is not."""
        return self._why if at < self._not_before else ""

    def forget(self) -> None:
        """The door opened."""
        self._failures, self._not_before, self._why = 0, 0.0, ""
